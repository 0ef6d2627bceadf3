//! How long one subtask holds its core, and how long its part in checkpoints takes: the numbers behind "nothing stalls a core".

use crate::checkpoint::SnapshotTimes;
use crate::metrics::{Durations, Samples};
use std::cell::RefCell;
use std::time::Duration;

/// A slice that found nothing to do is shorter, and not counted: a core that polls would have millions of them.
const LEAST_IDLE_SLICE: Duration = Duration::from_micros(20);

/// The histograms of one subtask.
#[derive(Default)]
pub(crate) struct TaskDurations {
    slices: RefCell<Durations>,
    alignment: RefCell<Durations>,
    saving: RefCell<Durations>,
    storing: RefCell<Durations>,
}

impl TaskDurations {
    /// The subtask has held its core for `duration` and found work.
    pub(crate) fn slice(&self, duration: Duration) {
        self.slices.borrow_mut().record(duration);
    }

    /// The subtask has held its core for `duration`, and waits.
    pub(crate) fn last_slice(&self, duration: Duration) {
        if duration >= LEAST_IDLE_SLICE {
            self.slice(duration);
        }
    }

    /// The part of the subtask in a checkpoint is durable.
    pub(crate) fn checkpoint(&self, times: SnapshotTimes) {
        let SnapshotTimes { alignment, saving, storing } = times;
        for (durations, duration) in [(&self.alignment, alignment), (&self.saving, saving), (&self.storing, storing)] {
            durations.borrow_mut().record(duration);
        }
    }

    /// Adds its metrics: those of checkpoints if there have been any.
    pub(crate) fn sample(&self, samples: &mut Samples<'_>) {
        samples.histogram("sliceDuration", &self.slices.borrow());
        let of_checkpoints = [
            ("checkpointAlignmentDuration", &self.alignment),
            ("checkpointSyncDuration", &self.saving),
            ("checkpointAsyncDuration", &self.storing),
        ];
        for (name, durations) in of_checkpoints {
            let durations = durations.borrow();
            if durations.count() > 0 {
                samples.histogram(name, &durations);
            }
        }
    }
}
