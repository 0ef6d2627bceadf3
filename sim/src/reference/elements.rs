//! The reference for jobs of generated elements.
//!
//! [`records`] follows the records through a plan up to the last operator; the other functions compute that operator's results for a given set of records.
//! Time appears only as windows, which are found by trying every possible start.

use crate::scenario::elements::{Element, Tally, TimersInWindow, WindowResult, copies, group_of, kept, mapped, origin_of};
use crate::scenario::elements_plan::{ElementsPlan, Exit, Segment, WindowPlan, Work};
use std::collections::BTreeMap;

/// How many records of each split of each source were read.
pub type Prefixes = BTreeMap<(usize, usize), usize>;

/// The prefixes for an input that was read to its end.
#[must_use]
pub fn whole(plan: &ElementsPlan) -> Prefixes {
    let splits = plan
        .sources
        .iter()
        .enumerate()
        .flat_map(|(number, source)| source.splits.iter().enumerate().map(move |(split, records)| ((number, split), records.len())));
    splits.collect()
}

/// The shortest prefixes that hold the records with `ids`.
#[must_use]
pub fn prefixes_of(ids: impl IntoIterator<Item = u64>) -> Prefixes {
    let mut prefixes = Prefixes::new();
    for id in ids {
        let (source, split, index) = origin_of(id);
        let length = prefixes.entry((source, split)).or_default();
        *length = (*length).max(index + 1);
    }
    prefixes
}

/// The records that reach the last operator if the sources have read `prefixes`.
#[must_use]
pub fn records(plan: &ElementsPlan, prefixes: &Prefixes) -> Vec<Element> {
    follow(plan, prefixes).0
}

/// The ids that the second consumers of shared streams see, stream by stream: those at the sources first.
#[must_use]
pub fn shared(plan: &ElementsPlan, prefixes: &Prefixes) -> Vec<Vec<u64>> {
    follow(plan, prefixes).1
}

fn follow(plan: &ElementsPlan, prefixes: &Prefixes) -> (Vec<Element>, Vec<Vec<u64>>) {
    let (mut all, mut shared) = (vec![], vec![]);
    let mut pass = |records: Vec<Element>, segment: &Segment| {
        let records = through(records, segment);
        if segment.exit == Exit::Shared {
            shared.push(records.iter().map(|element| element.id).collect());
        }
        records
    };
    for (number, source) in plan.sources.iter().enumerate() {
        let mut read = vec![];
        for (split, records) in source.splits.iter().enumerate() {
            let length = prefixes.get(&(number, split)).copied().unwrap_or(0);
            read.extend(records.iter().take(length).cloned());
        }
        all.extend(pass(read, &source.segment));
    }
    for segment in &plan.segments {
        all = pass(all, segment);
    }
    (all, shared)
}

fn through(records: Vec<Element>, segment: &Segment) -> Vec<Element> {
    let keep = |element: &Element| kept(element.id, element.value);
    let worked: Vec<Element> = match segment.work {
        Work::Nothing => records,
        Work::Map => records.into_iter().map(mapped).collect(),
        Work::Filter => records.into_iter().filter(keep).collect(),
        Work::FlatMap => records.into_iter().flat_map(copies).collect(),
        Work::MapFlatMapFilter => records.into_iter().map(mapped).flat_map(copies).filter(keep).collect(),
    };
    let times = match segment.exit {
        Exit::Forward | Exit::Rebalance | Exit::Shared => 1,
        Exit::Broadcast(copies) => copies,
        Exit::Diamond | Exit::Connected => 2,
    };
    (0..times).flat_map(|_| worked.iter().cloned()).collect()
}

/// The starts of the windows that contain `at`: of all starts within a window's length before it, those that lie on the grid.
#[must_use]
pub fn window_starts(plan: &WindowPlan, at: i64) -> Vec<i64> {
    let slide_ms = plan.slide_ms.unwrap_or(plan.size_ms);
    let mut start = (at - plan.offset_ms) / slide_ms * slide_ms + plan.offset_ms;
    while start <= at {
        start += slide_ms;
    }
    let mut starts = vec![];
    loop {
        start -= slide_ms;
        if start + plan.size_ms <= at {
            starts.reverse();
            return starts;
        }
        if start <= at {
            starts.push(start);
        }
    }
}

/// The content of every window: the sum of the values, and the ids in order.
pub type Windows = BTreeMap<(String, i64, i64), (i64, Vec<u64>)>;

