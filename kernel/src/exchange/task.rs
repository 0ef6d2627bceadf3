//! A subtask that is fed by an exchange.

use super::alignment_time::AlignmentTime;
use super::arrival::{Arrival, InPlace, Owned};
use super::debloating::Debloater;
use super::frame::{Batch, Frame};
use super::input::{InputGate, Work};
use super::remote::ArchivedFrame;
use super::watch::ChannelWatch;
use crate::chain::{Chain, Collector, Resumed, Stage, pass_on};
use crate::checkpoint::{CheckpointId, Snapshots};
use crate::graph::Cut;
use crate::record::Record;
use crate::runtime::{Counter, Gauge, Now, Samples, SliceBudget, Step, Subtask, SubtaskContext, TaskClock};
use crate::time::Control;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::{Io, MonotonicNs};

/// Takes the records of an exchange, with the hashes of their keys (0 where the edge is not keyed).
pub trait Head<T: Record>: Stage {
    /// Is told the hashes of the keys of the next records, to bring their state near.
    fn prefetch(&mut self, _hashes: &[u64]) {}

    /// Takes a record. Only while [`ready`](Stage::ready).
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<T>);
}

/// Records whose state is brought near together. The cache misses of so many lookups overlap; their lines fit the first-level cache.
const PREFETCH_RECORDS: usize = 32;

/// A task with more channels than this shows the length of all its queues as one: the number of channels grows with the square of the parallelism, and
/// nobody looks at thousands.
const SAMPLED_CHANNELS_MAX: usize = 64;

/// A chain at the head of a task whose input is not keyed.
pub(crate) struct Unkeyed<C> {
    down: C,
}

impl<T: Record, C: Collector<T>> Head<T> for Unkeyed<C> {
    #[inline]
    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<T>) {
        record.hand_to(timestamp, &mut self.down);
    }
}

impl<C: Stage> Stage for Unkeyed<C> {
    pass_on!();
}

/// How far a frame was worked off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worked {
    All,
    /// What follows is behind a barrier that other channels have yet to deliver.
    UpToBarrier,
    /// The chain takes no more for now.
    Interrupted,
}

/// Pulls frames through a fused chain.
pub(crate) struct ChannelTask<T, H> {
    gate: InputGate<T>,
    head: H,
    work: Option<Work<T>>,
    /// Swapped with the entries of a frame that is interrupted, so that neither allocates.
    spare: Vec<super::frame::Entry<T>>,
    slice: Rc<SliceBudget>,
    /// Records left of the slice.
    left: usize,
    flush_after_frames: u32,
    frames_since_flush: u32,
    end_forwarded: bool,
    /// The barrier that is in the chain.
    barrier: Option<CheckpointId>,
    snapshots: Rc<Snapshots>,
    records_in: Counter,
    watermark_in: Gauge,
    alignment: AlignmentTime,
    debloater: Debloater,
    /// When the slice before began, how many records it took, and whether it found nothing to do.
    measured_from: MonotonicNs,
    taken: u64,
    was_dry: bool,
    /// The records that each sender may have under way.
    window: Gauge,
    clock: TaskClock,
    io: Io,
    watch: ChannelWatch,
    place: String,
}

impl<T: Record, H: Head<T>> ChannelTask<T, H> {
    pub(crate) fn new(cx: &mut SubtaskContext, head: H) -> Self {
        let (io, place) = (cx.io.clone(), cx.name.to_string());
        let restored = cx.restored_watermark();
        let gate = InputGate::new(cx.take_inputs(), restored);
        let settings = cx.settings();
        // Channels, the frames each of them holds at most, and the restored watermark.
        io.observe("task.start", &place, [gate.channels() as i64, settings.ring_frames() as i64, restored.0]);
        Self {
            gate,
            head,
            work: None,
            spare: Vec::new(),
            slice: Rc::clone(&cx.slice),
            left: 0,
            flush_after_frames: settings.flush_after_frames,
            frames_since_flush: 0,
            end_forwarded: false,
            barrier: None,
            snapshots: Rc::clone(&cx.snapshots),
            records_in: cx.task_counter("numRecordsIn"),
            watermark_in: cx.task_gauge("currentInputWatermark"),
            alignment: AlignmentTime::new(cx.task_gauge("checkpointAlignmentTime")),
            debloater: settings.debloater(),
            measured_from: cx.clock.now().monotonic,
            taken: 0,
            was_dry: true,
            window: cx.task_gauge("inputWindowRecords"),
            clock: cx.clock.clone(),
            io,
            watch: cx.watch(),
            place,
        }
    }

