//! `doctor`: whether a job can run on this machine and in these folders. A page with a line for each known cause of failure, which is in order, or comes
//! with its cure.
//!
//! It changes nothing, starts no job, and works where io_uring is denied: then it reports that, and checks the folders all the same. If io_uring is
//! allowed, it starts as many cores as the job is to have, and lets them end at once: nothing less shows that they can be started. A line that is in order
//! says what was found, so that the user can see whether it is as intended.

use super::checkpoints::owner_of;
use super::cures::by_options;
use super::exit_code::{DONE, FAILED};
use super::metrics_options::address;
use super::options::CORES_MAX;
use clap::builder::RangedU64ValueParser;
use core::net::SocketAddr;
use indicatif::HumanBytes;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _, stdout};
use std::path::{Path, PathBuf};
use thalweg_connectors::owner_report;
use thalweg_io::uring::{UringCores, machine};
use thalweg_io::{Cores, IoError, StartError, blocking};
use thalweg_kernel::format_millis;
use thalweg_storage::checkpoint::CheckpointError;

/// The smallest free space in order, in bytes: with less the next checkpoint or file of results may be the last.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// The smallest limit on descriptors in order: with fewer a job with many files or workers reaches it.
const OPEN_FILES_MIN: u64 = 1024;

/// The earliest plausible time: 2025-01-01. A clock that shows less is wrong.
const CLOCK_MS_MIN: u64 = 1_735_689_600_000;

/// Options of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DoctorOptions {
    /// Threads that a job is to run on here [default: as many as there are CPUs]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=CORES_MAX))]
    cores: Option<usize>,

    /// The folder for checkpoints that a job is to have
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,

    /// A folder for results that a job is to have; may be given several times
    #[arg(long, value_name = "DIR")]
    output: Vec<PathBuf>,

    /// An address that a process is to listen at: of --listen, --data or --metrics-listen; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Vec<SocketAddr>,
}

/// The finding of one check.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    about: String,
    /// What is in order; or the fault and its cure.
    result: Result<String, String>,
}

impl Finding {
    fn new(about: impl Into<String>, result: Result<String, String>) -> Self {
        Self { about: about.into(), result }
    }
}

impl DoctorOptions {
    /// Runs all checks, and prints the page. Returns the exit code.
    pub(super) fn run(&self) -> u8 {
        let findings = self.findings();
        // If the reader has closed the pipe, that is no failure.
        let _ = write!(stdout(), "{}", page(&findings));
        if findings.iter().all(|finding| finding.result.is_ok()) { DONE } else { FAILED }
    }

    fn findings(&self) -> Vec<Finding> {
        let cores = self.cores.unwrap_or_else(|| UringCores::new().available());
        let rings = machine::try_starting(cores);
        let memlock = memlock(machine::locked_memory_limit(), machine::charges_rings(), cores, rings.as_ref().err());
        let mut findings = vec![
            Finding::new("io_uring", rings.map(|()| format!("can be used by {}", so_many(cores))).map_err(|error| error.to_string())),
            Finding::new("memlock", memlock),
            Finding::new(
                "descriptors",
                limit(machine::open_files_limit(), |count| count.to_string(), OPEN_FILES_MIN, "`ulimit -Hn` or LimitNOFILE= in systemd"),
            ),
            Finding::new("clock", clock(machine::wall_clock_ms())),
        ];
        for (option, folder) in self
            .checkpoint_dir
            .iter()
            .map(|folder| ("checkpoint folder", folder))
            .chain(self.output.iter().map(|folder| ("output folder", folder)))
        {
            findings.push(Finding::new(format!("{option} {}", folder.display()), disk(folder)));
        }
        let owned = |owner: fn(&Path) -> _| move |folder: &PathBuf| Finding::new(format!("owner of {}", folder.display()), owner(folder));
        findings.extend(self.checkpoint_dir.iter().map(owned(owner_of_checkpoints)));
        findings.extend(self.output.iter().map(owned(owner_of_results)));
        findings.extend(self.listen.iter().map(|address| Finding::new(format!("port {address}"), port(*address))));
        findings
    }
}

