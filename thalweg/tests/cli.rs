//! What a person sees when something is wrong: one clear message with its place, an exit code, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod flights_job;

use flights_job::flights;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg::cli::{self, About};

const HEADER: &str = "year,month,day,dep_time,dep_delay,carrier,hour,minute";

/// `flights run` in `dir`, where its default outputs come to be.
fn run(dir: &Path, options: &[&str]) -> Command {
    flights(dir, &[&["run"], options].concat())
}

/// Ctrl-C.
fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// Exit code and stderr.
fn outcome(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Checks code and message of a run that goes wrong, and that it speaks in one way only.
#[track_caller]
fn check(mut command: Command, code: i32, parts: &[&str]) {
    let (actual, message) = outcome(&command.output().unwrap());
    assert_eq!(actual, Some(code), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is missing in: {message}"));
    assert!(!message.contains("RUST_BACKTRACE") && !message.contains("panicked at"), "{message}");
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(dir.join(name), content).unwrap();
}

/// Names of the files in `dir` and below, hidden ones too; none if it does not exist.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let mut found = vec![];
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(names(&path));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// The lines of the results that are visible in `dir`, sorted, with their ends.
fn lines(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let shown = entries.map(|entry| entry.unwrap().path()).filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"));
    let mut lines: Vec<String> =
        shown.flat_map(|path| fs::read_to_string(path).unwrap().split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

#[test]
fn wrong_use_is_told_apart_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let at = |options: &[&str]| run(dir.path(), options);
    check(at(&["--colour", "red"]), 2, &["unexpected argument '--colour'"]);
    check(at(&["--window", "soon"]), 2, &["--window", "write for example 1d"]);
    check(at(&["--window", "0"]), 2, &["at least 1ms"]);
    check(at(&["--cores", "0"]), 2, &["--cores"]);
    check(at(&["--rate", "0"]), 2, &["--rate"]);
    check(at(&["--parallelism", "129"]), 2, &["128 key groups"]);
    check(at(&["--input", "nowhere.csv"]), 2, &["there is no file or folder nowhere.csv"]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    check(at(&["--input", "empty"]), 2, &["the folder empty holds no *.csv file"]);
    write(dir.path(), "file", "");
    check(at(&["--output", "file"]), 2, &["file", "choose another output folder"]);
    check(at(&["--output", "out", "--late-output", "./out"]), 2, &["two sinks write to out"]);
    check(at(&["--input", "file/in.csv"]), 2, &["file/in.csv", "name a CSV file"]);
    check(at(&["--restore", "none"]), 2, &["--checkpoint-dir <DIR>"]);
    check(at(&["--checkpoint-dir", "c", "--checkpoint-interval", "0"]), 2, &["--checkpoint-interval", "at least 1ms"]);
    check(at(&["--checkpoint-dir", "c", "--retain", "0"]), 2, &["--retain"]);
    check(at(&["--restart-attempts", "0"]), 2, &["--restart-attempts"]);
    check(at(&["--restart-strategy", "sometimes"]), 2, &["fixed-delay"]);
    check(at(&["--restart-strategy", "none", "--restart-delay", "1s"]), 2, &["--restart-delay", "--restart-strategy none"]);
    assert_eq!(names(dir.path()), ["file"], "nothing was begun");
    check(at(&["--checkpoint-dir", "c", "--restore", "nowhere"]), 2, &["there is no checkpoint at nowhere", "chk-*.metadata"]);
    let checkpoints = |arguments: &[&str]| flights(dir.path(), &[&["checkpoints"], arguments].concat());
    check(checkpoints(&[]), 2, &["list", "inspect"]);
    check(checkpoints(&["list", "nowhere"]), 2, &["there is no folder nowhere", "--checkpoint-dir"]);
    check(checkpoints(&["list", "file"]), 2, &["file is no folder"]);
    check(checkpoints(&["list", "empty"]), 2, &["no checkpoint in empty"]);
    check(checkpoints(&["inspect", "nowhere"]), 2, &["no checkpoint at nowhere"]);
    check(checkpoints(&["inspect", "file"]), 2, &["file does not have the name"]);
}

#[test]
fn help_explains_the_job_and_its_options() {
    let dir = tempfile::tempdir().unwrap();
    let output = flights(dir.path(), &["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in
        ["--input", "--late-output", "--window", "--out-of-orderness", "--parallelism", "--rate", "Examples:", "flights run --cores 2"]
            .into_iter()
            .chain(["Checkpoint options:", "latest|none|PATH", "Restart options:", "exponential-delay"])
    {
        assert!(help.contains(part), "{part}");
    }
}

#[test]
fn malformed_rows_are_set_aside_with_their_places_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut input = format!("{HEADER}\n2013,1,1,517,2,UA,5,15\n2013,1,1,517,2,UA,5\n2013,1,1,517,two,UA,5,15\n").into_bytes();
    input.extend_from_slice(b"2013,1,1,517,2,U\xff,5,15\n2013,2,30,517,2,UA,5,15\n2013,1,1,NA,NA,UA,5,15\n2013,1,1,1,1,\"UA,5,15\n");
    write(dir.path(), "in.csv", input);
    let output = run(dir.path(), &["--input", "in.csv", "--cores", "1", "--parallelism", "1"]).output().unwrap();
    let summary = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
    assert!(summary.contains("7 rows read") && summary.contains(" 2 counted") && summary.contains(" 5 malformed"), "{summary}");
    let part = |folder: &str| lines(&dir.path().join(folder)).concat();
    assert_eq!(part("flights-output"), "2013-01-01T00:00:00Z,UA,2,1,2,2\n");
    let malformed = part("flights-output/malformed");
    let expected = [
        "in.csv,3,8,\"the row has 7 fields, but the header has 8\",\"2013,1,1,517,2,UA,5\"",
        "in.csv,4,5,\"column dep_delay: \"\"two\"\": invalid digit found in string\"",
        "in.csv,5,6,column carrier is not valid UTF-8,\"2013,1,1,517,2,U\u{fffd},5,15\"",
        "in.csv,6,1,\"year, month, day, hour and minute are no time",
        "in.csv,8,7,\"the row has 6 fields, but the header has 8",
    ];
    expected.iter().for_each(|row| assert!(malformed.contains(row), "{row} is missing in:\n{malformed}"));
}

#[test]
fn a_strict_job_fails_at_a_malformed_row_with_file_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in.csv", format!("{HEADER}\n2013,1,1,517,2,UA,5,15\n2013,1,1,517,two,UA,5,15\n"));
    check(run(dir.path(), &["--input", "in.csv", "--strict"]), 1, &["in.csv:3:5: column dep_delay: \"two\""]);
    assert!(names(&dir.path().join("flights-output")).is_empty(), "a failed job leaves nothing");
}

/// Root may read everything: as root the job is run by nobody.
#[test]
fn a_folder_without_permission_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    write(&closed, "in.csv", HEADER);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let as_nobody = |options: &[&str]| {
        let mut command = run(dir.path(), options);
        command.uid(65534).gid(65534);
        command
    };
    if let Err(error) = as_nobody(&["--help"]).output() {
        eprintln!("SKIPPED: the binary cannot be run as nobody: {error}");
        return;
    }
    let open = dir.path().join("in.csv");
    fs::write(&open, format!("{HEADER}\n2013,1,1,517,2,UA,5,15\n")).unwrap();
    check(as_nobody(&["--input", "closed"]), 2, &["closed", "Permission denied", "the right to read"]);
    check(as_nobody(&["--input", "in.csv", "--output", "closed/out"]), 2, &["closed/out", "Permission denied"]);
}

/// A small file system that goes away with this value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).output());
    }
}

/// docs/src/semantics.md#o-7
#[test]
fn a_job_on_a_full_disk_says_where_it_waits_for_room_and_leaves_nothing_behind_when_it_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Tmpfs::mount(dir.path().join("small"), "16k") else {
        eprintln!("SKIPPED: a tmpfs cannot be mounted here");
        return;
    };
    let mut command = run(dir.path(), &["--output", "small/out", "--cores", "2"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut told = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !told.contains("the job waits") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "the job has ended by itself: {told}");
    }
    for part in ["small/out/.part-", "No space left on device", "free some space"] {
        assert!(told.contains(part), "{part:?} is missing in: {told}");
    }
    interrupt(&child);
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told}");
    assert!(names(&small.0.join("out")).is_empty());
}