    /// Hands the merged in-band elements to the chain as long as it takes them. `false` if some are left. `in_work` is the channel whose frame is worked on,
    /// and how many of its records have been taken.
    fn forward_merged(&mut self, in_work: Option<(usize, usize)>) -> bool {
        while self.head.ready() {
            self.end_barrier();
            let Some(control) = self.gate.merged.pop_front() else { return true };
            if let Control::Barrier(checkpoint) = control {
                self.tell_cut(checkpoint, in_work);
                self.snapshots.begin(checkpoint);
                self.snapshots.watermark(self.gate.watermark());
                self.barrier = Some(checkpoint);
            }
            if let Control::Watermark(watermark) = control {
                self.watermark_in.set(watermark.0);
            }
            // What the channels amount to: kind and watermark, as below.
            let [kind, watermark] = control.as_numbers();
            self.io.observe("task.control", &self.place, [kind, watermark, 0]);
            self.head.control(control);
        }
        self.gate.merged.is_empty()
    }

    /// Tells what the snapshot holds of each channel: the checkpoint, and how many records were taken before it.
    fn tell_cut(&self, checkpoint: CheckpointId, in_work: Option<(usize, usize)>) {
        if self.watch.is_on() {
            for (channel, received) in self.gate.received(in_work) {
                self.watch.tell("channel.barrier.in", channel, [checkpoint.0 as i64, received as i64, 0]);
            }
        }
    }

    /// A barrier that has passed the whole chain, which is ready again, ends the snapshot.
    fn end_barrier(&mut self) {
        if let Some(checkpoint) = self.barrier.take() {
            self.snapshots.end(checkpoint);
            // The others wait for the barrier.
            self.head.flush();
        }
    }

    /// Works on the current frame until it is done or its channel blocked (`true`), or the chain is not ready (`false`).
    fn work_off(&mut self) -> bool {
        let Some(mut work) = self.work.take() else { return true };
        let before = work.done;
        let worked = self.run(&mut work);
        let taken = (work.done - before) as u64;
        self.taken += taken;
        self.records_in.add(taken);
        match worked {
            Worked::All => {
                // A frame has been worked off: its channel, and the number of its records.
                self.io.observe("channel.frame", &self.place, [work.channel as i64, work.done as i64, 0]);
                self.gate.give_back(work);
            }
            Worked::UpToBarrier => self.gate.park(work),
            Worked::Interrupted => self.work = Some(work),
        }
        worked != Worked::Interrupted
    }

    fn run(&mut self, work: &mut Work<T>) -> Worked {
        let Work { channel, batch, done, controls_done } = work;
        match batch {
            Batch::Owned(frame) => self.run_owned(*channel, frame, done, controls_done),
            Batch::Archived(frame) => self.run_archived(*channel, frame, done, controls_done),
        }
    }

