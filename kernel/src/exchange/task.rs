//! A subtask that is fed by an exchange: it takes frames from its gate, asks whether the state of their records is at hand, hands them to the head of their
//! input, and forwards the in-band elements between them.
//!
//! Longer than most files: the same fields say where the loop may stop, where it resumes, and what it reports of itself.

use super::alignment_time::AlignmentTime;
use super::arrival::{InPlace, Owned};
use super::debloating::Debloater;
use super::frame::{Batch, Frame, Spare, Taking};
use super::gate::{InputGate, Progress, Work};
use super::head::Head;
use super::inputs::{Inputs, OfTwo, OneInput, TwoInputs};
use super::remote::ArchivedFrame;
use super::watch::ChannelWatch;
use crate::chain::Stage;
use crate::checkpoint::CheckpointId;
use crate::metrics::{Counter, Gauge, Samples};
use crate::record::Record;
use crate::subtask::chain_loop::ChainLoop;
use crate::subtask::clock::{Now, TaskClock};
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::{Step, Subtask};
use crate::subtask::slice::SliceBudget;
use crate::time::Control;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

/// Records whose state is prefetched together. The cache misses of this many lookups overlap; their lines fit the first-level cache.
const PREFETCH_RECORDS: usize = 32;

/// A task with more channels than this shows the length of all its queues as one: the number of channels grows with the square of the parallelism, and
/// nobody looks at thousands.
const SAMPLED_CHANNELS_MAX: usize = 64;

/// How far a frame was worked off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worked {
    /// To its end.
    All,
    /// The rest is behind a barrier that other channels have yet to deliver.
    UpToBarrier,
    /// The chain takes no more for now.
    Interrupted,
    /// Nobody has asked yet whether the state of the next record is at hand.
    Unprepared,
    /// The state of the next record is being fetched.
    AwaitsState,
}

/// The heads of the inputs `I`, in one stage: says which of them takes the records of which input.
pub(crate) trait Heads<I: Inputs>: Stage + Sized {
    /// Hands the records of a batch, from `at` on, to the head of their input.
    fn work_off(task: &mut ChannelTask<I, Self>, batch: &mut I::Batch, at: &mut Progress) -> Worked;
}

impl<T: Record, H: Head<T>> Heads<OneInput<T>> for H {
    fn work_off(task: &mut ChannelTask<OneInput<T>, H>, batch: &mut Batch<T>, at: &mut Progress) -> Worked {
        task.run::<T, 0>(batch, at, |spare| spare)
    }
}

impl<A: Record, B: Record, H: Head<A, 0> + Head<B, 1>> Heads<TwoInputs<A, B>> for H {
    fn work_off(task: &mut ChannelTask<TwoInputs<A, B>, H>, batch: &mut OfTwo<A, B>, at: &mut Progress) -> Worked {
        match batch {
            OfTwo::First(batch) => task.run::<A, 0>(batch, at, |(first, _)| first),
            OfTwo::Second(batch) => task.run::<B, 1>(batch, at, |(_, second)| second),
        }
    }
}

/// Pulls frames through a fused chain.
pub(crate) struct ChannelTask<I: Inputs, H> {
    gate: InputGate<I>,
    chain: ChainLoop<H>,
    work: Option<Work<I::Batch>>,
    /// Swapped with the entries of a frame that is interrupted, so that neither allocates.
    spare: I::Spare,
    slice: Rc<SliceBudget>,
    /// Records left in the slice's budget.
    left: usize,
    end_forwarded: bool,
    /// The frame in work cannot continue before state has come.
    awaits_state: bool,
    records_in: Counter,
    watermark_in: Gauge,
    alignment: AlignmentTime,
    debloater: Debloater,
    /// When the previous slice began, how many records it took, and whether it found nothing to do.
    measured_from: MonotonicNs,
    taken: u64,
    was_dry: bool,
    /// The records that each sender may have under way.
    window: Gauge,
    clock: TaskClock,
    watch: ChannelWatch,
}

