//! Whether, and after which delay, a failed attempt is followed by another (docs/src/semantics.md#r-1).
//!
//! Pure: the time of a failure is an argument.

use crate::checkpoint::RestartStrategy;
use std::time::Duration;
use thalweg_io::MonotonicNs;

/// Counts failures against a strategy.
pub(crate) struct RestartPolicy {
    strategy: RestartStrategy,
    failures: u32,
    last_failure: Option<MonotonicNs>,
    next_delay: Duration,
}

impl RestartPolicy {
    pub(crate) fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, failures: 0, last_failure: None, next_delay: Duration::ZERO }
    }

    /// An attempt has failed at `now`. The delay before the next one, or `None` if none follows.
    pub(crate) fn failed(&mut self, now: MonotonicNs) -> Option<Duration> {
        let quiet = self.last_failure.map_or(Duration::MAX, |last| now.since(last));
        self.last_failure = Some(now);
        match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => {
                self.failures += 1;
                (self.failures <= attempts).then_some(delay)
            }
            RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after, attempts } => {
                if quiet >= reset_after {
                    self.failures = 0;
                    self.next_delay = initial;
                }
                self.failures += 1;
                let delay = self.next_delay.min(max);
                self.next_delay = Duration::try_from_secs_f64(delay.as_secs_f64() * multiplier.max(1.0)).unwrap_or(max);
                (self.failures <= attempts).then_some(delay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at_s(seconds: u64) -> MonotonicNs {
        MonotonicNs(seconds * 1_000_000_000)
    }

    #[test]
    fn a_fixed_number_of_restarts_is_made_and_none_without_a_strategy() {
        let mut policy = RestartPolicy::new(RestartStrategy::FixedDelay { attempts: 2, delay: Duration::from_secs(3) });
        let delays: Vec<_> = [1, 2, 300].iter().map(|second| policy.failed(at_s(*second))).collect();
        assert_eq!(delays, [Some(Duration::from_secs(3)), Some(Duration::from_secs(3)), None]);
        assert_eq!(RestartPolicy::new(RestartStrategy::None).failed(at_s(1)), None);
    }

    #[test]
    fn delays_grow_up_to_a_bound_and_begin_again_after_a_quiet_time() {
        let mut policy = RestartPolicy::new(RestartStrategy::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(3),
            multiplier: 2.0,
            reset_after: Duration::from_secs(100),
            attempts: 4,
        });
        let delays: Vec<_> =
            [10, 20, 30, 40, 50, 200, 210].iter().map(|second| policy.failed(at_s(*second)).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(3), Some(3), None, Some(1), Some(2)]);
    }
}
