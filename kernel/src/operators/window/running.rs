//! The running windowed operator: takes records, and divides the work on them among the parts of this folder.

use super::aggregate::AggregateFunction;
use super::assigner::WindowAssigner;
use super::firing::Firing;
use super::lateness::{Admission, AllowedLateness, LateRecords};
use super::store::{Place, WindowStore};
use super::trigger::{Trigger, TriggerResult};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::checkpoint::{OperatorState, SealedState};
use crate::exchange::{Ahead, Arrival, Head};
use crate::metrics::Samples;
use crate::operators::side_output::WithSides;
use crate::record::{Key, Record};
use crate::subtask::operator_info::OperatorInfo;
use crate::time::{Control, NO_TIMESTAMP, TimeWindow, Watermark};
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::Io;
use thalweg_storage::StateSize;
use thalweg_storage::checkpoint::append_entry;

/// What is left of windows that are over is freed behind each batch, so many slices of it at once.
const FREED_SLICES: usize = 4;

/// A running windowed aggregate.
pub struct RunningWindow<In: Record, K, KF, W, T, A, S, RF, Out, D> {
    pub(super) key: KF,
    pub(super) assigner: W,
    pub(super) trigger: T,
    pub(super) aggregate: A,
    pub(super) result: RF,
    pub(super) store: S,
    pub(super) watermark: Watermark,
    pub(super) allowed_lateness: AllowedLateness,
    pub(super) late: LateRecords<In>,
    pub(super) firing: Firing,
    pub(super) state: OperatorState,
    /// How far the saving of the store has come, and how many entries are saved in one go.
    pub(super) sealed: SealedState,
    pub(super) slice: usize,
    pub(super) io: Io,
    pub(super) place: String,
    pub(super) info: Rc<OperatorInfo>,
    pub(super) types: PhantomData<fn() -> (K, Out)>,
    pub(super) down: WithSides<D>,
}

impl<In, K, KF, W, T, A, S, RF, Out, D> RunningWindow<In, K, KF, W, T, A, S, RF, Out, D>
where
    In: Record,
    K: Key,
    T: Trigger,
    A: AggregateFunction<In>,
    S: WindowStore<K, T::Kept<A::Accumulator>>,
    D: Stage,
{
    #[cold]
    fn take_late(&mut self, timestamp: i64, record: impl Arrival<In>) {
        self.io.observe("window.late", &self.place, [timestamp, self.watermark.0, self.allowed_lateness.ms]);
        self.late.take(&mut self.down.sides, timestamp, || record.into_owned());
    }
}

impl<In, K, KF, W, T, A, S, RF, Out, D> Head<In> for RunningWindow<In, K, KF, W, T, A, S, RF, Out, D>
where
    In: Record,
    K: Key,
    Out: Record,
    W: WindowAssigner<In>,
    T: Trigger,
    A: AggregateFunction<In>,
    S: WindowStore<K, T::Kept<A::Accumulator>>,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + 'static,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + 'static,
    D: Collector<Out>,
{
    fn prepare(&mut self, ahead: Ahead<'_, In>) -> usize {
        self.store.at_hand(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        self.store.prefetch(hashes);
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<In>) {
        let view = record.view();
        if timestamp == NO_TIMESTAMP {
            self.info.fail("a record has no timestamp: call assign_timestamps_and_watermarks before window, and in an operator of your own emit by collect_with_timestamp");
            return;
        }
        let Self { key, assigner, trigger, aggregate, store, watermark, allowed_lateness, firing, info, .. } = self;
        let mut admission = Admission::new(*allowed_lateness, *watermark);
        info.call(view, || {
            let key = key(&view);
            for assigned in assigner.assign_windows(view, timestamp) {
                let window = store.window_for(assigned, hash, key);
                if !admission.admit(window) {
                    continue;
                }
                let make = || trigger.keep(aggregate.create_accumulator());
                let merge =
                    |later, earlier: &mut _| trigger.merge(later, earlier, |other, accumulator| aggregate.merge(other, accumulator));
                let (position, kept) = store.find_or_insert(window, hash, key, make, merge);
                aggregate.add(view, T::accumulator_mut(kept));
                let fires = trigger.on_element::<A::Accumulator>(window, *watermark, kept) == TriggerResult::Fire;
                let place = Place { window, position };
                if window.max_timestamp() <= watermark.0 {
                    store.set_passed(place);
                }
                if fires {
                    firing.fire_again(place);
                }
            }
        });
        if admission.is_late() {
            self.take_late(timestamp, record);
        } else if self.firing.has_again() {
            self.fire();
        }
    }
}

impl<In, K, KF, W, T, A, S, RF, Out, D> Stage for RunningWindow<In, K, KF, W, T, A, S, RF, Out, D>
where
    In: Record,
    K: Key,
    Out: Record,
    W: 'static,
    T: Trigger,
    A: AggregateFunction<In>,
    S: WindowStore<K, T::Kept<A::Accumulator>>,
    KF: 'static,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + 'static,
    D: Collector<Out>,
{
    fn control(&mut self, control: Control) {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = watermark;
                self.firing.advance(watermark);
                self.fire();
            }
            Control::Barrier(_) => {
                self.sealed.seal(&self.state, &mut self.store, append_entry);
                self.down.control(control);
            }
            control => self.down.control(control),
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        self.firing.is_done() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done => self.fire(),
            other => other,
        }
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Both are polled, so that each can wake the task.
        let (below, state) = (self.down.poll_progress(cx), self.store.poll_at_hand(cx));
        if below.is_ready() { below } else { state }
    }

    fn batch_end(&mut self) {
        self.store.free(FREED_SLICES * self.slice);
        self.down.batch_end();
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.down.drive(cx);
    }

    fn save(&mut self) {
        if !self.sealed.save(&self.state, &mut self.store, self.slice) {
            self.down.save();
        }
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        self.state.sample(StateSize { entries: self.store.entries(), table_bytes: self.store.table_bytes() }, samples);
        self.down.sample(samples);
    }

    pass_on!(flush processing_time finish);
}