    fn run_owned(&mut self, channel: usize, frame: &mut Frame<T>, done: &mut usize, controls_done: &mut usize) -> Worked {
        let total = *done + frame.entries.len();
        let mut entries = frame.entries.drain(..);
        let worked = 'frame: loop {
            let until = frame.controls.get(*controls_done).map_or(total, |(position, _)| *position as usize);
            while *done < until {
                if !self.head.ready() || self.left == 0 {
                    break 'frame Worked::Interrupted;
                }
                self.left -= 1;
                let Some(entry) = entries.next() else { break };
                let hash = frame.hashes.get(*done).copied().unwrap_or(0);
                if done.is_multiple_of(PREFETCH_RECORDS) {
                    let end = frame.hashes.len().min(*done + PREFETCH_RECORDS);
                    self.head.prefetch(frame.hashes.get(*done..end).unwrap_or_default());
                }
                *done += 1;
                self.head.take(hash, entry.timestamp, Owned(entry.record));
            }
            let Some((_, control)) = frame.controls.get(*controls_done) else { break Worked::All };
            *controls_done += 1;
            if let Some(interrupted) = self.take_control(channel, *done, *control) {
                break interrupted;
            }
        };
        // What an interrupted frame still holds moves to its beginning.
        self.spare.extend(entries);
        std::mem::swap(&mut self.spare, &mut frame.entries);
        worked
    }

    /// The same over the views of an archive.
    fn run_archived(&mut self, channel: usize, frame: &ArchivedFrame<T>, done: &mut usize, controls_done: &mut usize) -> Worked {
        let (records, timestamps, hashes) = (frame.records(), frame.timestamps(), frame.hashes());
        loop {
            let until = frame.controls.get(*controls_done).map_or(records.len(), |(position, _)| *position as usize);
            while *done < until {
                if !self.head.ready() || self.left == 0 {
                    return Worked::Interrupted;
                }
                self.left -= 1;
                let hash = hashes.get(*done).map_or(0, |hash| u64::from_le_bytes(*hash));
                if done.is_multiple_of(PREFETCH_RECORDS) && !hashes.is_empty() {
                    let ahead = &hashes[*done..hashes.len().min(*done + PREFETCH_RECORDS)];
                    let mut next = [0; PREFETCH_RECORDS];
                    next.iter_mut().zip(ahead).for_each(|(next, hash)| *next = u64::from_le_bytes(*hash));
                    self.head.prefetch(&next[..ahead.len()]);
                }
                let (timestamp, record) = (i64::from_le_bytes(timestamps[*done]), &records[*done]);
                *done += 1;
                self.head.take(hash, timestamp, InPlace(record));
            }
            let Some((_, control)) = frame.controls.get(*controls_done) else { return Worked::All };
            *controls_done += 1;
            if let Some(interrupted) = self.take_control(channel, *done, *control) {
                return interrupted;
            }
        }
    }

    /// Takes an in-band element of a channel, before which `done` records of its frame stand; says so if the frame cannot be gone on with.
    fn take_control(&mut self, channel: usize, done: usize, control: Control) -> Option<Worked> {
        // One channel's in-band element: channel, kind, watermark.
        let [kind, watermark] = control.as_numbers();
        self.io.observe("channel.control", &self.place, [channel as i64, kind, watermark]);
        self.gate.step(channel, control);
        self.alignment.step(matches!(control, Control::Barrier(_)), self.gate.aligning(), self.clock.now().monotonic);
        if self.gate.is_blocked(channel) {
            return Some(Worked::UpToBarrier);
        }
        (!self.forward_merged(Some((channel, done)))).then_some(Worked::Interrupted)
    }

    fn flush_now_and_then(&mut self) {
        if self.frames_since_flush >= self.flush_after_frames {
            self.frames_since_flush = 0;
            self.head.flush();
        }
    }

    /// Works on frames until there are none, the chain has no room, or `budget` records are worked off.
    fn work(&mut self, cx: &mut Context<'_>, budget: usize) -> Step {
        let mut worked = false;
        self.left = budget;
        loop {
            if self.left == 0 {
                self.head.drive(cx);
                return Step::Busy;
            }
            if !self.head.ready() {
                let resumed = self.head.resume();
                if resumed != Resumed::Done {
                    // A suspended chain gets no further for now: 1 for want of room, 0 because a slice is over.
                    self.io.observe("task.suspended", &self.place, [i64::from(resumed == Resumed::Blocked), 0, 0]);
                }
                match resumed {
                    Resumed::Done => {}
                    Resumed::Again => {
                        // A record that becomes very many must not strand the channels that get few of them.
                        self.frames_since_flush += 1;
                        self.flush_now_and_then();
                        self.head.drive(cx);
                        return Step::Busy;
                    }
                    Resumed::Blocked => {
                        // The other channels' receivers should not wait for the one that is full.
                        self.head.flush();
                        return Step::Waiting;
                    }
                }
            }
            let interrupted = self.work.as_ref().map(|work| (work.channel, work.done));
            if !self.forward_merged(interrupted) || !self.work_off() {
                continue;
            }
            if interrupted.is_some() {
                self.head.batch_end();
            }
            if !self.head.ready() {
                continue;
            }
            self.flush_now_and_then();
            if self.left == 0 {
                continue;
            }
            let Some(work) = self.gate.take() else { break };
            worked = true;
            if self.gate.was_full(&work) {
                self.debloater.found_full();
            }
            // A frame of in-band elements alone counts, too.
            self.left -= usize::from(work.batch.records() == 0);
            self.frames_since_flush += 1;
            self.work = Some(work);
            if self.work_off() {
                self.head.batch_end();
            }
        }
        if self.gate.is_ended() {
            return self.wind_up();
        }
        if worked {
            self.head.drive(cx);
            return Step::Busy;
        }
        // Dry: what is held would only get older.
        self.frames_since_flush = 0;
        self.head.flush();
        Step::Waiting
    }

    /// Takes into account how long the slice before has taken, until now.
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
            self.head.control(Control::EndOfInput);
            self.end_forwarded = true;
            return Step::Busy;
        }
        if self.head.flush() { Step::Finished } else { Step::Waiting }
    }
}

