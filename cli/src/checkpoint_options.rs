//! Options about checkpoints.

use super::spans::{duration, positive_duration};
use clap::builder::RangedU64ValueParser;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;
use thalweg_kernel::StreamExecutionEnvironment;
use thalweg_kernel::{CheckpointConfig, Restore};

/// Where, how often, and what to begin with.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Checkpoint options")]
pub(super) struct CheckpointOptions {
    /// The folder for the job's checkpoints, created if need be: a job that was killed or stopped goes on from there
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,

    /// From the beginning of one checkpoint to that of the next [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = positive_duration, requires = "checkpoint_dir")]
    checkpoint_interval: Option<Duration>,

    /// Give up a checkpoint that is not complete after this time [default: 10min]
    #[arg(long, value_name = "TIME", value_parser = positive_duration, requires = "checkpoint_dir")]
    checkpoint_timeout: Option<Duration>,

    /// Least time between the end of one checkpoint and the beginning of the next [default: 0]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "checkpoint_dir")]
    min_pause: Option<Duration>,

    /// How many checkpoints in a row may be given up before the job fails [default: 0]
    #[arg(long, value_name = "N", requires = "checkpoint_dir")]
    tolerable_failed_checkpoints: Option<u32>,

    /// How many checkpoints to keep [default: 1]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..), requires = "checkpoint_dir")]
    retain: Option<usize>,

    /// Begin with the latest checkpoint if there is one, with none, or with the one whose chk-*.metadata file (or folder) this is [default: latest]
    #[arg(long, value_name = "latest|none|PATH", value_parser = restore, requires = "checkpoint_dir")]
    restore: Option<Restore>,

    /// Leave state behind that belongs to operators which the job does not have any more
    #[arg(long, requires = "checkpoint_dir")]
    allow_non_restored_state: bool,

    /// Remove results that are later than the checkpoint to begin with, which would be shown twice otherwise
    #[arg(long, requires = "checkpoint_dir")]
    discard_later_output: bool,
}

impl CheckpointOptions {
    /// Whether the job takes checkpoints.
    pub(super) fn is_enabled(&self) -> bool {
        self.checkpoint_dir.is_some()
    }

    /// Whether the user has named the checkpoint to begin with.
    pub(super) fn names_a_checkpoint(&self) -> bool {
        matches!(self.restore, Some(Restore::From(_)))
    }

    pub(super) fn apply(&self, env: &StreamExecutionEnvironment) {
        let Some(dir) = &self.checkpoint_dir else { return };
        let usual = CheckpointConfig::new(dir);
        let config = CheckpointConfig::new(dir)
            .interval(self.checkpoint_interval.or(usual.interval))
            .timeout(self.checkpoint_timeout.unwrap_or(usual.timeout))
            .min_pause(self.min_pause.unwrap_or(usual.min_pause))
            .tolerable_failures(self.tolerable_failed_checkpoints.unwrap_or(usual.tolerable_failures))
            .retained(self.retain.unwrap_or(usual.retained))
            .restore(self.restore.clone().unwrap_or_default())
            .allow_non_restored_state(self.allow_non_restored_state)
            .discard_later_output(self.discard_later_output);
        env.enable_checkpointing(config);
    }
}

/// Parses a value of `--restore`. A file or folder called `latest` or `none` is written `./latest`.
fn restore(text: &str) -> Result<Restore, Infallible> {
    Ok(match text {
        "latest" => Restore::Latest,
        "none" => Restore::None,
        path => Restore::From(path.into()),
    })
}