/// Formats the page: one line per finding, with its verdict.
fn page(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.about.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { about, result } in findings {
        let (verdict, what) = match result {
            Ok(found) => ("ok  ", found),
            Err(fault) => ("FAIL", fault),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{verdict}  {about:width$}  {what}");
    }
    let faults = findings.iter().filter(|finding| finding.result.is_err()).count();
    let verdict = if faults == 0 { "all is well".to_owned() } else { format!("{faults} of {} are not in order", findings.len()) };
    let _ = writeln!(text, "{verdict}");
    text
}

/// A limit of this process, and whether it is at least `enough`.
fn limit(limit: Result<u64, IoError>, shown: impl Fn(u64) -> String, enough: u64, cure: &str) -> Result<String, String> {
    match limit.map_err(|error| error.to_string())? {
        u64::MAX => Ok("no limit".to_owned()),
        limit if limit >= enough => Ok(format!("up to {}", shown(limit))),
        limit => Err(format!("{} are few, {} are usual: raise the limit with {cure}", shown(limit), shown(enough))),
    }
}

fn so_many(cores: usize) -> String {
    if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") }
}

/// The limit on locked memory, and whether it suffices for the rings of `cores` cores; `failure` is why they cannot be started.
fn memlock(limit: Result<u64, IoError>, is_charged: bool, cores: usize, failure: Option<&StartError>) -> Result<String, String> {
    let limit = limit.map_err(|error| error.to_string())?;
    let needed = machine::locked_memory_needed(cores);
    let up_to = if limit == u64::MAX { "no limit".to_owned() } else { format!("up to {}", HumanBytes(limit)) };
    let takes = format!("the rings of {} take {}", so_many(cores), HumanBytes(needed));
    match failure {
        // An actual failure counts, whatever the kernel's release suggests.
        Some(error @ StartError::MemlockTooLow { .. }) => Err(format!("this kernel charges rings to it: {error}")),
        _ if !is_charged => Ok(format!("{up_to}; this kernel charges no rings to it")),
        _ if limit >= needed => Ok(format!("{up_to}; this kernel charges rings to it, and {takes}")),
        None => Ok(format!("{up_to}; this kernel charges rings to it, but not those of this user")),
        Some(_) => {
            let cure = format!("raise it with `ulimit -l {}` or LimitMEMLOCK= in systemd", needed.div_ceil(1024));
            Err(format!("{up_to}; this kernel charges rings to it, and {takes}: {cure}"))
        }
    }
}

fn clock(now_ms: u64) -> Result<String, String> {
    let shown = format_millis(i64::try_from(now_ms).unwrap_or(i64::MAX));
    if now_ms >= CLOCK_MS_MIN { Ok(shown) } else { Err(format!("it shows {shown}: set it, best by NTP")) }
}

/// Whether a job can write into `folder`, or create it.
fn disk(folder: &Path) -> Result<String, String> {
    let another = "choose another folder";
    let existing = existing(folder).map_err(|error| format!("{error}; {another}"))?;
    let writing = machine::try_writing(existing).and_then(|()| machine::free_bytes(existing));
    let free = writing.map_err(|error| match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => format!("{} is no folder; {another}", existing.display()),
        ErrorKind::PermissionDenied => format!("{error}; give this user the right to write there or {another}"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("{error}; make room there or {another}"),
        _ => format!("{error}; see to the disk or {another}"),
    })?;
    if free < FREE_BYTES_MIN {
        return Err(format!("{} are free: make room there or {another}", HumanBytes(free)));
    }
    let made = if existing == folder { "" } else { ", and it will be made" };
    Ok(format!("can be written to{made}; {} are free", HumanBytes(free)))
}

/// `folder`, or its nearest ancestor that exists.
fn existing(folder: &Path) -> Result<&Path, IoError> {
    for folder in folder.ancestors() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if machine::is_folder(folder)?.is_some() {
            return Ok(folder);
        }
    }
    Ok(Path::new("/"))
}

