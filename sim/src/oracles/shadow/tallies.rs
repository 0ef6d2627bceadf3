//! The process function at a cut, and the windows over what its timers report.
//!
//! A record waits for the timer at the end of its span; one that comes later than that timer fires it at once. So at a cut exactly those records wait
//! whose timer is later than the watermark of their key's owner, and every other was reported.

use super::keyed::Keyed;
use super::windows::{contents, kept_are};
use super::{same, tumbling};
use crate::reference::elements::{self as interpreter, Windows};
use crate::reference::without;
use crate::run::ElementsResults;
use crate::scenario::elements::{Element, Tally, TimersInWindow};
use std::collections::{BTreeMap, BTreeSet};

/// Timers of event time, as the engine names their state.
const TIMERS: &str = "thalweg/event-time-timers";

/// What waits for one key.
#[derive(Default)]
struct Waiting {
    records: Vec<(i64, u64)>,
    sums: BTreeMap<i64, i64>,
    timers: BTreeSet<i64>,
}

/// Compares state, timers and reports of the process function.
pub(super) fn process(keyed: &Keyed<'_>, span_ms: i64, input: &[Element], tallies: &[Tally], is_never_late: bool) -> Result<(), String> {
    let (mut waiting, mut due): (BTreeMap<&str, Waiting>, Vec<Element>) = Default::default();
    for element in input {
        let timer = element.at.div_euclid(span_ms) * span_ms + span_ms - 1;
        if timer <= keyed.watermark_of(&element.key) {
            due.push(element.clone());
            continue;
        }
        let of_key = waiting.entry(&element.key).or_default();
        of_key.records.push((element.at, element.id));
        let sum = of_key.sums.entry(element.at).or_default();
        *sum = sum.wrapping_add(element.value);
        of_key.timers.insert(timer);
    }
    waiting.values_mut().for_each(|of_key| of_key.records.sort_unstable());
    let by_key = |(key, of_key): (&&str, &Waiting)| ((*key).to_owned(), of_key.records.clone());
    let records: Vec<_> = waiting.iter().map(by_key).collect();
    let counts: Vec<_> = records.iter().map(|(key, records)| (key.clone(), records.len() as u64)).collect();
    let of_sums =
        |(key, of_key): (&&str, &Waiting)| of_key.sums.iter().map(|(at, sum)| (((*key).to_owned(), *at), *sum)).collect::<Vec<_>>();
    let sums: Vec<_> = waiting.iter().flat_map(of_sums).collect();
    let timers: Vec<_> = waiting.iter().flat_map(|(key, of_key)| of_key.timers.iter().map(|timer| ((*key).to_owned(), *timer))).collect();

    let found: Vec<_> = keyed.entries::<u64>("waiting")?.into_iter().map(|entry| (entry.key, entry.value)).collect();
    same("the number of waiting records", &counts, &found)?;
    let found = keyed.lists::<(i64, u64)>("records")?.into_iter().map(|mut entry| {
        entry.value.sort_unstable();
        (entry.key, entry.value)
    });
    same("the list of waiting records", &records, &found.collect::<Vec<_>>())?;
    let found = keyed.maps::<i64, i64>("sums")?.into_iter().map(|entry| (entry.key, entry.value));
    same("the sums of waiting records", &sums, &found.collect::<Vec<_>>())?;
    let found = keyed.timers(TIMERS)?.into_iter().map(|entry| entry.key);
    same("the timers of event time", &timers, &found.collect::<Vec<_>>())?;

    let reported: Vec<Tally> = tallies.iter().filter(|tally| tally.fired_at.is_none()).cloned().collect();
    let expected: Vec<_> = interpreter::spans(span_ms, &due).into_iter().collect();
    same("the reports of timers", &expected, &interpreter::joined(&reported).into_iter().collect::<Vec<_>>())?;
    if is_never_late && reported.len() != expected.len() {
        return Err(format!("{} timers are due, and {} have reported", expected.len(), reported.len()));
    }
    Ok(())
}

/// Compares the windows over the reports, which the results show: those that are due have fired, the others are in the state.
pub(super) fn windows_behind(keyed: &Keyed<'_>, span_ms: i64, results: &ElementsResults) -> Result<(), String> {
    let on_time = without(&results.tallies, &results.late_tallies)
        .map_err(|stranger| format!("late for the window behind the timers and not emitted by one: {stranger:?}"))?;
    let as_content = |window: TimersInWindow| {
        let TimersInWindow { key, start, end, mut timers } = window;
        timers.sort_unstable();
        ((key, start, end), (0, timers.into_iter().map(i64::cast_unsigned).collect()))
    };
    let content = |timers: Vec<i64>| (0, timers.into_iter().map(i64::cast_unsigned).collect());
    let found = contents::<Vec<i64>>(keyed, content)?;
    let sorted = |((key, start, end), (sum, mut ids)): ((String, i64, i64), (i64, Vec<u64>))| {
        ids.sort_unstable();
        ((key, start, end), (sum, ids))
    };
    let all: Windows = interpreter::timers_in_windows(span_ms, &on_time).into_iter().map(as_content).map(sorted).collect();
    let is_due = |((key, _, end), _): &(&(String, i64, i64), _)| *end - 1 <= keyed.watermark_of(key);
    let due: Vec<_> = all.iter().filter(is_due).map(|(window, content)| (window.clone(), content.clone())).collect();
    let fired: Vec<_> = results.timers.iter().cloned().map(as_content).map(sorted).collect();
    same("the windows over reports of timers", &due, &fired)?;
    kept_are(&tumbling(span_ms), keyed, all, &found)
}
