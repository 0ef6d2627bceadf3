//! How long the barriers of a checkpoint take to arrive, from the first channel's to the last one's.
//!
//! Meanwhile the channels that have delivered the barrier are not read, so this is what a checkpoint costs where channels differ in speed. The time is read
//! off the clock of the slice: no finer than that, and free.

use crate::checkpoint::CheckpointId;
use crate::metrics::Gauge;
use std::time::Duration;
use thalweg_io::MonotonicNs;

/// Shows the duration of the latest alignment, in nanoseconds.
pub(crate) struct AlignmentTime {
    gauge: Gauge,
    under_way: Option<(CheckpointId, MonotonicNs)>,
    latest: Duration,
}

impl AlignmentTime {
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self { gauge, under_way: None, latest: Duration::ZERO }
    }

    /// An in-band element of a channel, perhaps a barrier, has been taken into account; `aligning` is the checkpoint that waits for channels now.
    pub(crate) fn step(&mut self, is_barrier: bool, aligning: Option<CheckpointId>, now: MonotonicNs) {
        match (self.under_way, aligning) {
            (Some((checkpoint, _)), Some(current)) if checkpoint == current => {}
            (_, Some(current)) => self.under_way = Some((current, now)),
            (Some((_, since)), None) => {
                self.under_way = None;
                self.show(now.since(since));
            }
            // The only channel that is open.
            (None, None) if is_barrier => self.show(Duration::ZERO),
            (None, None) => {}
        }
    }

    fn show(&mut self, latest: Duration) {
        self.latest = latest;
        self.gauge.set(i64::try_from(latest.as_nanos()).unwrap_or(i64::MAX));
    }

    /// The duration of the latest barrier's alignment.
    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MetricRegistry;
    use crate::metrics::Subject;

    #[test]
    fn it_lasts_from_the_first_barrier_of_a_checkpoint_to_its_last() {
        let registry = MetricRegistry::new(0);
        let mut time = AlignmentTime::new(registry.gauge(Subject::task("map", "map"), "checkpointAlignmentTime", i64::MIN));
        let shown = || registry.snapshot()[0].value;
        let checkpoint = |number| Some(CheckpointId(number));
        time.step(true, checkpoint(1), MonotonicNs(100));
        time.step(false, checkpoint(1), MonotonicNs(150));
        assert_eq!(shown(), i64::MIN);
        time.step(true, None, MonotonicNs(180));
        assert_eq!((shown(), time.latest()), (80, Duration::from_nanos(80)));
        // Checkpoint 2 is given up for 3.
        time.step(true, checkpoint(2), MonotonicNs(200));
        time.step(true, checkpoint(3), MonotonicNs(300));
        // The last channel that the alignment waited for has ended.
        time.step(false, None, MonotonicNs(310));
        assert_eq!(shown(), 10);
        time.step(false, None, MonotonicNs(320));
        assert_eq!(shown(), 10);
        time.step(true, None, MonotonicNs(330));
        assert_eq!(shown(), 0);
    }
}
