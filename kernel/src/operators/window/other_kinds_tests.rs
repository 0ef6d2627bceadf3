//! Other kinds of windows than the engine has fit in: a store of windows that merge, and a trigger that counts, run in the unchanged operator. Lateness,
//! firing and restoring know nothing of them.

use super::store::{Place, RestoredAs, WindowStore};
use super::trigger::{EventTimeTrigger, Trigger, TriggerResult};
use super::{AggregateFunction, Panes, ReduceWindow, TumblingEventTimeWindows, WindowAssigner};
use crate::record::{Key, Record};
use crate::time::{TimeWindow, Watermark};
use crate::{DataStream, JobHandle, OutputTag, StreamExecutionEnvironment, WatermarkGenerator, WatermarkOutput, WatermarkStrategy};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_storage::{Encode, HotTable, SaveError, SavedEntries, Saving, Sealable};

/// Key, time, and the watermark behind it.
type Visit = (String, i64, Option<i64>);

const LATE: OutputTag<Visit> = OutputTag::new("late");

#[derive(Clone)]
struct FromVisits;

impl WatermarkGenerator<Visit> for FromVisits {
    fn on_event(&mut self, (_, _, watermark): (&str, i64, Option<i64>), _timestamp: i64, output: &mut WatermarkOutput) {
        watermark.into_iter().for_each(|watermark| output.emit(Watermark(watermark)));
    }

    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}
}

/// The times of visits, in the order in which they were added.
#[derive(Clone)]
struct Times;

impl AggregateFunction<Visit> for Times {
    type Accumulator = Vec<i64>;
    type Output = Vec<i64>;

    fn create_accumulator(&self) -> Vec<i64> {
        vec![]
    }

    fn add(&self, (_, at, _): (&str, i64, Option<i64>), times: &mut Vec<i64>) {
        times.push(at);
    }

    fn merge(&self, other: Vec<i64>, times: &mut Vec<i64>) {
        times.extend(other);
    }

    fn get_result(&self, times: &Vec<i64>) -> Vec<i64> {
        times.clone()
    }
}

/// The results for `visits` in windows with 5 ms of allowed lateness, as `key[start,end)=times`, and the late visits.
fn windowed<W, T, S>(visits: &[(&str, i64, Option<i64>)], assigner: W, trigger: T) -> (Vec<String>, Vec<String>)
where
    W: WindowAssigner<Visit>,
    T: Trigger,
    S: WindowStore<String, T::Kept<Vec<i64>>>,
{
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1);
    let strategy = WatermarkStrategy::for_generator(FromVisits).with_timestamp_assigner(|(_, at, _): (&str, i64, Option<i64>)| at);
    let visits = visits.iter().map(|(key, at, watermark)| ((*key).to_owned(), *at, *watermark)).collect();
    let results = env
        .from_collection::<Visit>(visits)
        .assign_timestamps_and_watermarks(strategy)
        .key_by::<String>(|(key, _, _)| key)
        .window(assigner)
        .allowed_lateness(Duration::from_millis(5))
        .side_output_late_data(&LATE)
        .aggregate_in::<T, _, S, _, _>(trigger, Times, |key, window, times| {
            format!("{key}[{},{})={}", window.start, window.end, times.iter().map(i64::to_string).collect::<Vec<_>>().join("+"))
        });
    let late = results.side_output(&LATE).map(|(key, at, _)| format!("{key}@{at}")).collect();
    let results = results.collect();
    env.execute("kinds", 1).and_then(JobHandle::wait).unwrap();
    (results.take(), late.take())
}

/// The span from each record to `gap` milliseconds behind it.
#[derive(Clone)]
struct Gap(i64);

impl<In: Record> WindowAssigner<In> for Gap {
    type Windows = Option<TimeWindow>;

    fn assign_windows(&self, _record: In::Ref<'_>, timestamp: i64) -> Option<TimeWindow> {
        Some(TimeWindow { start: timestamp, end: timestamp + self.0 })
    }
}

/// Overlapping windows of a key become one. A list, searched from end to end: what matters here is that it fits.
struct Sessions<K, V> {
    entries: Vec<Option<Session<K, V>>>,
}

