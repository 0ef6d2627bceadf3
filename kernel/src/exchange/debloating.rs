//! How much may lie between two tasks: as much as the receiver works off in about a second, and no more than keeps it busy (Flink: buffer debloating).
//!
//! A barrier waits behind the records in the channels of a slow receiver, and a stop has to work them off. So a receiver measures its pace, and tells each
//! of its senders a *window*: the records that may be under way in its channel. A sender makes its frames so small that the frames which the channel holds
//! are no more than that (docs/src/semantics.md#b-1).
//!
//! The pace counts the time in which there was something to do, waiting for room downstream included: behind a slow receiver every task is slow. A window
//! begins small, since the receiver may be slow and records that have been sent cannot be taken back. It grows until it keeps the receiver busy for some
//! milliseconds, and beyond that only if the receiver ran dry between full channels; it never exceeds a second's worth.
//!
//! Bounds: one record may always pass, so two or three lie in each channel whose sender has something to send, however slow the receiver is.
//!
//! Pure: no clock, no I/O.

use std::time::Duration;

/// Time for which a window keeps a receiver busy while its senders do something else: many slices of a task, and a round trip between two machines.
const KEEPS_BUSY: Duration = Duration::from_millis(10);

/// Records after which the pace of a fast receiver is known; its frames are full size a fraction of a millisecond after it began.
const PACE_RECORDS: u64 = 4096;

/// Time after which the pace of a slower receiver is known, if it worked off a record in that time.
const PACE_TIME: Duration = Duration::from_millis(100);

/// Time without a record after which a receiver counts as slow as can be.
const PACE_TIME_MAX: Duration = Duration::from_secs(1);

/// Measures the pace of one receiver and says how many records may be under way to it, in all its channels together.
#[derive(Clone, Debug)]
pub(crate) struct Debloater {
    /// The longest time in which the records under way are worked off.
    target: Duration,
    window: u64,
    /// Records worked off in the target time, as far as that is known.
    most: u64,
    records: u64,
    /// Time in which there was something to do, and (`dry`) in which there was not.
    time: Duration,
    dry: Duration,
    has_run_dry: bool,
    was_full: bool,
}

impl Debloater {
    /// For a receiver with a window of `initial` records until its pace is known.
    pub(crate) fn new(target: Duration, initial: u64) -> Self {
        let window = initial.max(1);
        Self { target, window, most: window, records: 0, time: Duration::ZERO, dry: Duration::ZERO, has_run_dry: false, was_full: false }
    }

    /// The records that may be under way.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// The most records that may be under way, also to a receiver that nobody sends to for the time being.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// There was nothing to take for `time`. Returns whether the pace is known anew.
    pub(crate) fn ran_dry(&mut self, time: Duration) -> bool {
        self.has_run_dry = true;
        self.dry += time;
        // A receiver that starves for want of a larger window takes few records: its pace must not wait until it has taken `PACE_RECORDS`.
        let starves = self.was_full && self.records > 0 && self.time + self.dry >= PACE_TIME;
        starves && self.judge()
    }

    /// A channel held as much as it may.
    pub(crate) fn found_full(&mut self) {
        self.was_full = true;
    }

    /// `records` were worked off in `time`, in which there was something to do. Returns whether the pace is known anew, and with it the window.
    pub(crate) fn worked(&mut self, records: u64, time: Duration) -> bool {
        self.records += records;
        self.time += time;
        let is_known = self.records >= PACE_RECORDS || self.time >= PACE_TIME && self.records > 0 || self.time >= PACE_TIME_MAX;
        is_known && self.judge()
    }

    fn judge(&mut self) -> bool {
        // In the simulator synchronous code takes no time: then the pace is unlimited.
        let per_second = u128::from(self.records) * 1_000_000_000 / self.time.as_nanos().max(1);
        let within = |time: Duration| u64::try_from(per_second * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX);
        let most = within(self.target).max(1);
        let wanted = if self.has_run_dry && self.was_full { self.window.saturating_mul(2) } else { self.window };
        *self = Self { most, ..Self::new(self.target, wanted.max(within(KEEPS_BUSY)).min(most)) };
        true
    }
}

/// The window of one of `channels` channels that share it: a power of two.
pub(crate) fn window_of_channel(window: u64, channels: usize) -> u32 {
    let share = u32::try_from((window / channels.max(1) as u64).max(1)).unwrap_or(u32::MAX);
    1 << share.ilog2()
}

/// Whether the window `now` differs so much from the one the sender was `told` that the sender is told anew. Every message wakes somebody.
pub(crate) fn is_news(told: u32, now: u32) -> bool {
    now >= told.saturating_mul(4) || now <= told / 4 || now != told && now == 1
}