/// The job that owns a checkpoint folder, and the time of its latest log entry.
fn owner_of_checkpoints(folder: &Path) -> Result<String, String> {
    if !matches!(machine::is_folder(folder), Ok(Some(true))) {
        return Ok("nobody yet".to_owned());
    }
    let dir = folder.to_owned();
    // No other task could be kept waiting, and no ring is needed.
    match blocking::run(move |io| Box::pin(async move { owner_of(&io, &dir).await })) {
        Ok(Ok(owner)) => Ok(owner),
        // No job has begun there.
        Ok(Err(CheckpointError::NotFound { .. })) => Ok("nobody yet".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The job that shows its results in a folder now, and whether another job may take it over.
fn owner_of_results(folder: &Path) -> Result<String, String> {
    if !matches!(machine::is_folder(folder), Ok(Some(true))) {
        return Ok("nobody yet".to_owned());
    }
    let dir = folder.to_owned();
    let report = blocking::run(move |io| Box::pin(async move { owner_report(&io, &dir).await }));
    let report = report.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    report.map_err(|refusal| format!("{refusal}{}", by_options(refusal.cures())))
}

/// Whether a process can listen at `address` now.
fn port(address: SocketAddr) -> Result<String, String> {
    machine::try_listening(address).map(|()| "is free".to_owned()).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => format!("{error}; end the process that has it (`ss -ltnp` shows which), or choose another port"),
        ErrorKind::AddrNotAvailable => format!("{error}; choose an address that this machine has (`ip address` shows them)"),
        ErrorKind::PermissionDenied => format!("{error}; choose a port above 1023"),
        _ => format!("{error}; choose another address or port"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_line_for_each_finding_and_counts_what_is_not_in_order() {
        let findings = [
            Finding::new("clock", clock(1_800_000_000_000)),
            Finding::new("descriptors", limit(Ok(256), |count| count.to_string(), OPEN_FILES_MIN, "`ulimit -Hn`")),
        ];
        let expected = "ok    clock        2027-01-15T08:00:00Z\nFAIL  descriptors  256 are few, 1024 are usual: raise the limit with `ulimit -Hn`\n1 of \
                        2 are not in order\n";
        assert_eq!(page(&findings), expected);
        assert!(page(&findings[..1]).ends_with("all is well\n"));
    }

    #[test]
    fn limits_and_clocks_are_judged() {
        let few = |limit_is| limit(Ok(limit_is), |count| count.to_string(), 1024, "it");
        assert_eq!((few(1024), few(u64::MAX)), (Ok("up to 1024".to_owned()), Ok("no limit".to_owned())));
        assert!(few(1023).is_err());
        assert!(clock(0).unwrap_err().contains("1970-01-01T00:00:00Z: set it"));
    }

    #[test]
    fn the_limit_on_locked_memory_is_compared_with_what_the_rings_of_so_many_cores_take_where_they_are_charged() {
        let needed = machine::locked_memory_needed(4);
        let other = StartError::NoRing { reason: "EMFILE".to_owned(), cure: "ulimit".to_owned() };
        let too_low = StartError::MemlockTooLow { limit_bytes: 4096, needed_bytes: needed };
        let judged = |limit, is_charged, failure| memlock(Ok(limit), is_charged, 4, failure);
        assert_eq!(judged(4096, false, None), Ok("up to 4.00 KiB; this kernel charges no rings to it".to_owned()));
        assert!(judged(4096, false, Some(&other)).is_ok());
        assert!(judged(needed, true, None).is_ok_and(|line| line.contains("the rings of 4 cores take ")));
        assert!(judged(u64::MAX, true, Some(&other)).is_ok_and(|line| line.starts_with("no limit; ")));
        assert!(judged(4096, true, None).is_ok_and(|line| line.contains("but not those of this user")));
        let cure = format!("`ulimit -l {}`", needed.div_ceil(1024));
        for (is_charged, failure) in [(true, &other), (true, &too_low), (false, &too_low)] {
            let line = judged(4096, is_charged, Some(failure)).unwrap_err();
            assert!(line.contains(&cure) && line.contains("this kernel charges rings to it"), "{line}");
        }
        assert!(judged(needed - 1, true, Some(&other)).is_err());
    }

    #[test]
    fn what_is_not_there_yet_is_nobodys() {
        for owner in [owner_of_checkpoints, owner_of_results] {
            assert_eq!(owner(Path::new("no/such/folder")), Ok("nobody yet".to_owned()));
        }
    }

    #[test]
    fn a_folder_that_can_be_made_is_in_order_and_a_file_in_its_place_is_not() {
        let file = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(disk(&file).unwrap_err().contains("choose another folder"), "{:?}", disk(&file));
        assert!(disk(&file.join("below")).unwrap_err().contains("choose another folder"));
        let made = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("no/such/folder");
        assert!(disk(&made).unwrap().contains("it will be made"));
    }
}
