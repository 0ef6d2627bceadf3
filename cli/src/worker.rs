//! `worker`: runs subtasks for a coordinator elsewhere, which defines the job.

use super::cluster_options::{WorkerOptions, follow};
use super::cures::explained;
use super::exit_code::{DONE, FAILED, exit_code, fail};
use super::options::EngineOptions;
use super::progress::Progress;
use super::{About, COORDINATOR, TICK, on_interrupt};
use clap::{Args, FromArgMatches};
use std::io::{Write, stdout};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use thalweg_cluster::{WorkerConfig, WorkerReport, start_worker_with_description};
use thalweg_io::block_on_for;
use thalweg_io::uring::UringCores;
use thalweg_kernel::Job;
use thalweg_kernel::JobError;
use thalweg_kernel::StreamExecutionEnvironment;

/// Works until the job has ended, or until it is stopped. Returns the exit code.
pub(super) fn work<A: Args>(about: About, options: &WorkerOptions, build: impl Fn(&StreamExecutionEnvironment, &A) + Send + 'static) -> u8 {
    let ended = options
        .config()
        .and_then(|(cores, config)| run_to_end(&cores, config, options.quiet, move |told, bytes| described(about, told, bytes, &build)));
    let report = match ended {
        Ok(report) => report,
        Err(error) => return fail(explained(&error), exit_code(&error, false)),
    };
    if let Some(failure) = report.failure {
        return fail(format_args!("the job has failed: {failure}"), FAILED);
    }
    if !options.quiet {
        let ended = if report.stopped { "this worker was stopped, and the job goes on without it" } else { "the job has ended" };
        let sessions = report.sessions;
        let times = if sessions == 1 { "once".to_owned() } else { format!("{sessions} times") };
        let _ = writeln!(stdout(), "{}: {ended}; it had joined a coordinator {times}", about.job);
    }
    DONE
}

/// The job, described by the coordinator's arguments.
fn described<A: Args>(
    about: About,
    told: &[String],
    bytes: &Arc<[u8]>,
    build: &impl Fn(&StreamExecutionEnvironment, &A),
) -> Result<Job, JobError> {
    let command_line = [about.job, COORDINATOR].into_iter().chain(follow(told)?.iter().map(|argument| &**argument));
    let not_understood = |error: clap::Error| JobError::invalid(format!("the coordinator's options cannot be understood here: {error}"));
    let matches = about.command::<A>().try_get_matches_from(command_line).map_err(not_understood)?;
    let matches = matches.subcommand().map(|(_, matches)| matches.clone()).unwrap_or_default();
    let args = A::from_arg_matches(&matches).map_err(not_understood)?;
    let options = EngineOptions::from_arg_matches(&matches).map_err(not_understood)?;
    let env = StreamExecutionEnvironment::new();
    options.apply(&env).map_err(JobError::invalid)?;
    env.set_description_bytes(Arc::clone(bytes));
    build(&env, &args);
    env.build(about.job)
}

fn run_to_end(
    cores: &UringCores,
    config: WorkerConfig,
    quiet: bool,
    build: impl Fn(&[String], &Arc<[u8]>) -> Result<Job, JobError> + Send + 'static,
) -> Result<WorkerReport, JobError> {
    let interrupted = on_interrupt()?;
    let mut handle = start_worker_with_description(cores, config, build)?;
    let control = handle.control();
    let mut progress = Progress::new(quiet, "waiting for the coordinator");
    let mut is_ending = false;
    loop {
        if let Some(result) = block_on_for(Pin::new(&mut handle), TICK) {
            progress.finish();
            return result;
        }
        progress.tick(TICK, &control.metrics());
        if !is_ending && interrupted.load(Ordering::Relaxed) {
            is_ending = true;
            tracing::info!(target: "thalweg::job", "leaving; once more ends the process at once");
            control.stop();
        }
    }
}
