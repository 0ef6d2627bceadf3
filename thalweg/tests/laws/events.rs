//! The names of events, by which the engine tells and the simulator's oracles listen: spelt alike on both sides.

use crate::{files, read};
use std::collections::BTreeSet;

/// Crates of the engine that tell.
const TELLING: &[&str] = &["cluster/src", "kernel/src", "connectors/src", "storage/src"];

/// Events that are for those who read a trace, and for nobody else.
const FOR_PEOPLE: &[&str] = &["door.refuse", "split.end", "split.start", "worker.refuse"];

/// The string literals of `source` that are names of events: words of lower-case letters with points between them. What the simulated world notes by itself
/// is left out, and so are test modules, which come last in a file.
fn names(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = code.lines().map(|line| line.split("//").next().unwrap_or_default()).filter(|line| !line.contains(".note"));
    let is_name = |text: &str| {
        let is_file = text.ends_with(".csv") || text.ends_with(".txt");
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        !is_file && text.contains('.') && text.split('.').all(is_word)
    };
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|text| is_name(text)).map(str::to_owned).collect()
}

/// The names in the sources below `folders`.
fn names_below(folders: &[&str]) -> BTreeSet<String> {
    let sources = folders.iter().flat_map(|folder| files(folder, "rs")).filter(|path| !path.ends_with("tests.rs"));
    sources.flat_map(|path| names(&read(&path))).collect()
}

#[test]
fn every_event_that_an_oracle_listens_for_is_told_and_every_one_told_is_listened_for_or_listed() {
    let (told, heard) = (names_below(TELLING), names_below(&["sim/src"]));
    let heads: BTreeSet<&str> = told.iter().filter_map(|name| name.split('.').next()).collect();
    let silent: Vec<_> = heard.difference(&told).filter(|name| name.split('.').next().is_some_and(|head| heads.contains(head))).collect();
    assert!(silent.is_empty(), "the simulator listens for events that nobody tells: {silent:?}");
    let is_for_people = |name: &str| FOR_PEOPLE.contains(&name);
    let unheard: Vec<_> = told.difference(&heard).filter(|name| !is_for_people(name)).collect();
    assert!(unheard.is_empty(), "nobody listens for {unheard:?}: read them in an oracle, or list them");
    let listed: Vec<_> = FOR_PEOPLE.iter().filter(|name| !told.contains(**name) || heard.contains(**name)).collect();
    assert!(listed.is_empty(), "these are listed, and are not told or are listened for: {listed:?}");
}
