//! The file that names the owner of an output folder, and the judgement of claims on the folder.
//!
//! ```text
//! .thalweg-owner-<number>                   the owner; of several the one with the highest number
//! .thalweg-owner-<number>-<process>.tmp     one on its way
//! ```
//!
//! It is text (docs/src/formats.md#the-owner-of-an-output-folder). A job may take over a folder that has an owner if the owner is dead, which a lock on the
//! file tells, or is an older attempt of the same job, or if a person says so; in no other case, and never if it cannot be found out
//! (docs/src/semantics.md#o-6).
//!
//! Pure: names and bytes in, verdicts out.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use thalweg_io::ProcessIdentity;
use thalweg_kernel::checkpoint::{Attempt, JobId};
use thalweg_kernel::{Cure, Refusal};

/// The prefix of the names of owner files.
const PREFIX: &str = ".thalweg-owner-";

/// The first bytes of the text, with the version of the format.
const MAGIC: &str = "thalweg-owner 1 ";

/// A longer file is no owner file, whatever its name: it holds a few names.
pub(super) const OWNER_BYTES_MAX: u64 = 64 << 10;

/// The advice to a person who knows the situation.
const CURE: &str = "take the folder over, or choose another output folder";

/// The name of an owner file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerName {
    /// The file of the owner with this number.
    Owner(u64),
    /// The temporary file of a process about to become the owner with this number.
    Temporary { number: u64, owner: u64 },
}

impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(number) => write!(f, "{PREFIX}{number}"),
            Self::Temporary { number, owner } => write!(f, "{PREFIX}{number}-{owner:016x}.tmp"),
        }
    }
}

impl OwnerName {
    /// Parses a name; `None` unless all of it matches one of these forms.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let parsed = match rest.split_once('-') {
            None => Self::Owner(rest.parse().ok()?),
            Some((number, process)) => {
                let owner = u64::from_str_radix(process.strip_suffix(".tmp")?, 16).ok()?;
                Self::Temporary { number: number.parse().ok()?, owner }
            }
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

/// The owner of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerFile {
    /// The job, in hexadecimal digits.
    pub(super) job: String,
    /// The attempt that took the folder.
    pub(super) attempt: u64,
    /// The number of the process that coordinates the attempt, unique, in hexadecimal digits.
    pub(super) owner: String,
    /// The checkpoint folder, whose log orders the attempts of the job, as the job was given it.
    pub(super) checkpoints: Option<String>,
    /// The host on which that process runs.
    pub(super) host: String,
    pub(super) pid: u32,
    /// When the process began, in milliseconds since 1970.
    pub(super) started_ms: i64,
    /// Whether the process holds a lock on this file as long as it lives.
    pub(super) is_locked: bool,
}

impl OwnerFile {
    /// The content of the file: a line with a checksum, and a line of JSON.
    pub(super) fn encode(&self) -> String {
        let body = serde_json::to_string(self).expect("invariant: these types have a form in JSON") + "\n";
        format!("{MAGIC}{:08x}\n{body}", crc32fast::hash(body.as_bytes()))
    }

    /// Decodes the content; `Err` says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let (first, body) = text.split_once('\n').ok_or("it is torn")?;
        let crc = first.strip_prefix(MAGIC).ok_or("it is of another version, or no owner file at all")?;
        if *crc != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err("its checksum is wrong".to_owned());
        }
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    /// Describes the process, for people.
    fn who(&self) -> String {
        let process = ProcessIdentity { host: self.host.clone(), pid: self.pid, started: thalweg_io::UnixMillis(self.started_ms) };
        let started =
            jiff::Timestamp::from_millisecond(self.started_ms).map_or_else(|_| "at an unknown time".to_owned(), |at| at.to_string());
        format!("{process}, started {started} (job {}, attempt {})", self.job, self.attempt)
    }
}

/// A job's claim on a folder.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) job: JobId,
    pub(super) attempt: Attempt,
    pub(super) owner: u64,
    pub(super) checkpoints: Option<PathBuf>,
    pub(super) process: ProcessIdentity,
    /// Whether a person says that the folder's owner no longer owns it.
    pub(super) takes_over: bool,
}

impl Claim {
    /// The owner file that the claimant writes.
    pub(super) fn file(&self, is_locked: bool) -> OwnerFile {
        OwnerFile {
            job: self.job.to_string(),
            attempt: self.attempt.0,
            owner: digits(self.owner),
            checkpoints: self.log(),
            host: self.process.host.clone(),
            pid: self.process.pid,
            started_ms: self.process.started.0,
            is_locked,
        }
    }

    fn log(&self) -> Option<String> {
        self.checkpoints.as_ref().map(|dir| dir.display().to_string())
    }
}

