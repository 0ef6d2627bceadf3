//! The user's settings for checkpoints and restarts.

use std::path::PathBuf;
use std::time::Duration;

/// The state that a job begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Restore {
    /// The latest complete checkpoint of the checkpoint folder; a fresh beginning if it holds none.
    #[default]
    Latest,
    /// A fresh beginning, without state.
    None,
    /// This checkpoint: its metadata file, in this or another checkpoint folder.
    From(PathBuf),
}

/// Where and how often a job's state is made durable (docs/src/semantics.md#c-1).
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use std::time::Duration;
/// use thalweg::{CheckpointConfig, StreamExecutionEnvironment};
///
/// let env = StreamExecutionEnvironment::new();
/// env.enable_checkpointing(CheckpointConfig::new("checkpoints").interval(Duration::from_secs(1)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointConfig {
    /// The folder of the checkpoints; it belongs to one job.
    pub dir: PathBuf,
    /// Time from the beginning of one checkpoint to that of the next; `None`: only at the end, and when the job is stopped.
    pub interval: Option<Duration>,
    /// A checkpoint that is not complete after this time is given up.
    pub timeout: Duration,
    /// Least time between the end of one checkpoint and the beginning of the next.
    pub min_pause: Duration,
    /// How many checkpoints in a row may expire without failing the attempt.
    pub tolerable_failures: u32,
    /// How many complete checkpoints are kept.
    pub retained: usize,
    /// The state that the job begins with.
    pub restore: Restore,
    /// Whether state of operators that the job no longer has is left behind, instead of refused.
    pub allow_non_restored_state: bool,
    /// Whether visible results of checkpoints later than the restored one are removed, instead of refused.
    pub discard_later_output: bool,
    /// The state of a subtask up to this size, in bytes, is stored within the checkpoint's metadata instead of in a file of its own. A state whose table takes no
    /// more than that is written whole each time, and not what has changed of it.
    pub inline_bytes_max: usize,
}

impl CheckpointConfig {
    /// Checkpoints in the folder `dir` every ten seconds.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            interval: Some(Duration::from_secs(10)),
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            tolerable_failures: 0,
            retained: 1,
            restore: Restore::Latest,
            allow_non_restored_state: false,
            discard_later_output: false,
            inline_bytes_max: 20 << 10,
        }
    }

    /// Sets [`interval`](Self#structfield.interval); with `None` no checkpoint is taken by time.
    #[must_use]
    pub fn interval(self, interval: impl Into<Option<Duration>>) -> Self {
        Self { interval: interval.into(), ..self }
    }

    /// Sets [`timeout`](Self#structfield.timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets [`min_pause`](Self#structfield.min_pause).
    #[must_use]
    pub fn min_pause(self, min_pause: Duration) -> Self {
        Self { min_pause, ..self }
    }

    /// Sets [`tolerable_failures`](Self#structfield.tolerable_failures).
    #[must_use]
    pub fn tolerable_failures(self, tolerable_failures: u32) -> Self {
        Self { tolerable_failures, ..self }
    }

    /// Sets [`retained`](Self#structfield.retained).
    #[must_use]
    pub fn retained(self, retained: usize) -> Self {
        Self { retained, ..self }
    }

    /// Sets [`restore`](Self#structfield.restore).
    #[must_use]
    pub fn restore(self, restore: Restore) -> Self {
        Self { restore, ..self }
    }

    /// Sets [`allow_non_restored_state`](Self#structfield.allow_non_restored_state).
    #[must_use]
    pub fn allow_non_restored_state(self, allow_non_restored_state: bool) -> Self {
        Self { allow_non_restored_state, ..self }
    }

    /// Sets [`discard_later_output`](Self#structfield.discard_later_output).
    #[must_use]
    pub fn discard_later_output(self, discard_later_output: bool) -> Self {
        Self { discard_later_output, ..self }
    }

    /// Sets [`inline_bytes_max`](Self#structfield.inline_bytes_max).
    #[must_use]
    pub fn inline_bytes_max(self, inline_bytes_max: usize) -> Self {
        Self { inline_bytes_max, ..self }
    }

    /// The error in the settings, if there is one.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.interval.is_some_and(|interval| interval < Duration::from_millis(1)) {
            return Err("the checkpoint interval must be at least 1ms".to_owned());
        }
        if self.timeout < Duration::from_millis(1) {
            return Err("the checkpoint timeout must be at least 1ms".to_owned());
        }
        if self.retained == 0 {
            return Err("at least one checkpoint must be retained".to_owned());
        }
        Ok(())
    }
}

/// The reaction to a failed attempt: how often, and after which delay, another one is made (docs/src/semantics.md#r-1).
#[derive(Clone, Debug, PartialEq)]
pub enum RestartStrategy {
    /// The first failure fails the job.
    None,
    /// A number of restarts, each after the same delay.
    FixedDelay {
        /// How many restarts.
        attempts: u32,
        /// The time from a failure to the next attempt.
        delay: Duration,
    },
    /// Delays that grow while failures follow each other closely.
    ExponentialDelay {
        /// The first delay.
        initial: Duration,
        /// The longest delay.
        max: Duration,
        /// The factor by which each delay is longer than the one before.
        multiplier: f64,
        /// After this time without a failure the delay is `initial` again, and the count of attempts starts anew.
        reset_after: Duration,
        /// Most restarts without such a pause.
        attempts: u32,
    },
}

impl RestartStrategy {
    /// The default of a job with checkpoints: after one second, then half as long again each time up to a minute, at most ten times within the hour.
    #[must_use]
    pub fn exponential_delay() -> Self {
        Self::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 1.5,
            reset_after: Duration::from_secs(3600),
            attempts: 10,
        }
    }
}