#[test]
fn an_interrupted_job_is_cancelled_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = run(dir.path(), &["--rate", "1000", "--cores", "1"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // The last output folder is made when everything else is in place.
    while !dir.path().join("flights-output/malformed").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the job has ended by itself");
        std::thread::yield_now();
    }
    interrupt(&child);
    let (code, message) = outcome(&child.wait_with_output().unwrap());
    assert_eq!((code, message.as_str()), (Some(130), "error: interrupted: the job was cancelled and shows no results\n"));
    assert!(names(dir.path()).is_empty());
}

/// `kill -TERM`.
fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

/// Waits until `is_so`, while the job runs.
#[track_caller]
fn wait_until(child: &mut Child, is_so: impl Fn() -> bool) {
    while !is_so() {
        assert!(child.try_wait().unwrap().is_none(), "the job has ended by itself");
        std::thread::yield_now();
    }
}

#[test]
fn a_job_with_checkpoints_is_stopped_with_one_and_goes_on_when_it_is_run_again() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &["--output", "undisturbed"]).output().unwrap().status.success());
    let expected = lines(&dir.path().join("undisturbed"));
    let out = dir.path().join("flights-output");
    let options = ["--checkpoint-dir", "checkpoints", "--checkpoint-interval", "20ms"];
    let slowly = |signal: &str| {
        let mut command = run(dir.path(), &[&options[..], &["--rate", "5000", "--cores", "1"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let shown = names(&out).len();
        wait_until(&mut child, || lines(&out).len() > 10 && names(&out).len() > shown);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let (code, log) = outcome(&output);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopping with a checkpoint"), "{log}");
        (String::from_utf8(output.stdout).unwrap(), log)
    };
    let (summary, _) = slowly("-TERM");
    assert!(summary.contains("stopped with checkpoint ") && summary.contains("run the same command again to go on"), "{summary}");
    assert!(!names(&out).iter().any(|name| name.ends_with(".inprogress")));
    let (summary, log) = slowly("-INT");
    assert!(log.contains("restoring checkpoint="), "{log}");
    assert!(summary.contains("  restored checkpoint ") && summary.contains(" old, "), "{summary}");

    let finish = || {
        let output = run(dir.path(), &options).output().unwrap();
        assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(finish().contains("flights: done in "));
    assert!(lines(&out) == expected, "{} lines instead of {}", lines(&out).len(), expected.len());
    assert!(finish().contains("the job has finished before; nothing to do"));
    assert!(lines(&out) == expected);

    // Once more from the beginning: what is shown would be shown twice.
    let again = |more: &[&str]| run(dir.path(), &[&options[..], &["--restore", "none"], more].concat());
    check(again(&[]), 2, &["later than the beginning", "--discard-later-output"]);
    assert!(lines(&out) == expected);
    assert!(again(&["--discard-later-output"]).output().unwrap().status.success());
    assert!(lines(&out) == expected);
}

/// Two jobs into one folder both ended with 0, and every line was there twice.
#[test]
fn a_job_whose_output_folder_belongs_to_another_that_runs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("flights-output");
    let is_owned = |out: &Path| names(out).iter().any(|name| name == ".thalweg-owner-1");
    let begin = |options: &[&str]| {
        let mut command = run(dir.path(), &[&["--rate", "8000", "--cores", "1"], options].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut first = begin(&[]);
    wait_until(&mut first, || is_owned(&out));
    let pid = format!("process {} on ", first.id());
    for options in [&[][..], &["--overwrite"], &["--checkpoint-dir", "chk"]] {
        check(run(dir.path(), options), 2, &["flights-output belongs to a job that runs", &pid, "started 2", "--take-over-output"]);
    }
    assert!(names(&dir.path().join("chk")).is_empty(), "no attempt has begun");
    // To others it lives, and one who knows better says so.
    assert!(Command::new("kill").args(["-STOP", &first.id().to_string()]).status().unwrap().success());
    check(run(dir.path(), &[]), 2, &[&pid]);
    let taken = run(dir.path(), &["--take-over-output"]).output().unwrap();
    let (code, log) = outcome(&taken);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("flights-output is taken over from process ") && log.contains("as was asked for"), "{log}");
    let shown = lines(&out);
    assert!(Command::new("kill").args(["-CONT", &first.id().to_string()]).status().unwrap().success());
    let (code, log) = outcome(&first.wait_with_output().unwrap());
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("this process shows nothing there any more"), "{log}");
    assert!(lines(&out) == shown, "{} lines instead of {}", lines(&out).len(), shown.len());

    // One that was killed is followed without being asked to.
    let mut killed = begin(&["--output", "again"]);
    let again = dir.path().join("again");
    wait_until(&mut killed, || is_owned(&again));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let (code, log) = outcome(&run(dir.path(), &["--output", "again"]).output().unwrap());
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("again is taken over from a process that has died: process "), "{log}");
    assert!(lines(&again) == shown);
    assert!(!names(&again).iter().any(|name| name.starts_with('.')), "{:?}", names(&again));
}

#[test]
fn one_folder_for_two_purposes_is_refused_under_whatever_names() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    write(dir.path(), "in/january.csv", format!("{HEADER}\n2013,1,1,517,2,UA,5,15\n"));
    std::os::unix::fs::symlink("in", dir.path().join("alias")).unwrap();
    let at = |options: &[&str]| run(dir.path(), &[&["--late-output", "l", "--malformed-output", "m"], options].concat());
    for (input, output) in [("in", "in"), ("in", "./in/"), ("in", "alias"), ("alias", "in"), ("in", "in/../in")] {
        check(at(&["--input", input, "--output", output]), 2, &["are one folder", input, output]);
    }
    fs::create_dir(dir.path().join("out")).unwrap();
    std::os::unix::fs::symlink("out", dir.path().join("other")).unwrap();
    let twice = ["--input", "in", "--output", "out", "--late-output", "other", "--malformed-output", "m"];
    check(run(dir.path(), &twice), 2, &["two sinks of this job write to other"]);
    // The folder, and its alias.
    assert_eq!(names(dir.path()), ["january.csv", "january.csv"], "nothing is left");
}

