//! Folders that serve two purposes, lack something, or are looked into.

use super::*;

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
