//! A job that is interrupted or stopped while it runs, and one that finds its folder in the hands of another.

use super::*;

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
        // A result that this run has committed: before its attempt runs there is nothing to stop.
        let shown = lines(&out).len();
        wait_until(&mut child, || lines(&out).len() > shown.max(10));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let (code, log) = outcome(&output);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopping with a checkpoint"), "{log}");
        (String::from_utf8(output.stdout).unwrap(), log)
    };
    let (summary, _) = slowly("-TERM");
    assert!(summary.contains("stopped with checkpoint ") && summary.contains("run the same command again to go on"), "{summary}");
    assert!(summary.contains(" entries of state in window, ") && summary.contains(" of memory; its last checkpoint: "), "{summary}");
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