/// A process's number in hexadecimal digits.
pub(super) fn digits(owner: u64) -> String {
    format!("{owner:016x}")
}

/// The state of the lock on an owner file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockState {
    /// Some process holds it.
    Held,
    /// Nobody holds it.
    Free,
    /// It cannot be found out.
    Unknown,
}

/// The verdict on a claim to a folder that has an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The claim is granted; the sentence tells from whom the folder is taken.
    TakeOver(String),
    /// The claim is refused; the refusal tells why, and what to do.
    Refuse(Refusal),
    /// The claim is refused if the lock stays held: a process that only looks holds it for a moment, too.
    RefuseIfStillHeld(Refusal),
}

/// Judges a claim on `folder`, whose owner is `found` (or why its file cannot be understood).
pub(super) fn judge(folder: &Path, found: &Result<OwnerFile, String>, lock: LockState, claim: &Claim) -> Verdict {
    let shown = folder.display();
    let found = match found {
        Ok(found) => found,
        Err(_) if claim.takes_over => return Verdict::TakeOver(format!("{shown} is taken over from an owner that cannot be made out")),
        Err(reason) => {
            return Verdict::Refuse(curable(format!(
                "{shown} has an owner that cannot be made out ({reason}), so nobody can tell whether it still runs; if you know that it does not, {CURE}"
            )));
        }
    };
    if found.owner == digits(claim.owner) {
        return Verdict::Refuse(format!("two sinks of this job write to {shown}: give each a place of its own").into());
    }
    let who = found.who();
    if claim.takes_over {
        return Verdict::TakeOver(format!("{shown} is taken over from {who}, as was asked for"));
    }
    // The log says which of two attempts is newer, but only for its own attempts.
    let is_of_one_log = found.checkpoints.is_some() && found.checkpoints == claim.log() && found.job == claim.job.to_string();
    if is_of_one_log && found.attempt < claim.attempt.0 {
        return Verdict::TakeOver(format!("{shown} is taken over from an older attempt of this job: {who}"));
    }
    let is_neighbour = found.host == claim.process.host;
    let runs = || curable(format!("{shown} belongs to a job that runs: {who}; stop it, or {CURE}"));
    match lock {
        LockState::Held if is_neighbour && found.is_locked => Verdict::RefuseIfStillHeld(runs()),
        LockState::Held => Verdict::Refuse(runs()),
        LockState::Free if is_neighbour && found.is_locked => {
            Verdict::TakeOver(format!("{shown} is taken over from a process that has died: {who}"))
        }
        _ if !is_neighbour => Verdict::Refuse(curable(format!(
            "{shown} belongs to {who}, and from {} nobody can tell whether it still runs; if you know that it does not, {CURE}",
            claim.process.host
        ))),
        LockState::Free | LockState::Unknown => Verdict::Refuse(curable(format!(
            "{shown} belongs to {who}, and without locks on files there nobody can tell whether it still runs; if you know that it does not, {CURE}"
        ))),
    }
}

/// A refusal for a reason that names [`CURE`].
fn curable(reason: String) -> Refusal {
    Refusal::from(reason).curable_by([Cure::TakeOverOutput])
}

/// The message for a process that has lost a folder.
pub(super) fn overtaken(folder: &Path, by: Option<&OwnerFile>) -> String {
    let by = by.map_or_else(|| "somebody else".to_owned(), OwnerFile::who);
    format!("{} has been taken over by {by}: this process shows nothing there any more", folder.display())
}

