//! Wrong use, malformed input, folders without permission or room.

use super::*;

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