/// How much a sender puts into a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    /// Records in a full frame.
    pub(crate) records: usize,
    /// Frames in the channel.
    pub(crate) frames: usize,
}

impl Portion {
    /// For a channel of `frames` frames in which `window` records may be under way, and at most `most` records per frame.
    #[inline]
    pub(crate) fn of(window: u32, frames: usize, most: usize) -> Self {
        let window = window as usize;
        let records = (window / frames).clamp(1, most);
        Self { records, frames: (window / records).clamp(1, frames) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn debloater() -> Debloater {
        Debloater::new(SECOND, 64)
    }

    #[test]
    fn a_slow_receiver_is_sent_what_it_works_off_in_a_second() {
        let mut slow = Debloater::new(SECOND, 10_000);
        assert!(!slow.worked(10, Duration::from_millis(50)));
        assert!(slow.worked(10, Duration::from_millis(50)));
        assert_eq!(slow.window(), 200);
        assert!(!slow.worked(0, Duration::from_millis(900)), "one that hangs for a moment is not slower for that");
        assert!(slow.worked(0, Duration::from_millis(100)));
        assert_eq!(slow.window(), 1, "one record may always pass");
    }

    #[test]
    fn a_fast_receiver_has_a_full_window_after_a_moment() {
        let mut fast = debloater();
        assert!(fast.worked(PACE_RECORDS, Duration::from_micros(400)));
        assert_eq!(fast.window(), 102_400, "10 ms at ten million a second");
        let mut timeless = debloater();
        assert!(timeless.worked(PACE_RECORDS, Duration::ZERO));
        assert!(timeless.window() > 1 << 32);
    }

    #[test]
    fn a_window_in_which_nobody_starves_does_not_grow_and_one_in_which_somebody_does_doubles_up_to_a_second() {
        let work = |debloater: &mut Debloater| assert!(debloater.worked(100, Duration::from_millis(100)));
        let mut window = debloater();
        work(&mut window);
        window.ran_dry(Duration::ZERO);
        work(&mut window);
        assert_eq!(window.window(), 64, "the sender had nothing to send");
        let windows: Vec<u64> = (0..6)
            .map(|_| {
                window.found_full();
                window.ran_dry(Duration::ZERO);
                work(&mut window);
                window.window()
            })
            .collect();
        assert_eq!(windows, [128, 256, 512, 1000, 1000, 1000]);
    }

    /// Round trips of 50 ms with 16 records each: after a stall the window was 1, and four thousand records took 13 s.
    #[test]
    fn a_window_that_a_stall_has_made_small_grows_again_within_two_seconds_where_the_way_is_long() {
        let mut stalled = Debloater::new(SECOND, 1);
        let (mut elapsed, round_trip) = (Duration::ZERO, Duration::from_millis(50));
        while stalled.window() < 10_000 {
            stalled.found_full();
            stalled.worked(16, Duration::from_micros(16));
            stalled.ran_dry(round_trip);
            elapsed += round_trip;
        }
        assert!(elapsed <= 2 * SECOND, "{elapsed:?}");
    }

    /// A task before a slow sink is fast at first, until the channel between them is full.
    #[test]
    fn a_task_before_a_slow_one_does_not_think_that_it_is_fast() {
        let mut before = debloater();
        before.worked(150, Duration::from_micros(50));
        before.worked(20, Duration::from_millis(100));
        assert_eq!(before.window(), 64);
    }

    proptest! {
        /// After two seconds at a new pace the window is that of the new pace.
        #[test]
        fn the_window_follows_the_pace_within_two_seconds(before in 1..5_000_000u64, after in 1..5_000_000u64) {
            let mut debloater = debloater();
            for per_second in [before, after] {
                for _ in 0..20 {
                    debloater.found_full();
                    debloater.ran_dry(Duration::ZERO);
                    debloater.worked(per_second / 10, SECOND / 10);
                }
            }
            let most = (after / 10 * 10).max(1);
            prop_assert!(debloater.window() <= most);
            prop_assert!(debloater.window() >= (most / 100).max(1));
        }

        #[test]
        fn what_is_told_fits_the_channel(window in 1..u64::MAX, channels in 1..1000usize, frames in 1..64usize, most in 1..5000usize) {
            let told = window_of_channel(window, channels);
            prop_assert!(told.is_power_of_two() && u64::from(told) <= (window / channels as u64).max(1));
            let portion = Portion::of(told, frames, most);
            prop_assert!((1..=most).contains(&portion.records) && (1..=frames).contains(&portion.frames));
            prop_assert!(portion.records * portion.frames <= told as usize);
            prop_assert!(portion.frames == frames || portion.records == 1, "what is saved is saved on the size of frames first");
        }
    }
}