/// The content of the windows if all of `records` are counted.
#[must_use]
pub fn windows(plan: &WindowPlan, records: &[Element]) -> Windows {
    let mut windows = Windows::new();
    for record in records {
        for start in window_starts(plan, record.at) {
            let (sum, ids) = windows.entry((record.key.clone(), start, start + plan.size_ms)).or_default();
            *sum = sum.wrapping_add(record.value);
            ids.push(record.id);
        }
    }
    windows.values_mut().for_each(|(_, ids)| ids.sort_unstable());
    windows
}

/// Converts windows to results, one per window.
#[must_use]
pub fn as_results(windows: &Windows) -> Vec<WindowResult> {
    let result = |((key, start, end), (sum, ids)): (&(String, i64, i64), &(i64, Vec<u64>))| WindowResult {
        key: key.clone(),
        start: *start,
        end: *end,
        sum: *sum,
        ids: ids.clone(),
    };
    windows.iter().map(result).collect()
}

/// The results of the first window operator, as the records that the second receives. Their `at` is the start of their window; their event time is the last
/// millisecond of the window.
#[must_use]
pub fn first_results(first_ms: i64, records: &[Element]) -> Vec<Element> {
    let result = |((key, start, _), (sum, ids)): ((String, i64, i64), (i64, Vec<u64>))| Element {
        id: ids.len() as u64,
        key: group_of(&key),
        at: start,
        value: sum,
        watermark: None,
        pause_ms: 0,
    };
    windows(&tumbling(first_ms), records).into_iter().map(result).collect()
}

/// The windows, of length `second_ms`, over these results.
#[must_use]
pub fn second_results(first_ms: i64, second_ms: i64, firsts: &[Element]) -> Vec<WindowResult> {
    let timed: Vec<_> = firsts.iter().map(|element| Element { at: element.at + first_ms - 1, ..element.clone() }).collect();
    as_results(&windows(&tumbling(second_ms), &timed))
}

fn tumbling(size_ms: i64) -> WindowPlan {
    WindowPlan { size_ms, slide_ms: None, offset_ms: 0, lateness_ms: 0 }
}

/// The process function's report for each key and span: the sum of the values, and the ids in order.
#[must_use]
pub fn spans(span_ms: i64, records: &[Element]) -> BTreeMap<(String, i64), (i64, Vec<u64>)> {
    windows(&tumbling(span_ms), records).into_iter().map(|((key, _, end), content)| ((key, end - 1), content)).collect()
}

/// The windows, as long as a span, over the reports of timers: each in the window of its own time.
#[must_use]
pub fn timers_in_windows(span_ms: i64, tallies: &[Tally]) -> Vec<TimersInWindow> {
    let mut windows: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    for tally in tallies {
        for start in window_starts(&tumbling(span_ms), tally.timer) {
            windows.entry((tally.key.clone(), start)).or_default().push(tally.timer);
        }
    }
    windows.values_mut().for_each(|timers| timers.sort_unstable());
    let result = |((key, start), timers)| TimersInWindow { key, start, end: start + span_ms, timers };
    windows.into_iter().map(result).collect()
}

/// Reports, summed by key and span.
#[must_use]
pub fn joined(tallies: &[Tally]) -> BTreeMap<(String, i64), (i64, Vec<u64>)> {
    let mut joined: BTreeMap<(String, i64), (i64, Vec<u64>)> = BTreeMap::new();
    for tally in tallies {
        let (sum, ids) = joined.entry((tally.key.clone(), tally.timer)).or_default();
        *sum = sum.wrapping_add(tally.sum);
        ids.extend(&tally.ids);
        ids.sort_unstable();
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(size_ms: i64, slide_ms: Option<i64>, offset_ms: i64, at: i64) -> Vec<i64> {
        window_starts(&WindowPlan { size_ms, slide_ms, offset_ms, lateness_ms: 0 }, at)
    }

    #[test]
    fn windows_hold_their_start_and_not_their_end() {
        assert_eq!(starts(10, None, 0, 0), [0]);
        assert_eq!(starts(10, None, 0, 9), [0]);
        assert_eq!(starts(10, None, 0, 10), [10]);
        assert_eq!(starts(10, None, 3, 2), [-7]);
        assert_eq!(starts(10, None, 0, -1), [-10]);
        assert_eq!(starts(10, Some(4), 0, 9), [0, 4, 8]);
        assert_eq!(starts(10, Some(4), 0, -9), [-16, -12]);
        assert_eq!(starts(2, Some(5), 0, 3), [0; 0]);
    }
}
