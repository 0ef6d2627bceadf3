//! Judges the files that the flights job writes.
//!
//! Every row of the input is counted, late or malformed, exactly once: the malformed rows are known, the late rows are in the late output, and the windows
//! must equal the reference's for the rest.

use super::Evidence;
use crate::finding::Finding;
use crate::marks::{Marks, sometimes};
use crate::part_name::PartName;
use crate::reference::flights::{self as interpreter, Flight};
use crate::reference::{csv, difference, multiset};
use crate::scenario::Scenario;
use crate::scenario::flights_plan::{Before, FlightsPlan, OUTPUTS};
use crate::scenario::interference::Interference;
use std::collections::BTreeMap;
use thalweg::JobReport;

fn reject(reason: impl Into<String>) -> Finding {
    Finding::wrong("reference", reason)
}

/// The name of the file at `path`, if it lies in the folder `folder`.
fn name_in<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// A job that failed leaves the previous files, and no others.
pub(super) fn nothing_is_left(plan: &FlightsPlan, scenario: &Scenario, evidence: &Evidence<'_>) -> Result<(), Finding> {
    if evidence.has_committed {
        // Results shown before the failure stay (docs/src/semantics.md#o-2).
        return Ok(());
    }
    let before = plan.before_files();
    // The operation that a fault hits may be the removal of a hidden file.
    let may_leave_hidden = matches!(scenario.interference, Interference::DiskFault(_));
    let stranger = evidence.files.iter().find(|(path, content)| {
        let known = before.iter().any(|(name, old)| name_in(OUTPUTS[0], path) == Some(name) && old == content);
        let hidden = path.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
        !(known || hidden && may_leave_hidden)
    });
    stranger.map_or(Ok(()), |(path, _)| Err(Finding::wrong("visibility", format!("the job failed and left {path}"))))
}

/// The prefix of the files that name the owner of a folder of results.
const OWNER_FILES: &str = ".thalweg-owner-";

/// The contents of the files that the job has shown in one folder.
fn shown<'a>(folder: &str, scenario: &Scenario, files: &'a [(String, Vec<u8>)]) -> Result<Vec<&'a [u8]>, Finding> {
    // The operation that a fault hits may be one that releases the folder. Then the owner's file stays, naming a process that has ended
    // (docs/src/semantics.md#o-6).
    let may_stay_owned = matches!(scenario.interference, Interference::DiskFault(_));
    let mut contents = vec![];
    for (path, content) in files {
        let Some(name) = name_in(folder, path) else { continue };
        if name == "notes.txt" || may_stay_owned && name.starts_with(OWNER_FILES) {
            continue;
        }
        let part = PartName::parse(name).filter(|part| {
            let is_of_one_epoch = part.subtask < scenario.engine.parallelism as u64 && part.epoch == 1;
            part.roll == 0 && (scenario.lives.is_some() || is_of_one_epoch)
        });
        if part.is_none() || content.is_empty() {
            return Err(Finding::wrong("visibility", format!("{path}, of {} bytes, is no file of a subtask that writes", content.len())));
        }
        contents.push(content.as_slice());
    }
    Ok(contents)
}

