//! A head whose state has to be fetched before its records can be taken, and before a watermark can go down.

use super::super::arrival::Arrival;
use super::super::frame::Ahead;
use super::*;
use crate::api::{DataStream, StreamExecutionEnvironment};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::graph::ChainMeta;
use crate::operators::{Keyed, KeyedOperator};
use crate::watermark::WatermarkStrategy;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thalweg_io::{Io, LocalBoxFuture};

/// Records whose state arrives together.
const GROUP: usize = 7;

/// How often the heads were asked, and how often they had to wait.
#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    waited: AtomicUsize,
}

#[derive(Clone)]
struct Fetching {
    counts: Arc<Counts>,
}

struct RunningFetching<D> {
    counts: Arc<Counts>,
    io: Io,
    /// Records whose state is at hand.
    at_hand: usize,
    fetch: Option<LocalBoxFuture<()>>,
    /// Goes down the chain when its state has come.
    watermark: Option<Control>,
    down: D,
}

impl KeyedOperator<u64> for Fetching {
    type Out = u64;
    type Running<D: Collector<u64>> = RunningFetching<D>;

    fn start<D: Collector<u64>>(self, cx: &mut SubtaskContext, down: D) -> RunningFetching<D> {
        RunningFetching { counts: self.counts, io: cx.io.clone(), at_hand: 0, fetch: None, watermark: None, down }
    }
}

impl<D> RunningFetching<D> {
    fn fetch(&mut self) {
        self.counts.waited.fetch_add(1, Ordering::Relaxed);
        let clock = self.io.clock();
        self.fetch = Some(clock.sleep_until(clock.now().after(Duration::from_millis(1))));
    }
}

impl<D: Collector<u64>> Head<u64> for RunningFetching<D> {
    fn prepare(&mut self, ahead: Ahead<'_, u64>) -> usize {
        assert!(self.ready() && !ahead.is_empty());
        assert!(ahead.hashes().len() == ahead.len(), "each has a key");
        self.counts.asked.fetch_add(1, Ordering::Relaxed);
        if self.at_hand == 0 && self.fetch.is_none() {
            self.fetch();
        }
        self.at_hand.min(ahead.len())
    }

    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<u64>) {
        self.at_hand = self.at_hand.checked_sub(1).expect("a record is taken when its state is at hand");
        self.down.push(timestamp, record.view());
    }
}

impl<D: Collector<u64>> Stage for RunningFetching<D> {
    fn control(&mut self, control: Control) {
        assert!(self.watermark.is_none(), "a suspended stage takes nothing");
        if matches!(control, Control::Watermark(_)) {
            self.watermark = Some(control);
        } else {
            self.down.control(control);
        }
    }

    fn ready(&self) -> bool {
        self.watermark.is_none() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done if self.watermark.is_some() && self.at_hand == 0 => {
                if self.fetch.is_none() {
                    self.fetch();
                }
                Resumed::AwaitsState
            }
            Resumed::Done => {
                if let Some(watermark) = self.watermark.take() {
                    self.down.control(watermark);
                }
                Resumed::Done
            }
            other => other,
        }
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.fetch.as_mut().is_some_and(|fetch| fetch.as_mut().poll(cx).is_ready()) {
            self.fetch = None;
            self.at_hand = GROUP;
            return Poll::Ready(());
        }
        self.down.poll_progress(cx)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.down.drive(cx);
    }

    pass_on!(batch_end flush processing_time save finish);
}

#[test]
fn records_are_taken_when_their_state_has_come_and_a_task_that_waits_for_it_does_not_spin() {
    const RECORDS: usize = 500;
    let counts = Arc::new(Counts::default());
    let env = StreamExecutionEnvironment::new();
    let keyed = env
        .from_collection((0..RECORDS as u64).collect())
        .assign_timestamps_and_watermarks(WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|n: u64| n as i64))
        .rebalance()
        .key_by::<u64>(|n| n % 3);
    let (graph, _, edge) = keyed.into_parts();
    let id = graph.borrow_mut().operator("fetching");
    let meta = ChainMeta { operators: vec![id], ..ChainMeta::fed_by(edge) };
    let fetched = DataStream::new(graph, Keyed::<u64, _>::new(Fetching { counts: Arc::clone(&counts) }), meta);
    let collected = fetched.collect();
    env.execute("fetching", 1).unwrap().wait().unwrap();
    assert_eq!(collected.take(), (0..RECORDS as u64).collect::<Vec<_>>());
    let (asked, waited) = (counts.asked.load(Ordering::Relaxed), counts.waited.load(Ordering::Relaxed));
    assert!(waited >= RECORDS / GROUP, "it waited {waited} times");
    // The heads are asked each time while the task spins a little before it parks, and when it continues. A spinning task would ask thousands of times in a
    // millisecond.
    assert!(asked <= 100 * waited, "it was asked {asked} times and waited {waited} times");
}