impl<T: Record, H: Head<T>> Subtask for ChannelTask<T, H> {
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        self.measure();
        let budget = self.slice.records();
        let step = self.work(cx, budget);
        // While it waits for room it is not dry: a task before a slow one is as slow.
        self.was_dry = step == Step::Waiting && self.head.ready();
        step
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let progress = self.head.poll_progress(cx);
        if progress.is_ready() || !self.head.ready() || self.end_forwarded {
            return progress;
        }
        self.gate.poll_frames(cx)
    }

    fn advance_processing_time(&mut self, now: Now) {
        if self.head.ready() && !self.end_forwarded {
            self.head.advance_processing_time(now);
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        // Nothing can be done about a deadline while the chain has no room: waiting for it would be spinning.
        if self.end_forwarded || !self.head.ready() { None } else { self.head.next_deadline(now) }
    }

    fn queued(&self) -> usize {
        self.gate.queued()
    }

    fn awaits_input(&self) -> bool {
        self.head.ready()
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        let lengths = self.gate.queue_lengths();
        if self.gate.channels() <= SAMPLED_CHANNELS_MAX {
            lengths.enumerate().for_each(|(channel, length)| samples.gauge("inputQueueLength", Some(channel), length as i64));
        } else {
            samples.gauge("inputQueueLength", None, lengths.sum::<usize>() as i64);
        }
    }

    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.head.poll_prepared(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.head.poll_close(cx)
    }
}

/// The beginning of a chain that is fed by other tasks.
pub struct Exchanged<T> {
    record: PhantomData<fn() -> T>,
}

impl<T> Exchanged<T> {
    pub(crate) fn new() -> Self {
        Self { record: PhantomData }
    }
}

impl<T> Clone for Exchanged<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Record> Chain for Exchanged<T> {
    type Out = T;
    type Detached = Self;

    fn fuse<D: Collector<T>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        Box::new(ChannelTask::new(cx, Unkeyed { down }))
    }

    fn detach(self, _cut: &mut Cut<'_>) -> Self {
        self
    }

    fn unchain(self, _cut: &mut Cut<'_>) -> Self {
        self
    }
}