#[test]
fn a_log_entry_that_was_removed_is_missed_and_something_else_in_its_place_is_called_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--checkpoint-dir", "checkpoints", "--checkpoint-interval", "10ms"];
    assert!(run(dir.path(), &options).output().unwrap().status.success());
    let folder = dir.path().join("checkpoints");
    let newest = names(&folder).into_iter().rfind(|name| name.ends_with(".entry")).unwrap();
    let head = newest.replace(".entry", ".head");
    fs::remove_file(folder.join(&newest)).unwrap();
    let missing = [format!("checkpoints/{newest} is missing"), format!("cp checkpoints/{head} checkpoints/{newest}")];
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    for looking in ["list", "inspect"] {
        let output = flights(dir.path(), &["checkpoints", looking, "checkpoints"]).output().unwrap();
        let (code, message) = outcome(&output);
        assert_eq!(code, Some(1), "{message}");
        assert!(missing.iter().all(|part| message.contains(part)), "{message}");
    }
    check(run(dir.path(), &options), 2, &missing);
    fs::copy(folder.join(&head), folder.join(&newest)).unwrap();
    assert!(run(dir.path(), &options).output().unwrap().status.success());

    // In a new folder, in the place of the first entry.
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let first = "log-00000000000000000001.entry";
    assert!(Command::new("mkfifo").arg(other.join(first)).status().unwrap().success());
    let with_pipe = || run(dir.path(), &["--checkpoint-dir", "other", "--output", "o", "--late-output", "l", "--malformed-output", "m"]);
    check(with_pipe(), 2, &[&format!("other/{first} is neither a file nor a folder and not an entry of the log"), "move it out"]);
    assert!(names(&dir.path().join("o")).is_empty(), "nothing was begun");
    fs::remove_file(other.join(first)).unwrap();
    assert!(with_pipe().output().unwrap().status.success());
}