/// The message for a process that finds no owner file, not even its own.
pub(super) fn deserted(folder: &Path) -> String {
    format!(
        "{} was this job's, and the file that says so is gone: another job had taken the folder over and has ended, or somebody has removed the file; this process shows nothing there any more",
        folder.display()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use thalweg_io::UnixMillis;

    fn claim() -> Claim {
        Claim {
            job: JobId(0xabc),
            attempt: Attempt(3),
            owner: 7,
            checkpoints: Some("chk".into()),
            process: ProcessIdentity { host: "here".to_owned(), pid: 12, started: UnixMillis(1_700_000_000_000) },
            takes_over: false,
        }
    }

    fn other() -> OwnerFile {
        OwnerFile { job: JobId(1).to_string(), owner: digits(8), pid: 99, ..claim().file(true) }
    }

    #[test]
    fn names_come_back_and_those_of_others_are_left_alone() {
        for name in [OwnerName::Owner(1), OwnerName::Owner(u64::MAX), OwnerName::Temporary { number: 3, owner: 0xfe }] {
            assert_eq!(OwnerName::parse(&name.to_string()), Some(name));
        }
        for other in [".thalweg-owner-", ".thalweg-owner-01", ".thalweg-owner-+1", ".thalweg-owner-1-fe.tmp", "thalweg-owner-1", ".thalweg"]
        {
            assert_eq!(OwnerName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_is_not_believed() {
        let file = claim().file(true);
        let bytes = file.encode().into_bytes();
        assert_eq!(OwnerFile::decode(&bytes), Ok(file));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(OwnerFile::decode(&flipped).is_err(), "byte {at}, bit {bit}");
            }
            assert!(OwnerFile::decode(&bytes[..at]).is_err(), "the first {at} bytes");
        }
    }

    fn verdict(found: OwnerFile, lock: LockState, claim: &Claim) -> Verdict {
        judge(Path::new("out"), &Ok(found), lock, claim)
    }

    fn refusal(found: OwnerFile, lock: LockState, claim: &Claim) -> String {
        match verdict(found, lock, claim) {
            Verdict::Refuse(refusal) | Verdict::RefuseIfStillHeld(refusal) => {
                assert_eq!(refusal.reason().contains(CURE), refusal.cures() == [Cure::TakeOverOutput], "{refusal}");
                refusal.to_string()
            }
            Verdict::TakeOver(line) => panic!("{line}"),
        }
    }

    #[test]
    fn a_live_owner_is_named_and_keeps_the_folder() {
        let reason = refusal(other(), LockState::Held, &claim());
        let named = ["out belongs to a job that runs", "process 99 on here", "started 2023-11-14T22:13:20Z", "take the folder over"];
        assert!(named.iter().all(|part| reason.contains(part)), "{reason}");
    }

    #[test]
    fn only_a_lock_that_would_be_free_without_its_owner_is_looked_at_again() {
        assert!(matches!(verdict(other(), LockState::Held, &claim()), Verdict::RefuseIfStillHeld(_)));
        let elsewhere = OwnerFile { host: "there".to_owned(), ..other() };
        let unlocked = OwnerFile { is_locked: false, ..other() };
        for found in [elsewhere, unlocked, claim().file(true)] {
            assert!(matches!(verdict(found, LockState::Held, &claim()), Verdict::Refuse(_)));
        }
    }

    #[test]
    fn who_cannot_be_judged_keeps_the_folder_until_a_person_knows_better() {
        let elsewhere = OwnerFile { host: "there".to_owned(), ..other() };
        let unlocked = OwnerFile { is_locked: false, ..other() };
        let knows = Claim { takes_over: true, ..claim() };
        for lock in [LockState::Held, LockState::Free, LockState::Unknown] {
            assert!(refusal(elsewhere.clone(), lock, &claim()).contains("process 99 on there"));
            assert!(refusal(unlocked.clone(), lock, &claim()).contains("take the folder over"));
            for found in [elsewhere.clone(), unlocked.clone(), other()] {
                assert!(matches!(verdict(found, lock, &knows), Verdict::TakeOver(line) if line.contains("as was asked for")));
            }
        }
        assert!(refusal(other(), LockState::Unknown, &claim()).contains("without locks"));
        let torn = judge(Path::new("out"), &Err("it is torn".to_owned()), LockState::Free, &claim());
        assert!(
            matches!(torn, Verdict::Refuse(refusal) if refusal.reason().contains("it is torn") && refusal.reason().contains("take the folder over"))
        );
        assert!(matches!(judge(Path::new("out"), &Err(String::new()), LockState::Held, &knows), Verdict::TakeOver(_)));
    }

    #[test]
    fn a_dead_owner_is_followed() {
        assert!(matches!(verdict(other(), LockState::Free, &claim()), Verdict::TakeOver(line) if line.contains("has died: process 99")));
    }

    #[test]
    fn an_older_attempt_of_the_same_log_is_followed_even_if_it_lives() {
        let older = OwnerFile { attempt: 2, owner: digits(8), host: "there".to_owned(), ..claim().file(true) };
        for lock in [LockState::Held, LockState::Free, LockState::Unknown] {
            assert!(matches!(verdict(older.clone(), lock, &claim()), Verdict::TakeOver(line) if line.contains("older attempt")));
        }
        let newer = OwnerFile { attempt: 4, ..older.clone() };
        let of_another_log = OwnerFile { checkpoints: Some("other".to_owned()), ..older.clone() };
        let of_another_job = OwnerFile { job: JobId(1).to_string(), ..older.clone() };
        for found in [newer, of_another_log, of_another_job] {
            refusal(found, LockState::Held, &claim());
        }
        let without_log = Claim { checkpoints: None, ..claim() };
        refusal(OwnerFile { checkpoints: None, ..older }, LockState::Held, &without_log);
    }

    #[test]
    fn two_sinks_of_one_job_are_told_so() {
        let own = claim().file(true);
        let reason = refusal(own, LockState::Held, &Claim { takes_over: true, ..claim() });
        assert!(reason.contains("two sinks of this job"), "{reason}");
    }
}
