//! A process function that uses every feature of process functions: value, list and map state, event-time timers that are set, set twice, deleted and set
//! in the past, and processing-time timers.
//!
//! For each key it gathers records until their span of time is over, then reports them; a processing-time timer may report itself. If records are late,
//! interleaving may decide which report contains a record; but each record is reported exactly once.

use super::elements::{Element, ElementRef, Signal, SignalRef, Tally};
use std::collections::BTreeMap;
use thalweg::{
    Context, KeyedCoProcessFunction, KeyedProcessFunction, ListState, MapState, OpenContext, Output, Timer, TimerDomain, ValueState,
};
use thalweg_world::ClockConfig;

/// An upper bound on how far the wall clocks of a simulated world are off; the machine's own clock is years away.
const MONTH_MS: u64 = 30 * 24 * 3_600_000;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct TallyFunction {
    span_ms: i64,
    /// Whether a processing-time timer reports itself.
    reports_wall_clock: bool,
    /// The number of records that wait for their timer.
    waiting: ValueState<u64>,
    /// The times and ids of these records.
    records: ListState<(i64, u64)>,
    /// The values of these records, summed by time.
    sums: MapState<i64, i64>,
}

impl TallyFunction {
    pub(crate) fn new(span_ms: i64, reports_wall_clock: bool) -> Self {
        Self { span_ms, reports_wall_clock, waiting: ValueState::default(), records: ListState::default(), sums: MapState::default() }
    }

    /// The last millisecond of the span that holds `at`.
    fn timer_of(&self, at: i64) -> i64 {
        at.div_euclid(self.span_ms) * self.span_ms + self.span_ms - 1
    }
}

/// The fields of a record, whichever stream it came from.
struct Entry<'a> {
    id: u64,
    key: &'a str,
    at: i64,
    value: i64,
}

impl TallyFunction {
    fn register(&mut self, ctx: &mut OpenContext<'_, String>) {
        assert!(ctx.subtask() < ctx.parallelism());
        self.waiting = ctx.value_state("waiting");
        self.records = ctx.list_state("records");
        self.sums = ctx.map_state("sums");
    }

    fn gather(&mut self, element: &Entry<'_>, ctx: &mut Context<'_, String>) {
        assert_eq!((ctx.key(), ctx.timestamp()), (element.key, Some(element.at)), "a call is about its record");
        if element.id.is_multiple_of(8) {
            let (function, watermark) = (self.clone(), ctx.current_watermark().0);
            let overdue = ctx.map(self.sums).iter().map(|(at, _)| function.timer_of(at)).find(|timer| *timer <= watermark);
            assert_eq!(overdue, None, "a timer has not fired that was due before this record, at the watermark {watermark}");
        }
        *ctx.value(self.waiting).get_or_insert_with(|| 0) += 1;
        ctx.list(self.records).add((element.at, element.id));
        let sum = ctx.map(self.sums).get(&element.at).copied().unwrap_or(0);
        ctx.map(self.sums).put(element.at, sum.wrapping_add(element.value));
        let timer = self.timer_of(element.at);
        ctx.register_event_time_timer(timer);
        ctx.register_event_time_timer(timer);
        // No span ends one millisecond later.
        ctx.register_event_time_timer(timer + 1);
        ctx.delete_event_time_timer(timer + 1);
        if element.id.is_multiple_of(3) {
            let now = ctx.current_processing_time();
            assert!(now.abs_diff(ClockConfig::default().base_unix_ms) < MONTH_MS, "{now} is no time of this world");
            ctx.register_processing_time_timer(now + 2);
        }
    }

    fn report(&mut self, timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<Tally>) {
        if timer.domain == TimerDomain::ProcessingTime {
            let now = ctx.current_processing_time();
            assert!(now >= timer.timestamp, "a processing-time timer fired too early");
            if self.reports_wall_clock {
                let left = ctx.value(self.waiting).get().copied().unwrap_or(0);
                out.collect(Tally { key: ctx.key().to_owned(), timer: timer.timestamp, sum: 0, ids: vec![], left, fired_at: Some(now) });
            }
            return;
        }
        assert!(ctx.current_watermark().0 >= timer.timestamp, "an event-time timer fired too early");
        assert_eq!(self.timer_of(timer.timestamp), timer.timestamp, "a timer fired that was taken back");
        let (due, later): (Vec<_>, Vec<_>) =
            ctx.list(self.records).take().into_iter().partition(|(at, _)| self.timer_of(*at) == timer.timestamp);
        let sums: BTreeMap<i64, i64> = ctx.map(self.sums).iter().collect();
        let waiting = ctx.value(self.waiting).get().copied().unwrap_or(0);
        let left = waiting - due.len() as u64;
        assert_eq!(left, later.len() as u64, "value and list state disagree");
        ctx.list(self.records).update(later);
        let mut sum = 0i64;
        for (at, of_time) in sums.into_iter().filter(|(at, _)| self.timer_of(*at) == timer.timestamp) {
            sum = sum.wrapping_add(of_time);
            // The last of a key's are removed at once.
            if left > 0 {
                ctx.map(self.sums).remove(&at);
            }
        }
        if left == 0 {
            ctx.map(self.sums).clear();
            ctx.value(self.waiting).clear();
        } else {
            ctx.value(self.waiting).set(left);
        }
        let mut ids: Vec<u64> = due.into_iter().map(|(_, id)| id).collect();
        ids.sort_unstable();
        out.collect(Tally { key: ctx.key().to_owned(), timer: timer.timestamp, sum, ids, left, fired_at: None });
    }
}

impl KeyedProcessFunction for TallyFunction {
    type Key = String;
    type In = Element;
    type Out = Tally;

    fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
        self.register(ctx);
    }

    fn process_element(&mut self, element: ElementRef<'_>, ctx: &mut Context<'_, String>, _out: &mut Output<Tally>) {
        let ElementRef { id, key, at, value, .. } = element;
        self.gather(&Entry { id, key, at, value }, ctx);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<Tally>) {
        self.report(timer, ctx, out);
    }
}

/// The same over two streams: elements in one, signals in the other.
#[derive(Clone)]
pub(crate) struct ConnectedTally(pub(crate) TallyFunction);

impl KeyedCoProcessFunction for ConnectedTally {
    type Key = String;
    type In1 = Element;
    type In2 = Signal;
    type Out = Tally;

    fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
        self.0.register(ctx);
    }

    fn process_element1(&mut self, element: ElementRef<'_>, ctx: &mut Context<'_, String>, _out: &mut Output<Tally>) {
        let ElementRef { id, key, at, value, .. } = element;
        self.0.gather(&Entry { id, key, at, value }, ctx);
    }

    fn process_element2(&mut self, signal: SignalRef<'_>, ctx: &mut Context<'_, String>, _out: &mut Output<Tally>) {
        let SignalRef { of, id, at, value, .. } = signal;
        self.0.gather(&Entry { id, key: of, at, value }, ctx);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<Tally>) {
        self.0.report(timer, ctx, out);
    }
}