#[test]
fn checkpoints_are_listed_and_inspected_while_the_job_runs_and_when_one_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkpoints");
    let options = ["--checkpoint-dir", "checkpoints", "--checkpoint-interval", "10ms", "--retain", "2", "--rate", "2000", "--cores", "1"];
    let mut job = run(dir.path(), &options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let complete = || names(&folder).iter().filter(|name| name.ends_with(".metadata")).count();
    wait_until(&mut job, || complete() >= 2);
    let look = |arguments: &[&str]| {
        let output = flights(dir.path(), &[&["checkpoints"], arguments].concat()).output().unwrap();
        assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
        String::from_utf8(output.stdout).unwrap()
    };
    for _ in 0..10 {
        let list = look(&["list", "checkpoints"]);
        assert!(list.contains("  checkpoint  attempt  completed") && list.contains(" ago) ") && !list.contains("damaged"), "{list}");
        let inspection = look(&["inspect", "checkpoints"]);
        for part in ["window-contents", "positions of sources (3)", "input      goes on", "subtasks that had ended: none"] {
            assert!(inspection.contains(part), "{part:?} is missing in: {inspection}");
        }
    }
    terminate(&job);
    assert!(job.wait().unwrap().success());

    let json = |arguments: &[&str]| {
        let text = look(arguments);
        // Before it stands what the test harness says.
        serde_json::from_str::<serde_json::Value>(&text[text.find('{').unwrap()..]).unwrap()
    };
    let list = json(&["list", "checkpoints", "--json"]);
    assert_eq!((list["finished"].as_bool(), list["checkpoints"].as_array().unwrap().len()), (Some(false), 2));
    let latest = list["checkpoints"][0]["metadata"].as_str().unwrap().to_owned();
    let inspection = json(&["inspect", &format!("checkpoints/{latest}"), "--json"]);
    assert_eq!(inspection["checkpoint"], list["checkpoints"][0]["checkpoint"]);
    assert!(inspection["states"].as_array().unwrap().iter().any(|state| state["state"] == "window-contents"));

    // A bit flips in the latest.
    let mut bytes = fs::read(folder.join(&latest)).unwrap();
    bytes[100] ^= 1;
    fs::write(folder.join(&latest), bytes).unwrap();
    let list = look(&["list", "checkpoints"]);
    assert!(list.contains("damaged: ") && list.contains(&latest) && list.contains("whole"), "{list}");
    let cure = ["is corrupt at byte", "--restore PATH"];
    check(flights(dir.path(), &["checkpoints", "inspect", "checkpoints"]), 1, &cure);
    check(run(dir.path(), &options), 2, &cure);
}