impl<I: Inputs, H: Heads<I>> ChannelTask<I, H> {
    pub(crate) fn new(cx: &mut SubtaskContext, head: H) -> Self {
        let restored = cx.restored_watermark();
        let gate = InputGate::new(I::take(cx), restored);
        let chain = ChainLoop::new(cx, head);
        let settings = cx.settings();
        // Channels, the frames each of them holds at most, and the restored watermark.
        chain.observe("task.start", [gate.channels() as i64, settings.ring_frames() as i64, restored.0]);
        Self {
            gate,
            chain,
            work: None,
            spare: I::Spare::default(),
            slice: Rc::clone(&cx.slice),
            left: 0,
            end_forwarded: false,
            awaits_state: false,
            records_in: cx.task_counter("numRecordsIn"),
            watermark_in: cx.task_gauge("currentInputWatermark"),
            alignment: AlignmentTime::new(cx.task_gauge("checkpointAlignmentTime")),
            debloater: settings.debloater(),
            measured_from: cx.clock.now().monotonic,
            taken: 0,
            was_dry: true,
            window: cx.task_gauge("inputWindowRecords"),
            clock: cx.clock.clone(),
            watch: cx.watch(),
        }
    }

    /// Hands the merged in-band elements to the chain as long as it takes them. `false` if some are left. `in_work` is the channel whose frame is worked on,
    /// and how many of its records have been taken.
    fn forward_merged(&mut self, in_work: Option<(usize, usize)>) -> bool {
        while self.chain.head.ready() {
            self.chain.end_snapshot();
            let Some(control) = self.gate.merged.pop_front() else { return true };
            if let Control::Barrier(checkpoint) = control {
                self.tell_cut(checkpoint, in_work);
                self.chain.begin_snapshot(checkpoint);
                self.chain.snapshots.aligned(self.alignment.latest());
                self.chain.snapshots.watermark(self.gate.watermark());
            }
            if let Control::Watermark(watermark) = control {
                self.watermark_in.set(watermark.0);
            }
            // The result of merging the channels: kind and watermark, as below.
            let [kind, watermark] = control.as_numbers();
            self.chain.observe("task.control", [kind, watermark, 0]);
            self.chain.head.control(control);
        }
        self.gate.merged.is_empty()
    }

    /// Reports which records of each channel the snapshot covers: the checkpoint, and how many records were taken before it.
    fn tell_cut(&self, checkpoint: CheckpointId, in_work: Option<(usize, usize)>) {
        if self.watch.is_on() {
            for (channel, received) in self.gate.received(in_work) {
                self.watch.tell("channel.barrier.in", channel, [checkpoint.0 as i64, received as i64, 0]);
            }
        }
    }

    /// Works on the current frame until it is done or its channel blocked (`true`), or the chain is not ready or state has to come first (`false`).
    fn work_off(&mut self) -> bool {
        let Some(mut work) = self.work.take() else { return true };
        let before = work.at.done;
        let worked = H::work_off(self, &mut work.batch, &mut work.at);
        let taken = (work.at.done - before) as u64;
        self.taken += taken;
        self.records_in.add(taken);
        match worked {
            Worked::All => {
                // A frame has been worked off: its channel, and the number of its records.
                self.chain.observe("channel.frame", [work.at.channel as i64, work.at.done as i64, 0]);
                self.gate.give_back(work);
            }
            Worked::UpToBarrier => self.gate.park(work),
            Worked::Interrupted | Worked::Unprepared | Worked::AwaitsState => self.work = Some(work),
        }
        self.awaits_state = worked == Worked::AwaitsState;
        matches!(worked, Worked::All | Worked::UpToBarrier)
    }

    /// Works on a batch of one input, for which the head implements `Head<T, INPUT>`; `spare` gives the memory for its entries.
    fn run<T: Record, const INPUT: usize>(
        &mut self,
        batch: &mut Batch<T>,
        at: &mut Progress,
        spare: fn(&mut I::Spare) -> &mut Spare<T>,
    ) -> Worked
    where
        H: Head<T, INPUT>,
    {
        loop {
            if at.done == at.prepared && self.chain.head.ready() && self.left > 0 {
                let ahead = batch.ahead(at.done);
                if !ahead.is_empty() {
                    let prepared = Head::<T, INPUT>::prepare(&mut self.chain.head, ahead);
                    if prepared == 0 {
                        return Worked::AwaitsState;
                    }
                    at.prepared += prepared;
                }
            }
            let worked = match batch {
                Batch::Owned(frame) => self.run_owned::<T, INPUT>(frame, at, spare),
                Batch::Archived(frame) => self.run_archived::<T, INPUT>(frame, at),
            };
            if worked != Worked::Unprepared {
                return worked;
            }
        }
    }

