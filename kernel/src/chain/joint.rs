//! The joint between two chains of one task that do not know each other's types.
//!
//! Records gather above the joint and cross it as a *run*: when there are as many as a frame holds, before any in-band element, when a batch ends and when
//! open frames are handed over. So nothing overtakes a record, nothing waits longer than in an open frame, and one dynamic call is paid per run. Records
//! that the chain below has no room for stay in the run, and the chain above is suspended until they have crossed.

use super::{Collector, Resumed, Stage};
use crate::exchange::Run;
use crate::metrics::Samples;
use crate::record::Record;
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::time::Control;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

/// The upper end of a chain, without its type.
pub(crate) trait RunCollector<T>: Stage {
    /// Takes records of `run` from its beginning while there is room for them. Returns whether it has taken all of them and has room for more.
    fn push_run(&mut self, run: &mut Run<T>) -> bool;
}

impl<T: Record, D: Collector<T>> RunCollector<T> for D {
    fn push_run(&mut self, run: &mut Run<T>) -> bool {
        while self.ready() {
            let Some((timestamp, record)) = run.pop() else { return true };
            self.push(timestamp, record);
        }
        false
    }
}

/// The lower end of the chain above.
pub(super) struct Joint<T> {
    run: Run<T>,
    /// Most records in a run.
    most: usize,
    /// An in-band element that waits until the records before it have crossed.
    control: Option<Control>,
    /// Whether the chain below takes anything. Kept here, so that asking costs no dynamic call per record.
    is_open: bool,
    down: Box<dyn RunCollector<T>>,
}

impl<T: Record> Joint<T> {
    pub(super) fn new(cx: &SubtaskContext, down: Box<dyn RunCollector<T>>) -> Self {
        Self { run: Run::new(), most: cx.settings().frame_records, control: None, is_open: down.ready(), down }
    }

    /// Lets records, and then the element, cross while there is room. `true` if nothing is left.
    fn cross(&mut self) -> bool {
        if !self.run.is_empty() {
            self.is_open = self.down.push_run(&mut self.run);
        }
        if self.run.is_empty()
            && self.is_open
            && let Some(control) = self.control.take()
        {
            self.down.control(control);
            self.is_open = self.down.ready();
        }
        self.run.is_empty() && self.control.is_none()
    }
}

impl<T: Record> Collector<T> for Joint<T> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: T) {
        self.run.push(timestamp, record);
        if self.run.len() == self.most {
            self.cross();
        }
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>) {
        self.push(timestamp, T::from_view(view));
    }
}

impl<T: Record> Stage for Joint<T> {
    fn control(&mut self, control: Control) {
        assert!(self.control.is_none(), "{control:?} came to a joint that was not ready");
        self.control = Some(control);
        self.cross();
    }

    #[inline]
    fn ready(&self) -> bool {
        self.is_open && self.control.is_none()
    }

    fn resume(&mut self) -> Resumed {
        let resumed = self.down.resume();
        self.is_open = self.down.ready();
        if resumed != Resumed::Done {
            return resumed;
        }
        if self.cross() && self.is_open { Resumed::Done } else { Resumed::Again }
    }

    fn batch_end(&mut self) {
        self.cross();
        self.down.batch_end();
        self.is_open = self.down.ready();
    }

    fn flush(&mut self) -> bool {
        let has_crossed = self.cross();
        self.down.flush() && has_crossed
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.down.poll_progress(cx)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.down.drive(cx);
    }

    fn advance_processing_time(&mut self, now: Now) {
        // Records that came before this point go before it below, too.
        if self.cross() && self.is_open {
            self.down.advance_processing_time(now);
            self.is_open = self.down.ready();
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        self.down.next_deadline(now)
    }

    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.down.poll_prepared(cx)
    }

    fn save(&mut self) {
        self.down.save();
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        self.down.sample(samples);
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.down.poll_close(cx)
    }
}