struct Session<K, V> {
    window: TimeWindow,
    key: K,
    value: V,
    has_fired: bool,
}

impl<K: Key, V> Sessions<K, V> {
    fn overlapping(&self, window: TimeWindow, key: K::Ref<'_>) -> Vec<usize> {
        let overlaps =
            |session: &Session<K, V>| session.key.matches(key) && session.window.start <= window.end && window.start <= session.window.end;
        (0..self.entries.len()).filter(|position| self.entries[*position].as_ref().is_some_and(overlaps)).collect()
    }
}

impl<K: Key, V: 'static> WindowStore<K, V> for Sessions<K, V> {
    fn new(_table: HotTable<K, V>) -> Self {
        Self { entries: Vec::new() }
    }

    fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64> + Clone) -> usize {
        hashes.len()
    }

    fn due_at_hand(&mut self, _window: TimeWindow) -> usize {
        1
    }

    fn poll_at_hand(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn prefetch(&mut self, _hashes: &[u64]) {}

    fn window_for(&self, window: TimeWindow, _hash: u64, key: K::Ref<'_>) -> TimeWindow {
        let sessions = self.overlapping(window, key).into_iter().filter_map(|position| self.entries[position].as_ref());
        sessions
            .fold(window, |all, session| TimeWindow { start: all.start.min(session.window.start), end: all.end.max(session.window.end) })
    }

    fn find_or_insert(
        &mut self,
        window: TimeWindow,
        _hash: u64,
        key: K::Ref<'_>,
        make: impl FnOnce() -> V,
        mut merge: impl FnMut(V, &mut V),
    ) -> (u64, &mut V) {
        let mut sessions: Vec<_> = self.overlapping(window, key).into_iter().filter_map(|position| self.entries[position].take()).collect();
        sessions.sort_by_key(|session| session.window);
        let joined = sessions.into_iter().reduce(|mut earlier, later| {
            merge(later.value, &mut earlier.value);
            earlier
        });
        let value = joined.map_or_else(make, |session| session.value);
        self.entries.push(Some(Session { window, key: K::from_view(key), value, has_fired: false }));
        let position = self.entries.len() - 1;
        (position as u64, &mut self.entries[position].as_mut().unwrap().value)
    }

    fn entries(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    fn entry(&self, place: Place) -> Option<(&K, &V)> {
        self.entries[place.position as usize].as_ref().map(|session| (&session.key, &session.value))
    }

    fn set_passed(&mut self, place: Place) {
        self.entries[place.position as usize].as_mut().unwrap().has_fired = true;
    }

    fn first_due(&mut self, watermark: Watermark) -> Option<TimeWindow> {
        let due = self.entries.iter().flatten().filter(|session| !session.has_fired && session.window.max_timestamp() <= watermark.0);
        due.map(|session| session.window).min_by_key(|window| (window.end, window.start))
    }

    fn fire_due(&mut self, window: TimeWindow, mut fire: impl FnMut(&K, &V) -> bool) -> bool {
        for session in self.entries.iter_mut().flatten().filter(|session| !session.has_fired && session.window == window) {
            if !fire(&session.key, &session.value) {
                return false;
            }
            session.has_fired = true;
        }
        true
    }

    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool) {
        for entry in &mut self.entries {
            drop(entry.take_if(|session| is_over(session.window)));
        }
    }

    fn free(&mut self, _entries: usize) {}

    fn restore(&mut self, window: TimeWindow, _hash: u64, key: K, value: V, restored: RestoredAs) {
        self.entries.push(Some(Session { window, key, value, has_fired: restored == RestoredAs::Fired }));
    }
}

/// No job of these tests takes checkpoints.
impl<K, V> Sealable<K, V> for Sessions<K, V> {
    fn seal(&mut self, _encode: Encode<K, V>, _saving: &Saving) {}

    fn save(&mut self, _budget: &mut usize, _take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError> {
        Ok(true)
    }

    fn unseal(&mut self) {}

    fn table_bytes(&self) -> usize {
        0
    }
}

/// Fires for every so many records per key and window.
#[derive(Clone)]
struct CountTrigger(u64);

impl Trigger for CountTrigger {
    type Kept<Acc: Record> = (Acc, u64);

