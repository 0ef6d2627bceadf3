//! Judges the results of a job of generated elements.
//!
//! If no record can be late the results must equal the reference. Otherwise the set of late records depends on the schedule: then each record must be in
//! the results or in the late output, never both and never neither, and the results must be those of the records that were not late. After a stop the same
//! holds for the records that were read, which must be a prefix of each split.

use crate::finding::Finding;
use crate::marks::{Marks, sometimes};
use crate::reference::{self, difference, elements as interpreter, lateness};
use crate::run::{ElementsResults, Observed};
use crate::scenario::elements::{Element, Running, Tally, TimersInWindow, WindowResult, is_signal};
use crate::scenario::elements_plan::{ElementsPlan, Terminal, WindowPlan};
use std::collections::BTreeMap;
use thalweg::JobReport;

fn reject(reason: impl Into<String>) -> Finding {
    Finding::wrong("reference", reason)
}

/// A failed job must show nothing.
pub(super) fn nothing_is_left(observed: &Observed) -> Result<(), Finding> {
    match observed {
        Observed::Elements(results) if !results.is_empty() => {
            Err(Finding::wrong("visibility", format!("the job failed and still shows results: {results:?}")))
        }
        _ => Ok(()),
    }
}

/// Judges the results of a job that finished.
pub(super) fn results(
    plan: &ElementsPlan,
    results: &ElementsResults,
    report: &JobReport,
    stopped: bool,
    has_lives: bool,
    marks: &mut Marks,
) -> Result<(), Finding> {
    let whole = interpreter::whole(plan);
    let has_ids = !matches!(plan.terminal, Terminal::Cascade { .. } | Terminal::Running);
    if stopped && !has_ids {
        // The results do not tell which records were read.
        return Ok(());
    }
    let prefixes = if stopped { interpreter::prefixes_of(results.ids()) } else { whole.clone() };
    sometimes!(marks, stopped && prefixes.values().sum::<usize>() < whole.values().sum(), "a stop that cut the input short");
    let input = interpreter::records(plan, &prefixes);
    for (found, expected) in results.shared.iter().zip(interpreter::shared(plan, &prefixes)) {
        // Records removed later by a filter or an empty flat map are absent from the final results, but were seen here.
        if !stopped && let Some(difference) = difference(&expected, found) {
            return Err(reject(format!("the second consumer of a shared stream: {difference}")));
        }
    }
    let never_late = lateness::is_impossible(plan);
    if never_late && !results.late.is_empty() {
        return Err(reject(format!("no schedule makes a record of this job late, but this one was: {:?}", results.late[0])));
    }
    sometimes!(marks, never_late && !results.windows.is_empty(), "late records impossible, and none");
    let counted = report.metrics.total("numLateRecords") as usize;
    // The metrics of a report cover only one attempt.
    if !has_lives
        && (counted != results.late.len() + results.second_late.len() + results.late_tallies.len()
            || report.metrics.total("numLateRecordsDropped") != 0)
    {
        return Err(reject(format!("{counted} records are counted as late, and {} are in the late output", results.late.len())));
    }
    let on_time = reference::without(&input, &results.late)
        .map_err(|stranger| reject(format!("in the late output and not in the input, or more often: {stranger:?}")))?;
    match plan.terminal {
        Terminal::Collect => compare(&input, &results.elements),
        Terminal::Running => running(&input, &results.running),
        Terminal::Process { span_ms, is_connected } => {
            let by_wall_clock = |tally: &&Tally| tally.fired_at.is_some();
            let on_the_dot = results.tallies.iter().filter(by_wall_clock).any(|tally| tally.fired_at == Some(tally.timer));
            sometimes!(marks, on_the_dot, "a processing-time timer on the dot");
            let of_both =
                |tally: &Tally| is_connected && tally.ids.iter().any(|id| is_signal(*id)) && !tally.ids.iter().all(|id| is_signal(*id));
            sometimes!(marks, results.tallies.iter().any(of_both), "a timer with records of two inputs");
            let by_event_time: Vec<Tally> = results.tallies.iter().filter(|tally| !by_wall_clock(tally)).cloned().collect();
            process(span_ms, &input, &by_event_time, never_late)?;
            if let Some(late) = results.late_tallies.iter().find(|tally| never_late && !by_wall_clock(tally)) {
                return Err(reject(format!("what a timer emitted is late for the window behind it: {late:?}")));
            }
            let on_time = reference::without(&results.tallies, &results.late_tallies)
                .map_err(|stranger| reject(format!("late for the window behind the timers and not emitted by one: {stranger:?}")))?;
            compare(&interpreter::timers_in_windows(span_ms, &on_time), &with_sorted_timers(&results.timers))
        }
        Terminal::Cascade { first_ms, second_ms } => {
            // A result precedes the watermark that triggered it (docs/src/semantics.md#w-6). But an idle subtask is not waited for.
            if let Some(late) = results.second_late.first().filter(|_| !plan.has_idleness()) {
                return Err(reject(format!("the result of a window is late for the next window: {late:?}")));
            }
            let firsts = reference::without(&interpreter::first_results(first_ms, &on_time), &results.second_late)
                .map_err(|stranger| reject(format!("late for the second window and no result of the first: {stranger:?}")))?;
            compare(&interpreter::second_results(first_ms, second_ms, &firsts), &results.windows)
        }
        Terminal::Window(window) if never_late || window.slide_ms.is_none() && window.lateness_ms == 0 => {
            compare(&interpreter::as_results(&interpreter::windows(&window, &on_time)), &results.windows)
        }
        Terminal::Window(window) => windows_with_late_records(&window, &on_time, &results.windows, marks),
    }
}

