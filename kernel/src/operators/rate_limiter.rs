//! Limits a source to a number of records per second.
//!
//! Pure: the time is an argument. A pause is not made up for by a flood.

use std::time::Duration;
use thalweg_io::MonotonicNs;

/// Spreads records evenly over time.
pub(super) struct RateLimiter {
    rate: u64,
    since: MonotonicNs,
    emitted: u64,
}

impl RateLimiter {
    pub(super) fn new(rate: u64, now: MonotonicNs) -> Self {
        Self { rate, since: now, emitted: 0 }
    }

    /// How many records may be emitted at `now`: at most a tenth of a second's worth, so that a pause is not made up for by a flood.
    pub(super) fn allowed(&mut self, now: MonotonicNs) -> usize {
        let due = |limiter: &Self| (now.since(limiter.since).as_nanos() * u128::from(limiter.rate) / 1_000_000_000) as u64;
        let burst = (self.rate / 10).max(1);
        if due(self).saturating_sub(self.emitted) > burst {
            self.since = now;
            self.emitted = 0;
            return burst as usize;
        }
        due(self).saturating_sub(self.emitted) as usize
    }

    /// When the next record may be emitted.
    pub(super) fn next(&self) -> MonotonicNs {
        let nanos = (u128::from(self.emitted) + 1) * 1_000_000_000;
        self.since.after(Duration::from_nanos(nanos.div_ceil(u128::from(self.rate)) as u64))
    }

    /// Accounts for `records` that were emitted.
    pub(super) fn emitted(&mut self, records: u64) {
        self.emitted += records;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_source_keeps_its_rate_and_does_not_make_up_for_a_long_pause() {
        let at = |ms: u64| MonotonicNs(ms * 1_000_000);
        let mut limiter = RateLimiter::new(100, at(0));
        assert_eq!(limiter.allowed(at(5)), 0);
        assert_eq!(limiter.next(), at(10));
        assert_eq!(limiter.allowed(at(50)), 5);
        limiter.emitted(5);
        assert_eq!(limiter.allowed(at(50)), 0);
        // Ten seconds later a tenth of a second's worth is due, not a thousand records.
        assert_eq!(limiter.allowed(at(10_000)), 10);
    }
}
