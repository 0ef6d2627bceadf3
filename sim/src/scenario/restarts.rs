//! Restart strategies, drawn within bounds.

use std::time::Duration;
use thalweg::RestartStrategy;
use thalweg_io::{Rng, SplitMix};
use thalweg_world::Draw;

/// The bounds: one in `one_in` plans has no restarts, one in `one_in` a fixed delay, all others growing delays.
pub(super) struct RestartBounds {
    pub(super) one_in: u64,
    /// The most restarts with a fixed delay.
    pub(super) fixed_attempts_max: u64,
    /// The longest of the growing delays, in milliseconds.
    pub(super) delay_ms_max: u64,
    /// The number of restarts with growing delays.
    pub(super) growing_attempts: u32,
}

impl RestartBounds {
    pub(super) fn draw(&self, stream: &mut SplitMix) -> RestartStrategy {
        let millis = Duration::from_millis;
        match stream.below(self.one_in) {
            0 => RestartStrategy::None,
            1 => RestartStrategy::FixedDelay {
                attempts: stream.between(1, self.fixed_attempts_max) as u32,
                delay: millis(stream.pick(&[0, 1, 50])),
            },
            _ => RestartStrategy::ExponentialDelay {
                initial: millis(stream.pick(&[1, 20])),
                max: millis(self.delay_ms_max),
                multiplier: 2.0,
                reset_after: Duration::from_secs(3600),
                attempts: self.growing_attempts,
            },
        }
    }
}