fn compare<T: Ord + Clone + std::fmt::Debug>(expected: &[T], found: &[T]) -> Result<(), Finding> {
    difference(expected, found).map_or(Ok(()), |difference| Err(reject(difference)))
}

/// For each key every count occurs once, and the last has the sum of all values.
fn running(input: &[Element], found: &[Running]) -> Result<(), Finding> {
    let mut expected: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
    for element in input {
        let (count, sum) = expected.entry(&element.key).or_default();
        *count += 1;
        *sum = sum.wrapping_add(element.value);
    }
    let counts: Vec<(&str, u64)> = expected.iter().flat_map(|(key, (count, _))| (1..=*count).map(move |n| (*key, n))).collect();
    let found_counts: Vec<(&str, u64)> = found.iter().map(|running| (running.key.as_str(), running.count)).collect();
    compare(&counts, &found_counts)?;
    let wrong = found.iter().find(|running| expected.get(running.key.as_str()).is_some_and(|e| e.0 == running.count && e.1 != running.sum));
    wrong.map_or(Ok(()), |running| Err(reject(format!("the last aggregate of its key has another sum: {running:?}"))))
}

/// The windows with their timers sorted: the order in which reports reach a window is not promised.
fn with_sorted_timers(windows: &[TimersInWindow]) -> Vec<TimersInWindow> {
    let mut windows = windows.to_vec();
    windows.iter_mut().for_each(|window| window.timers.sort_unstable());
    windows
}

/// Every record is reported once, in its span; in a single report if no record can be late.
fn process(span_ms: i64, input: &[Element], found: &[Tally], never_late: bool) -> Result<(), Finding> {
    let expected: Vec<_> = interpreter::spans(span_ms, input).into_iter().collect();
    compare(&expected, &interpreter::joined(found).into_iter().collect::<Vec<_>>())?;
    if never_late && found.len() != expected.len() {
        return Err(reject(format!("{} spans are over, but {} timers reported", expected.len(), found.len())));
    }
    Ok(())
}

/// Whether the sorted `all` contains each element of the sorted `part`, as often.
fn holds(all: &[u64], part: &[u64]) -> bool {
    let mut rest = all.iter();
    part.iter().all(|id| rest.any(|other| other == id))
}

/// Windows that fire again, or that a record may have missed while it reached others.
fn windows_with_late_records(plan: &WindowPlan, on_time: &[Element], found: &[WindowResult], marks: &mut Marks) -> Result<(), Finding> {
    let expected = interpreter::windows(plan, on_time);
    let values: BTreeMap<u64, i64> = on_time.iter().map(|element| (element.id, element.value)).collect();
    let mut firings: BTreeMap<(String, i64, i64), Vec<&WindowResult>> = BTreeMap::new();
    for result in found {
        firings.entry((result.key.clone(), result.start, result.end)).or_default().push(result);
    }
    for (window, results) in &mut firings {
        let Some((_, all)) = expected.get(window) else { return Err(reject(format!("a window that has no records: {window:?}"))) };
        results.sort_by_key(|result| result.ids.len());
        if plan.lateness_ms == 0 && results.len() > 1 {
            return Err(reject(format!("a window without allowed lateness fired twice: {results:?}")));
        }
        sometimes!(marks, results.len() > 1, "a window that fired again");
        sometimes!(marks, results.len() > 1, "a record within the allowed lateness");
        let mut before: &[u64] = &[];
        for result in results.iter() {
            let grows = result.ids.len() > before.len() && holds(&result.ids, before);
            if !grows || !holds(all, &result.ids) {
                return Err(reject(format!("a window fired with records that are not its own, or again without a new one: {result:?}")));
            }
            let sum = result.ids.iter().fold(0i64, |sum, id| sum.wrapping_add(values.get(id).copied().unwrap_or(0)));
            if sum != result.sum {
                return Err(reject(format!("the values of a window amount to {sum}: {result:?}")));
            }
            before = &result.ids;
        }
        if plan.slide_ms.is_none() && before != all {
            return Err(reject(format!("a window's last result lacks records: {before:?} of {all:?} in {window:?}")));
        }
    }
    // A record that is not late is in one of its windows, if it has any.
    let counted: Vec<(&str, u64)> = {
        let ids = firings.iter().flat_map(|((key, ..), results)| {
            results.last().into_iter().flat_map(move |result| result.ids.iter().map(move |id| (key.as_str(), *id)))
        });
        ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    };
    for element in on_time.iter().filter(|element| !interpreter::window_starts(plan, element.at).is_empty()) {
        if counted.binary_search(&(element.key.as_str(), element.id)).is_err() {
            return Err(reject(format!("neither in a window nor late: {element:?}")));
        }
    }
    Ok(())
}