#[derive(clap::Args)]
struct StubbornArgs {
    /// Falls so often
    #[arg(long, default_value_t = 0)]
    falls: u64,
    /// How many records there are
    #[arg(long, default_value_t = 10)]
    numbers: u64,
    /// Never ends by itself, nor when it is asked to
    #[arg(long)]
    hangs: bool,
    /// Falls once, when the file `go` is there
    #[arg(long)]
    stumbles: bool,
}

/// Not a test of its own: what those below run in another process.
#[test]
fn a_job_that_falls_or_hangs() {
    let Ok(command_line) = std::env::var("THALWEG_TEST_STUBBORN") else { return };
    let about = About { job: "stubborn", what: "Falls or hangs", examples: &[] };
    let code = cli::run_from::<StubbornArgs, _>(command_line.split(' '), about, |env, args| {
        let (left, hangs) = (Arc::new(AtomicU64::new(args.falls + u64::from(args.stumbles))), args.hangs);
        let stumbles = args.stumbles;
        env.from_collection((0..args.numbers).collect()).for_each(move |_| {
            let falls = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            if falls && stumbles {
                fs::write("stumbles", "").unwrap();
                while !Path::new("go").exists() {
                    std::thread::yield_now();
                }
            }
            assert!(!falls, "a fall");
            if hangs {
                fs::write("hangs", "").unwrap();
                loop {
                    std::thread::park();
                }
            }
        });
    });
    std::process::exit(i32::from(code));
}

