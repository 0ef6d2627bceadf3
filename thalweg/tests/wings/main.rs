//! The wings that will stand on this crate, each with a stub that does a little of what it will do: SQL, a console, Python. They use `thalweg` and nothing
//! else of ours, so what they need has to be there, and stays there.

#![allow(clippy::unwrap_used)]

mod console;
mod python;
mod sql;

use thalweg::StreamExecutionEnvironment;

#[test]
fn a_query_becomes_a_job_whose_shape_is_known_when_it_is_described() {
    let env = StreamExecutionEnvironment::new();
    let table = (0..10).map(|n| vec![n, n * n]).collect();
    let rows = sql::query(&env, table, "where 1 30 | select 1 | where 0 70").unwrap();
    let job = env.build("query").unwrap();
    assert_eq!(job.description_bytes(), b"where 1 30 | select 1 | where 0 70");
    assert!(job.plan().edges.iter().all(|edge| edge.layout.contains("row{")), "{:?}", job.plan().edges);
    job.start(&thalweg::io::uring::UringCores::new(), 1).unwrap().wait().unwrap();
    assert_eq!(rows.take(), [[81]]);
    assert!(sql::query(&StreamExecutionEnvironment::new(), vec![], "drop table").is_err());
}

#[test]
fn a_console_shows_a_job_from_within_and_from_without() {
    let env = StreamExecutionEnvironment::new();
    let console = console::Console::default();
    env.add_observer(console.clone());
    env.from_collection((0..100u64).collect()).map(|n| n + 1).collect();
    let job = env.build("watched").unwrap();
    let plan = job.plan();
    let handle = job.start(&thalweg::io::uring::UringCores::new(), 1).unwrap();
    let control = handle.control();
    handle.wait().unwrap();
    let page = console::page(&plan, &control);
    assert!(["watched", "attempt 1", "collection", "100"].iter().all(|part| page.contains(part)), "{page}");
    assert_eq!(console.watched(), ["watched"]);
}

#[test]
fn functions_of_another_language_read_map_and_write_objects() {
    let env = StreamExecutionEnvironment::new();
    let written = python::run(&env, 5, |object| object.repeat(2), |object| object.len() > 3);
    env.execute("objects", 1).unwrap().wait().unwrap();
    assert_eq!(written.take(), [b"oooo".to_vec(), b"oooooo".to_vec(), b"oooooooo".to_vec()]);
}
