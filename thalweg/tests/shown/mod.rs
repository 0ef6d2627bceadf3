//! What the flights job shows, and must go on showing: its input with late and malformed rows, the results of a run without mishaps, the files that are
//! visible, and what may be left when it has ended.

#![allow(dead_code, reason = "each test that kills takes what it needs")]

use crate::flights_job::flights;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Rows of the sample, about.
pub const ROWS: usize = 81_000;
/// No more readers than files.
pub const FILES: usize = 3;
const LATE: usize = 40;
const MALFORMED: usize = 25;

/// The sample, with rows among February's that cannot be understood, and rows of January's first day at the end of March: however the readers interleave,
/// those are late.
fn make_input(dir: &Path) {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let read = |name: &str| fs::read_to_string(data.join(name)).unwrap();
    let [january, february, march] = ["flights-2013-01.csv", "flights-2013-02.csv", "flights-2013-03.csv"].map(read);
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("1.csv"), &january).unwrap();
    let broken = |(number, line): (usize, &str)| {
        let is_marked = number % 900 == 899 && number / 900 < MALFORMED;
        if is_marked { format!("{line}\nbroken,{number}\n") } else { format!("{line}\n") }
    };
    fs::write(dir.join("2.csv"), february.lines().enumerate().map(broken).collect::<String>()).unwrap();
    let late = january.lines().skip(1).take(LATE).map(|line| format!("{line}\n"));
    fs::write(dir.join("3.csv"), march + &late.collect::<String>()).unwrap();
}

/// The outputs, relative to the working directory.
const OUTPUTS: [&str; 3] = ["out", "out/late", "out/malformed"];
pub const CHECKPOINTS: &str = "checkpoints";

/// The names of the files in `dir`.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// By its path, which file (by its inode) and what is in it.
pub type Visible = BTreeMap<String, (u64, Vec<u8>)>;

pub fn visible(dir: &Path) -> Visible {
    let shown = |output: &&str| -> Vec<String> {
        let part = |name: &String| name.starts_with("part-");
        names(&dir.join(output)).into_iter().filter(part).map(|name| format!("{output}/{name}")).collect()
    };
    let paths = OUTPUTS.iter().flat_map(shown);
    paths.map(|path| (path.clone(), (fs::metadata(dir.join(&path)).unwrap().ino(), fs::read(dir.join(&path)).unwrap()))).collect()
}

/// The lines of each output, sorted.
pub fn lines(visible: &Visible) -> [Vec<String>; 3] {
    OUTPUTS.map(|output| {
        let files = visible.iter().filter(|(path, _)| path.rsplit_once('/').unwrap().0 == output);
        let text = files.map(|(_, (_, content))| String::from_utf8(content.clone()).unwrap()).collect::<String>();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    })
}

/// What was shown stays as it was: the same files with the same content.
#[track_caller]
pub fn assert_kept(before: &Visible, after: &Visible) {
    for (path, file) in before {
        let now = after.get(path).unwrap_or_else(|| panic!("{path} was shown and is gone"));
        assert_eq!(file.0, now.0, "{path} was committed twice");
        assert!(file.1 == now.1, "{path} has changed");
    }
}

/// What `flights checkpoints <arguments> --json` says; nothing if there is nothing yet.
pub fn checkpoints(dir: &Path, arguments: &[&str]) -> Option<serde_json::Value> {
    let output = flights(dir, &[&["checkpoints"], arguments, &["--json"]].concat()).output().unwrap();
    // Before the JSON stands what the test harness says.
    let text = String::from_utf8(output.stdout).unwrap();
    let start = text.find('{')?;
    Some(serde_json::from_str(&text[start..]).unwrap())
}

/// How many log entries are kept.
const LOG_ENTRIES: usize = 16;

/// After its end a job leaves in the checkpoint folder what its newest log entry names, and the last log entries.
pub fn assert_nothing_is_left_behind(dir: &Path) {
    for output in OUTPUTS {
        let others: Vec<_> = names(&dir.join(output)).into_iter().filter(|name| !name.starts_with("part-")).collect();
        assert_eq!(others, Vec::<String>::new(), "left behind in {output}");
    }
    let list = checkpoints(dir, &["list", CHECKPOINTS]).unwrap();
    assert_eq!(list["finished"], true);
    let mut named = BTreeSet::new();
    for checkpoint in list["checkpoints"].as_array().unwrap() {
        let metadata = checkpoint["metadata"].as_str().unwrap();
        named.insert(metadata.to_owned());
        let path = format!("{CHECKPOINTS}/{metadata}");
        let whole = checkpoints(dir, &["inspect", &path]).unwrap_or_else(|| panic!("{path} cannot be read"));
        let files = whole["snapshots"].as_array().unwrap().iter().flat_map(|snapshot| snapshot["files"].as_array().unwrap());
        named.extend(files.map(|file| file.as_str().unwrap().to_owned()));
    }
    let (log, rest): (Vec<_>, Vec<_>) = names(&dir.join(CHECKPOINTS)).into_iter().partition(|name| name.ends_with(".entry"));
    assert!(log.len() <= LOG_ENTRIES, "{log:?}");
    let head = log.iter().max().unwrap().replace(".entry", ".head");
    let rest = rest.into_iter().filter(|name| *name != head);
    assert_eq!(rest.collect::<BTreeSet<_>>(), named, "the checkpoint folder");
}

/// Lays the input in `dir` and runs the job once without mishaps: where the input is, and the lines that are to be shown.
pub fn undisturbed(dir: &Path) -> (String, [Vec<String>; 3]) {
    let input = dir.join("input");
    make_input(&input);
    let input = input.to_str().unwrap().to_owned();
    let undisturbed = dir.join("undisturbed");
    fs::create_dir(&undisturbed).unwrap();
    let output = flights(&undisturbed, &["run", "--input", &input, "--output", "out"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = lines(&visible(&undisturbed));
    assert_eq!([expected[0].len(), expected[1].len(), expected[2].len()], [1326, LATE, MALFORMED]);
    (input, expected)
}

/// All that is to be shown is, each line once.
#[track_caller]
pub fn assert_shown(visible: &Visible, expected: &[Vec<String>; 3]) {
    for (number, (lines, expected)) in lines(visible).iter().zip(expected).enumerate() {
        assert!(lines == expected, "{}: {} lines, {} are expected", OUTPUTS[number], lines.len(), expected.len());
    }
}