fn stubborn(dir: &Path, command_line: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_job_that_falls_or_hangs", "--exact", "--nocapture"]).env("THALWEG_TEST_STUBBORN", command_line).current_dir(dir);
    command
}

#[test]
fn a_job_that_falls_is_restarted_as_often_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let restarting = "stubborn run --cores 1 --restart-strategy fixed-delay --restart-attempts 3 --restart-delay 1ms";
    let output = stubborn(dir.path(), &format!("{restarting} --falls 3")).output().unwrap();
    let summary = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
    assert!(summary.contains("  3 restarts; the numbers are those since the last restart"), "{summary}");
    check(stubborn(dir.path(), &format!("{restarting} --falls 4")), 1, &["a fall"]);
    check(stubborn(dir.path(), "stubborn run --cores 1 --falls 1"), 1, &["a fall"]);
    let output = stubborn(dir.path(), "stubborn run --cores 1 --restart-attempts 1 --falls 1").output().unwrap();
    assert_eq!(outcome(&output).0, Some(0), "the number says that restarts are wanted: {}", outcome(&output).1);
    let growing = "stubborn run --cores 1 --restart-strategy exponential-delay --restart-delay 1ms --falls 3 --checkpoint-dir checkpoints";
    let output = stubborn(dir.path(), growing).output().unwrap();
    assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
}

#[test]
fn a_second_signal_ends_at_once_a_job_that_cannot_stop() {
    for options in ["", " --checkpoint-dir checkpoints"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = stubborn(dir.path(), &format!("stubborn run --cores 1 --hangs{options}"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(&mut child, || dir.path().join("hangs").exists());
        // The kernel may merge signals that follow each other at once: they are sent until the process has ended.
        let status = loop {
            terminate(&child);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(130));
    }
}

#[test]
fn a_job_that_falls_while_it_is_being_stopped_does_not_run_on() {
    let dir = tempfile::tempdir().unwrap();
    let restarting = "--restart-strategy fixed-delay --restart-delay 1ms --checkpoint-dir checkpoints";
    // The attempt that follows would run for a week.
    let slowly = format!("stubborn run --cores 1 --stumbles --rate 1 --numbers 600000 {restarting}");
    let mut child = stubborn(dir.path(), &slowly).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || dir.path().join("stumbles").exists());
    terminate(&child);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping with a checkpoint") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the job has ended");
    }
    fs::write(dir.path().join("go"), "").unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("a fall"), "{rest}");
}

#[derive(clap::Args)]
struct TinyArgs {
    #[arg(long)]
    panic_while: String,
}

/// Not a test of its own: what [`a_panic_in_a_user_function_names_operator_record_and_place`] runs in another process, a job whose function panics.
#[test]
fn a_job_that_panics() {
    let Ok(place) = std::env::var("THALWEG_TEST_PANIC_WHILE") else { return };
    let about = About { job: "tiny", what: "Panics", examples: &[] };
    let code = cli::run_from::<TinyArgs, _>(["tiny", "run", "--cores", "1", "--panic-while", &place], about, |env, args| {
        assert!(args.panic_while != "building", "no plan");
        let fails_at = args.panic_while.clone();
        let rows = thalweg::connectors::CsvSource::with("in.csv", move |row| {
            assert!(fails_at != "reading", "cannot read this");
            row.parse::<i64>("n")
        });
        env.source(rows).map(|n| 100 / (n - 7)).name("divide").for_each(|_| {});
    });
    std::process::exit(i32::from(code));
}

#[test]
fn a_panic_in_a_user_function_names_operator_record_and_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in.csv", "n\n6\n7\n8\n");
    let job = |place: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["a_job_that_panics", "--exact", "--nocapture"]).env("THALWEG_TEST_PANIC_WHILE", place).current_dir(dir.path());
        command
    };
    check(job("mapping"), 1, &["operator divide", "attempt to divide by zero", "tests/cli.rs:", "at record: 7"]);
    check(job("reading"), 1, &["operator csv", "cannot read this", "tests/cli.rs:", "in row in.csv:2: 6"]);
    check(job("building"), 1, &["the job could not be put together: no plan", "tests/cli.rs:"]);
}