/// Judges the results of a job that finished.
pub(super) fn results(
    plan: &FlightsPlan,
    scenario: &Scenario,
    files: &[(String, Vec<u8>)],
    report: &JobReport,
    stopped: bool,
    marks: &mut Marks,
) -> Result<(), Finding> {
    let input = interpreter::read(&plan.files);
    let [days, late, malformed] = OUTPUTS.map(|folder| shown(folder, scenario, files));
    let (days, late, malformed) = (days?, late?, malformed?);
    sometimes!(marks, days.len() == 1, "a file of one part");
    sometimes!(marks, plan.before == Before::ResultsToReplace && !days.is_empty(), "results replaced");
    if plan.before == Before::DeadAttempt && !files.iter().any(|(path, _)| path.ends_with("/notes.txt")) {
        return Err(Finding::wrong("visibility", "a file that is no result has been removed"));
    }
    let rows = |contents: &[&[u8]]| contents.iter().flat_map(|content| csv::rows(content)).collect::<Vec<_>>();

    let malformed: Vec<Vec<Vec<u8>>> = rows(&malformed).into_iter().map(|row| row.fields).collect();
    sometimes!(marks, !malformed.is_empty(), "a malformed row");
    let mut found = vec![];
    for fields in &malformed {
        let [file, line, _column, _reason, text] = fields.as_slice() else {
            return Err(reject(format!("a malformed row is reported with {} fields", fields.len())));
        };
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.push((text_of(file), text_of(line), text_of(text)));
    }
    let expected: Vec<_> = input
        .malformed
        .iter()
        .map(|(file, line, text)| (file.clone(), line.to_string(), String::from_utf8_lossy(text).into_owned()))
        .collect();
    let (found_counts, expected_counts) = (multiset(found.iter().cloned()), multiset(expected.iter().cloned()));
    if stopped {
        if let Some((row, _)) = found_counts.iter().find(|(row, count)| expected_counts.get(row).is_none_or(|expected| expected < *count)) {
            return Err(reject(format!("reported as malformed: {row:?}")));
        }
    } else if let Some(difference) = difference(&expected, &found) {
        return Err(reject(format!("malformed rows: {difference}")));
    }

    let late: Vec<Vec<u8>> = rows(&late).into_iter().map(|row| row.text).collect();
    let metric = |name: &str| report.metrics.total(name);
    let counted = (metric("numRecordsInErrors"), metric("numLateRecords"), metric("numLateRecordsDropped"));
    // The metrics of a report cover only one attempt.
    if scenario.lives.is_none() && counted != (malformed.len() as i64, late.len() as i64, 0) {
        return Err(reject(format!("{} malformed and {} late rows were written, counted were {counted:?}", malformed.len(), late.len())));
    }
    if let Some(text) = late.first().filter(|_| interpreter::never_late(&input.flights, plan.out_of_orderness_ms)) {
        return Err(reject(format!("no schedule makes a flight of this input late, but this one was: {}", String::from_utf8_lossy(text))));
    }
    let on_time = take_late(input.flights, &late)?;
    let expected = interpreter::results(&on_time, plan.window_ms);
    let found: Vec<Vec<Vec<u8>>> = rows(&days).into_iter().map(|row| row.fields).collect();
    if stopped { at_most(&expected, &found) } else { equal(&expected, &found) }
}

/// The flights without those whose lines are late; each late line removes one flight.
fn take_late(flights: Vec<Flight>, late: &[Vec<u8>]) -> Result<Vec<Flight>, Finding> {
    let mut to_take = multiset(late.iter().map(Vec::as_slice));
    let mut on_time = vec![];
    for flight in flights {
        match to_take.get_mut(flight.text.as_slice()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => on_time.push(flight),
        }
    }
    match to_take.into_iter().find(|(_, count)| *count > 0) {
        Some((text, _)) => Err(reject(format!("late, but not in the input, or more often: {}", String::from_utf8_lossy(text)))),
        None => Ok(on_time),
    }
}

fn readable(rows: &[Vec<Vec<u8>>]) -> Vec<String> {
    rows.iter().map(|row| row.iter().map(|field| String::from_utf8_lossy(field)).collect::<Vec<_>>().join("|")).collect()
}

fn equal(expected: &[Vec<Vec<u8>>], found: &[Vec<Vec<u8>>]) -> Result<(), Finding> {
    difference(&readable(expected), &readable(found)).map_or(Ok(()), |difference| Err(reject(difference)))
}

/// After a stop the windows hold a part of the input: each window once, none with more than the reference's.
fn at_most(expected: &[Vec<Vec<u8>>], found: &[Vec<Vec<u8>>]) -> Result<(), Finding> {
    let count = |row: &[Vec<u8>]| row.get(2).and_then(|field| std::str::from_utf8(field).ok()?.parse::<u64>().ok());
    let known: BTreeMap<&[Vec<u8>], Option<u64>> = expected.iter().filter_map(|row| Some((row.get(..2)?, count(row)))).collect();
    let mut seen = std::collections::BTreeSet::new();
    for row in found {
        let window = row.get(..2).unwrap_or_default();
        let fits = known.get(window).is_some_and(|most| count(row) <= *most && count(row) > Some(0));
        if !fits || !seen.insert(window) {
            return Err(reject(format!("after a stop: {:?}", readable(std::slice::from_ref(row)))));
        }
    }
    Ok(())
}