    /// Why unprepared records are left.
    fn left_unprepared(&self) -> Worked {
        if self.chain.head.ready() && self.left > 0 { Worked::Unprepared } else { Worked::Interrupted }
    }

    fn run_owned<T: Record, const INPUT: usize>(
        &mut self,
        frame: &mut Frame<T>,
        at: &mut Progress,
        spare: fn(&mut I::Spare) -> &mut Spare<T>,
    ) -> Worked
    where
        H: Head<T, INPUT>,
    {
        // Moved out of the task, which is borrowed meanwhile.
        let mut room = std::mem::take(spare(&mut self.spare));
        let worked = frame.taking(&mut room, |taking| self.take_owned::<T, INPUT>(taking, at));
        *spare(&mut self.spare) = room;
        worked
    }

    fn take_owned<T: Record, const INPUT: usize>(&mut self, taking: &mut Taking<'_, T>, at: &mut Progress) -> Worked
    where
        H: Head<T, INPUT>,
    {
        let total = at.done + taking.len();
        let (hashes, controls) = (taking.hashes, taking.controls);
        loop {
            let until = controls.get(at.controls_done).map_or(total, |(position, _)| *position as usize);
            let prepared = until.min(at.prepared);
            while at.done < prepared {
                if !self.chain.head.ready() || self.left == 0 {
                    return Worked::Interrupted;
                }
                self.left -= 1;
                let Some((timestamp, record)) = taking.next() else { break };
                let hash = hashes.get(at.done).copied().unwrap_or(0);
                if at.done.is_multiple_of(PREFETCH_RECORDS) {
                    let end = hashes.len().min(at.done + PREFETCH_RECORDS);
                    Head::<T, INPUT>::prefetch(&mut self.chain.head, hashes.get(at.done..end).unwrap_or_default());
                }
                at.done += 1;
                Head::<T, INPUT>::take(&mut self.chain.head, hash, timestamp, Owned(record));
            }
            if at.done < until {
                return self.left_unprepared();
            }
            let Some((_, control)) = controls.get(at.controls_done) else { return Worked::All };
            at.controls_done += 1;
            if let Some(interrupted) = self.take_control(at.channel, at.done, *control) {
                return interrupted;
            }
        }
    }

    /// The same over the views of an archive.
    fn run_archived<T: Record, const INPUT: usize>(&mut self, frame: &ArchivedFrame<T>, at: &mut Progress) -> Worked
    where
        H: Head<T, INPUT>,
    {
        let (records, timestamps, hashes) = (frame.records(), frame.timestamps(), frame.hashes());
        loop {
            let until = frame.controls().get(at.controls_done).map_or(records.len(), |(position, _)| *position as usize);
            let prepared = until.min(at.prepared);
            while at.done < prepared {
                if !self.chain.head.ready() || self.left == 0 {
                    return Worked::Interrupted;
                }
                self.left -= 1;
                let hash = hashes.get(at.done).map_or(0, |hash| u64::from_le_bytes(*hash));
                if at.done.is_multiple_of(PREFETCH_RECORDS) && !hashes.is_empty() {
                    let ahead = &hashes[at.done..hashes.len().min(at.done + PREFETCH_RECORDS)];
                    let mut next = [0; PREFETCH_RECORDS];
                    next.iter_mut().zip(ahead).for_each(|(next, hash)| *next = u64::from_le_bytes(*hash));
                    Head::<T, INPUT>::prefetch(&mut self.chain.head, &next[..ahead.len()]);
                }
                let (timestamp, record) = (i64::from_le_bytes(timestamps[at.done]), &records[at.done]);
                at.done += 1;
                Head::<T, INPUT>::take(&mut self.chain.head, hash, timestamp, InPlace(record));
            }
            if at.done < until {
                return self.left_unprepared();
            }
            let Some((_, control)) = frame.controls().get(at.controls_done) else { return Worked::All };
            at.controls_done += 1;
            if let Some(interrupted) = self.take_control(at.channel, at.done, *control) {
                return interrupted;
            }
        }
    }

    /// Takes an in-band element of a channel, before which `done` records of its frame stand; returns why the frame cannot continue, if so.
    fn take_control(&mut self, channel: usize, done: usize, control: Control) -> Option<Worked> {
        // One channel's in-band element: channel, kind, watermark.
        let [kind, watermark] = control.as_numbers();
        self.chain.observe("channel.control", [channel as i64, kind, watermark]);
        self.gate.step(channel, control);
        self.alignment.step(matches!(control, Control::Barrier(_)), self.gate.aligning(), self.clock.now().monotonic);
        if self.gate.is_blocked(channel) {
            return Some(Worked::UpToBarrier);
        }
        (!self.forward_merged(Some((channel, done)))).then_some(Worked::Interrupted)
    }

    /// Works on frames until there are none, the chain has no room, or `budget` records are worked off.
    fn work(&mut self, cx: &mut Context<'_>, budget: usize) -> Step {
        let mut worked = false;
        self.left = budget;
        loop {
            if self.left == 0 {
                self.chain.head.drive(cx);
                return Step::Busy;
            }
            if let Some(step) = self.chain.resume(cx) {
                return step;
            }
            let interrupted = self.work.as_ref().map(|work| (work.at.channel, work.at.done));
            if !self.forward_merged(interrupted) {
                continue;
            }
            if !self.work_off() {
                if self.awaits_state {
                    return self.chain.await_state(cx);
                }
                continue;
            }
            if interrupted.is_some() {
                self.chain.head.batch_end();
            }
            if !self.chain.head.ready() {
                continue;
            }
            self.chain.flush_now_and_then();
            if self.left == 0 {
                continue;
            }
            let Some(work) = self.gate.take() else { break };
            worked = true;
            if self.gate.was_full(&work) {
                self.debloater.found_full();
            }
            // A frame of in-band elements alone counts, too.
            self.left -= usize::from(I::records(&work.batch) == 0);
            self.chain.count_batch();
            self.work = Some(work);
            if self.work_off() {
                self.chain.head.batch_end();
            } else if self.awaits_state {
                return self.chain.await_state(cx);
            }
        }
        if self.gate.is_ended() {
            return self.wind_up();
        }
        if worked {
            self.chain.head.drive(cx);
            return Step::Busy;
        }
        self.chain.run_dry()
    }

    /// Takes into account how long the previous slice has taken, until now.
    fn measure(&mut self) {
        let time = self.clock.now().monotonic.since(self.measured_from);
        let is_known = if self.was_dry { self.debloater.ran_dry(time) } else { self.debloater.worked(self.taken, time) };
        if is_known {
            let of_channel = self.gate.tell_windows(self.debloater.window(), self.debloater.most());
            self.window.set(i64::from(of_channel));
        }
        self.measured_from = self.clock.now().monotonic;
        self.taken = 0;
    }

    /// After the last frame: forwards the end once, then empties the open frames (docs/src/semantics.md#e-2).
    fn wind_up(&mut self) -> Step {
        if !self.end_forwarded {
            self.chain.head.control(Control::EndOfInput);
            self.end_forwarded = true;
            return Step::Busy;
        }
        self.chain.wind_up()
    }
}

impl<I: Inputs, H: Heads<I>> Subtask for ChannelTask<I, H> {
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        self.measure();
        let budget = self.slice.records();
        let step = self.work(cx, budget);
        // A task that waits for room is not dry: a task before a slow one is as slow.
        self.was_dry = step == Step::Waiting && self.awaits_input();
        step
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let progress = self.chain.head.poll_progress(cx);
        // Waiting frames are no reason to run while the frame in work cannot continue.
        if progress.is_ready() || !self.awaits_input() || self.end_forwarded {
            return progress;
        }
        self.gate.poll_frames(cx)
    }

    fn advance_processing_time(&mut self, now: Now) {
        if self.chain.head.ready() && !self.end_forwarded {
            self.chain.head.advance_processing_time(now);
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        // While the chain has no room nothing can be done about a deadline: waiting for it would be spinning.
        if self.end_forwarded || !self.chain.head.ready() { None } else { self.chain.head.next_deadline(now) }
    }

    fn queued(&self) -> usize {
        self.gate.queued()
    }

    fn awaits_input(&self) -> bool {
        self.chain.head.ready() && !self.awaits_state
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        let lengths = self.gate.queue_lengths();
        if self.gate.channels() <= SAMPLED_CHANNELS_MAX {
            lengths.enumerate().for_each(|(channel, length)| samples.gauge("inputQueueLength", Some(channel), length as i64));
        } else {
            samples.gauge("inputQueueLength", None, lengths.sum::<usize>() as i64);
        }
        self.chain.head.sample(samples);
    }

    fn save(&mut self) {
        self.chain.head.save();
    }

    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.chain.head.poll_prepared(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.chain.head.poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
