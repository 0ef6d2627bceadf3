//! The main job, run as a person runs it: its answer is computed by other means, and every row of the input is accounted for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod flights_job;

use flights_job::flights;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const ROWS: u64 = 80_789;

/// Runs the job with its three outputs in `dir`.
fn run(dir: &Path, options: &[&str]) -> Output {
    let outputs = ["run", "--output", "days", "--late-output", "late", "--malformed-output", "malformed"];
    flights(dir, &[&outputs[..], options].concat()).output().unwrap()
}

#[track_caller]
fn run_well(dir: &Path, options: &[&str]) -> String {
    let output = run(dir, options);
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All lines of the files `part-*.csv` in `dir`, sorted.
fn lines(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let parts = names.inspect(|path| assert!(path.file_name().unwrap().to_str().unwrap().starts_with("part-"), "{path:?}"));
    let mut lines: Vec<String> =
        parts.flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// All rows of the sample, without the headers.
fn sample() -> Vec<String> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let files =
        ["flights-2013-01.csv", "flights-2013-02.csv", "flights-2013-03.csv"].map(|name| fs::read_to_string(data.join(name)).unwrap());
    files.iter().flat_map(|file| file.lines().skip(1)).map(str::to_owned).collect()
}

/// Flights, cancelled ones, total and longest delay by start of the window and carrier.
type Answer = BTreeMap<(String, String), (u64, u64, i64, Option<i64>)>;

/// The answer, in windows of a day or of an hour.
fn answer(rows: &[String], hourly: bool) -> Answer {
    let mut answer = Answer::new();
    for row in rows {
        let fields: Vec<&str> = row.split(',').collect();
        let number = |column: usize| fields[column].parse::<i64>().unwrap();
        let hour = if hourly { number(16) } else { 0 };
        let start = format!("{:04}-{:02}-{:02}T{hour:02}:00:00Z", number(0), number(1), number(2));
        let delay = (fields[5] != "NA").then(|| number(5));
        let (flights, cancelled, total, longest) = answer.entry((start, fields[9].to_owned())).or_default();
        *flights += 1;
        *cancelled += u64::from(fields[3] == "NA");
        *total += delay.unwrap_or(0);
        *longest = (*longest).max(delay);
    }
    answer
}

fn as_lines(answer: &Answer) -> Vec<String> {
    let line = |((start, carrier), (flights, cancelled, total, longest)): (&(String, String), &(u64, u64, i64, Option<i64>))| {
        format!("{start},{carrier},{flights},{cancelled},{total},{}", longest.map_or_else(String::new, |longest| longest.to_string()))
    };
    answer.iter().map(line).collect()
}

#[test]
fn the_answer_is_right_on_one_and_two_cores_at_any_parallelism() {
    let rows = sample();
    assert_eq!(rows.len() as u64, ROWS);
    let expected = as_lines(&answer(&rows, false));
    assert_eq!(expected.len(), 1326);
    assert!(expected.contains(&"2013-01-01T00:00:00Z,9E,28,0,494,255".to_owned()));
    assert!(expected.contains(&"2013-01-13T00:00:00Z,YV,1,1,0,".to_owned()));
    for cores in ["1", "2"] {
        for parallelism in ["1", "2", "3", "7"] {
            let dir = tempfile::tempdir().unwrap();
            let summary = run_well(dir.path(), &["--cores", cores, "--parallelism", parallelism]);
            assert!(lines(&dir.path().join("days")) == expected, "--cores {cores} --parallelism {parallelism} is wrong");
            assert!(lines(&dir.path().join("late")).is_empty() && lines(&dir.path().join("malformed")).is_empty());
            assert!(summary.contains("80,789 counted") && summary.contains("1,326 lines written by days"), "{summary}");
        }
    }
}

#[test]
fn without_chaining_the_answer_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    run_well(dir.path(), &["--cores", "2", "--disable-operator-chaining"]);
    assert!(lines(&dir.path().join("days")) == as_lines(&answer(&sample(), false)));
}

/// Which flights are late depends on interleaving; that each is either in its window or in a late file, as the line it was, does not.
#[test]
fn without_patience_thousands_are_late_and_each_row_is_counted_or_late() {
    let rows = sample();
    for (cores, parallelism) in [("1", "1"), ("2", "1"), ("2", "3")] {
        let dir = tempfile::tempdir().unwrap();
        let options = ["--window", "1h", "--out-of-orderness", "0", "--cores", cores, "--parallelism", parallelism];
        run_well(dir.path(), &options);
        let late = lines(&dir.path().join("late"));
        // A reader by itself holds nobody back; of several the slowest one does.
        let at_least = if parallelism == "1" { 20_000 } else { 1 };
        assert!(late.len() >= at_least, "{options:?}: {} late", late.len());

        // Taking the late lines out of the input, one by one, leaves what the windows have counted.
        let mut on_time = rows.clone();
        on_time.sort();
        let mut late = late.into_iter().peekable();
        on_time.retain(|row| late.next_if(|late| late == row).is_none());
        assert_eq!(late.next(), None, "a late line that is not in the input");
        assert!(lines(&dir.path().join("days")) == as_lines(&answer(&on_time, true)), "{options:?}");
    }
}

#[test]
fn a_single_file_and_a_folder_of_one_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let january = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights-2013-01.csv");
    let january_rows: Vec<String> = sample().into_iter().filter(|row| row.starts_with("2013,1,")).collect();
    let folder = dir.path().join("input");
    fs::create_dir(&folder).unwrap();
    fs::copy(&january, folder.join("flights.csv")).unwrap();
    fs::write(folder.join("README.md"), "not,a,table\n").unwrap();
    fs::write(folder.join(".hidden.csv"), "not,a,table\n").unwrap();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run_well(one.path(), &["--input", january.to_str().unwrap()]);
    run_well(other.path(), &["--input", folder.to_str().unwrap()]);
    let days = lines(&one.path().join("days"));
    assert!(days == lines(&other.path().join("days")) && days == as_lines(&answer(&january_rows, false)));
}

#[test]
fn results_are_never_written_over_unless_asked_for_and_then_only_when_the_new_ones_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let days = dir.path().join("days");
    run_well(dir.path(), &["--parallelism", "7"]);
    let before = lines(&days);

    let refused = run(dir.path(), &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already holds results"));

    // A failing job takes nothing away.
    let broken = dir.path().join("broken.csv");
    fs::write(&broken, "year,month\n2013,1\n").unwrap();
    let failed = run(dir.path(), &["--overwrite", "--strict", "--input", broken.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(lines(&days), before);

    run_well(dir.path(), &["--overwrite", "--parallelism", "2", "--window", "2d"]);
    let after = lines(&days);
    assert!(!after.is_empty() && after.len() < before.len(), "what seven subtasks wrote is gone, what two wrote is there");
    assert!(fs::read_dir(&days).unwrap().count() <= 2);
}