    fn keep<Acc: Record>(&self, accumulator: Acc) -> (Acc, u64) {
        (accumulator, 0)
    }

    fn accumulator<Acc: Record>(kept: &(Acc, u64)) -> &Acc {
        &kept.0
    }

    fn accumulator_mut<Acc: Record>(kept: &mut (Acc, u64)) -> &mut Acc {
        &mut kept.0
    }

    fn merge<Acc: Record>(&self, other: (Acc, u64), kept: &mut (Acc, u64), merge: impl FnOnce(Acc, &mut Acc)) {
        merge(other.0, &mut kept.0);
        kept.1 += other.1;
    }

    fn on_element<Acc: Record>(&self, _window: TimeWindow, _watermark: Watermark, kept: &mut (Acc, u64)) -> TriggerResult {
        kept.1 += 1;
        if kept.1 < self.0 {
            return TriggerResult::Continue;
        }
        kept.1 = 0;
        TriggerResult::Fire
    }

    fn on_event_time<Acc: Record>(&self, _window: TimeWindow, _kept: &(Acc, u64)) -> TriggerResult {
        TriggerResult::Continue
    }
}

#[test]
fn windows_that_merge_are_one_session_for_lateness_firing_and_result() {
    let visits = [
        ("a", 0, None),
        ("a", 15, None),
        ("b", 3, None),
        // Joins the two sessions of `a` before and after it.
        ("a", 8, Some(12)),
        // Session [3,13) of `b` has fired at 12 and is not over: it fires again, longer, when its new end comes.
        ("b", 9, Some(18)),
        // The session of `b` is over at 23.
        ("a", 30, Some(24)),
        ("b", 5, None),
        ("a", 22, None),
        // Its own window is over, but it is not late: it is part of the session of `a`, which is open.
        ("a", 10, None),
    ];
    let (results, late) = windowed::<_, _, Sessions<_, _>>(&visits, Gap(10), EventTimeTrigger);
    assert_eq!(results, ["b[3,13)=3", "b[3,19)=3+9", "a[0,25)=0+15+8", "a[0,40)=0+15+8+30+22+10"]);
    assert_eq!(late, ["b@5"]);
}

#[test]
fn a_trigger_that_counts_fires_single_keys_and_what_is_late_stays_so() {
    let visits = [("a", 1, None), ("b", 2, None), ("a", 3, None), ("a", 4, Some(9)), ("b", 5, Some(14)), ("b", 6, None), ("b", 11, None)];
    let tumbling = TumblingEventTimeWindows::of(Duration::from_millis(10));
    let (results, late) = windowed::<_, _, Panes<_, _>>(&visits, tumbling, CountTrigger(2));
    assert_eq!(results, ["a[0,10)=1+3", "b[0,10)=2+5"]);
    assert_eq!(late, ["b@6"]);
}

#[test]
fn a_trigger_that_counts_counts_sessions_that_merge_together() {
    let visits = [("a", 0, None), ("a", 15, None), ("a", 8, None)];
    let (results, late) = windowed::<_, _, Sessions<_, _>>(&visits, Gap(10), CountTrigger(3));
    assert_eq!((results, late), (vec!["a[0,25)=0+15+8".to_owned()], vec![]));
}

#[test]
fn reduced_records_of_sessions_that_merge_are_reduced_together() {
    let env = StreamExecutionEnvironment::new();
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|(_, at): (u32, i64)| at);
    let longest = ReduceWindow { function: |a: (u32, i64), b: (u32, i64)| (a.0, a.1.max(b.1)) };
    let stream: DataStream<_> = env
        .from_collection(vec![(1u32, 0i64), (1, 15), (1, 8)])
        .assign_timestamps_and_watermarks(strategy)
        .key_by::<u32>(|(key, _)| *key)
        .window(Gap(10))
        .aggregate_in::<_, _, Sessions<_, _>, _, _>(EventTimeTrigger, longest, |_, window, reduced: (u32, i64)| (window.end, reduced.1));
    let results = stream.collect();
    env.execute("kinds", 1).and_then(JobHandle::wait).unwrap();
    assert_eq!(results.take(), [(25, 15)]);
}
