//! CSV files in, files out, through the library: what is read and written does not depend on the size of blocks, and nothing half done is seen.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use serde::Deserialize;
use std::fs;
use std::path::Path;
use thalweg::connectors::{CsvSource, FileSink, MALFORMED};
use thalweg::{Cure, EngineSettings, JobError, JobReport, Record, StreamExecutionEnvironment};

#[derive(Clone, Debug, Deserialize, PartialEq, Record)]
struct Town {
    name: String,
    people: Option<u32>,
}

fn town(name: &str, people: Option<u32>) -> Town {
    Town { name: name.to_owned(), people }
}

/// An environment whose blocks have so many bytes.
fn with_blocks(bytes: usize) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(EngineSettings::default().read_block_bytes(bytes).write_block_bytes(bytes));
    env
}

fn run(env: StreamExecutionEnvironment) -> Result<JobReport, JobError> {
    env.execute("test", 1)?.wait()
}

/// The name of a result without what differs from run to run: `part-<subtask>-<roll>.csv` for `part-<job>-<subtask>-<epoch>-<roll>.csv`.
fn without_run(name: String) -> String {
    let part = name.strip_prefix("part-").and_then(|rest| {
        let [job, subtask, _epoch, roll] = rest.splitn(4, '-').collect::<Vec<_>>()[..] else { return None };
        (job.len() == 16).then(|| format!("part-{subtask}-{roll}"))
    });
    part.unwrap_or(name)
}

/// Name and content of each file in `dir`, hidden ones too.
fn contents(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut contents: Vec<_> =
        entries.map(|entry| (without_run(entry.file_name().into_string().unwrap()), fs::read_to_string(entry.path()).unwrap())).collect();
    contents.sort();
    contents
}

#[test]
fn rows_become_records_by_the_names_of_their_fields_in_blocks_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("b.csv"), "\u{feff}people,name\r\n7,\"O, \"\"K\"\"\"\r\n\r\nmany,X\r\n,Y").unwrap();
    fs::write(dir.path().join("a.CSV"), "name,rain,people\nZ,1.5,3\n\nlong name that is long,1,4\n").unwrap();
    for block in [1, 2, 5, 4096] {
        let env = with_blocks(block);
        let rows = env.source(CsvSource::<Town>::deserialize(dir.path()).max_record_bytes(20));
        let malformed = rows.side_output(&MALFORMED).collect();
        let towns = rows.collect();
        run(env).unwrap();
        assert_eq!(towns.take(), [town("Z", Some(3)), town("O, \"K\"", Some(7)), town("Y", None)], "blocks of {block}");
        let malformed = malformed.take();
        let places: Vec<_> = malformed.iter().map(|row| (row.line, row.column, row.text.as_str())).collect();
        assert_eq!(places, [(4, 1, "long name that is lo"), (4, 1, "many,X")], "blocks of {block}");
        assert!(malformed[0].reason.contains("too long") && malformed[1].reason.starts_with("column people: \"many\""), "{malformed:?}");
    }
}

#[test]
fn a_file_without_any_row_is_fine_and_one_whose_header_is_not_text_is_not() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["", "\n\n", "name,people", "name,people\r\n"] {
        fs::write(dir.path().join("in.csv"), content).unwrap();
        let env = with_blocks(1);
        let towns = env.source(CsvSource::<Town>::deserialize(dir.path())).collect();
        run(env).unwrap();
        assert!(towns.take().is_empty());
    }
    fs::write(dir.path().join("in.csv"), b"na\xff,people\n1,2\n").unwrap();
    let env = with_blocks(64);
    env.source(CsvSource::<Town>::deserialize(dir.path())).for_each(|_| {});
    let error = run(env).unwrap_err().to_string();
    assert!(error.contains("in.csv:1:1: column 1 is not valid UTF-8"), "{error}");
}

#[test]
fn what_is_written_does_not_depend_on_blocks_and_a_subtask_without_records_has_no_file() {
    for block in [1, 3, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/and/deep");
        let env = with_blocks(block);
        env.set_parallelism(3);
        let towns = env.from_collection(vec![town("a\nb", None), town("c,d", Some(1)), town("", Some(2))]);
        towns.sink(FileSink::<Town>::csv(&out, |town, row| {
            row.field(town.name).optional(town.people);
        }));
        run(env).unwrap();
        assert_eq!(contents(&out), [("part-0-0.csv".to_owned(), "\"a\nb\",\n\"c,d\",1\n,2\n".to_owned())]);
    }
}

#[test]
fn leftovers_of_dead_attempts_go_and_what_belongs_to_others_stays() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".part-0-0.txt.0123456789abcdef.inprogress"), "half").unwrap();
    fs::write(dir.path().join("notes"), "mine").unwrap();
    let env = with_blocks(4096);
    env.from_collection(vec![1u32, 2]).sink(FileSink::<u32>::lines(dir.path(), |n, line| line.push_str(&n.to_string())));
    run(env).unwrap();
    let expected = [("notes", "mine"), ("part-0-0.txt", "1\n2\n")];
    assert_eq!(contents(dir.path()), expected.map(|(name, content)| (name.to_owned(), content.to_owned())));
}

#[test]
fn a_failed_job_leaves_no_file_and_keeps_the_old_results() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("part-5-0.txt"), "old").unwrap();
    let job = |fails: bool| {
        let env = with_blocks(1);
        let sink = FileSink::<u32>::lines(dir.path(), |n, line| line.push_str(&n.to_string())).overwrite(true);
        env.from_collection((0..1000).collect::<Vec<u32>>()).map(move |n| if fails && n == 900 { panic!("enough") } else { n }).sink(sink);
        run(env)
    };
    assert!(matches!(job(true), Err(JobError::UserPanic { .. })));
    assert_eq!(contents(dir.path()), [("part-5-0.txt".to_owned(), "old".to_owned())]);
    job(false).unwrap();
    let names: Vec<_> = contents(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["part-0-0.txt"]);
}

#[test]
fn results_that_are_there_are_not_mixed_with_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("part-0-0.csv"), "old").unwrap();
    let env = with_blocks(4096);
    env.from_collection(vec![1u32]).sink(FileSink::<u32>::lines(dir.path(), |n, line| line.push_str(&n.to_string())));
    assert!(matches!(run(env), Err(JobError::Invalid(refusal)) if refusal.cures() == [Cure::ReplaceOutput]));
    assert_eq!(contents(dir.path()).len(), 1);
}
