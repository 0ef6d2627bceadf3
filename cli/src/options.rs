//! The engine's options, the same for every job.

use super::checkpoint_options::CheckpointOptions;
use super::metrics_options::MetricsOptions;
use super::restart_options::RestartOptions;
use clap::builder::RangedU64ValueParser;
use thalweg_io::Cores;
use thalweg_io::uring::UringCores;
use thalweg_kernel::StreamExecutionEnvironment;

/// The highest number of threads accepted: more than any machine has CPUs, so a typing error.
pub(super) const CORES_MAX: u64 = 1024;

/// Options of the engine.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Engine options")]
pub(super) struct EngineOptions {
    /// Threads to run on, each pinned to a CPU of its own [default: as many as there are CPUs]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=CORES_MAX))]
    cores: Option<usize>,

    /// Parallel instances of each operator [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    parallelism: Option<usize>,

    /// Slow each source instance down to N records a second, to make a run last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// Make every operator a task of its own, to find out which one does what (slower)
    #[arg(long)]
    disable_operator_chaining: bool,

    /// Take folders of results over that belong to another job, if you know that it does not run any more: it shows nothing there from then on
    #[arg(long)]
    take_over_output: bool,

    /// Print nothing but errors
    #[arg(long, short)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) checkpoints: CheckpointOptions,

    #[command(flatten)]
    restarts: RestartOptions,

    #[command(flatten)]
    metrics: MetricsOptions,
}

impl EngineOptions {
    pub(super) fn cores(&self) -> usize {
        self.cores.unwrap_or_else(|| UringCores::new().available())
    }

    /// Whether the user has set the number of cores.
    #[cfg(feature = "cluster")]
    pub(super) fn names_cores(&self) -> bool {
        self.cores.is_some()
    }

    /// Applies the options that concern the description of the job, before any operator is added to it.
    ///
    /// # Errors
    /// If options contradict each other; says how.
    pub(super) fn apply(&self, env: &StreamExecutionEnvironment) -> Result<(), String> {
        if let Some(parallelism) = self.parallelism {
            env.set_parallelism(parallelism);
        }
        env.set_source_rate(self.rate);
        if self.disable_operator_chaining {
            env.disable_operator_chaining();
        }
        env.take_over_output(self.take_over_output);
        self.checkpoints.apply(env);
        self.metrics.apply(env);
        self.restarts.apply(env)
    }
}
