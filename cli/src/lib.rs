//! The command line of a job binary.
//!
//! A job's `main` is one call of [`run`]; its own options are a `clap::Args` struct, listed beside those of the engine in `run --help`:
//!
//! ```no_run
//! # mod thalweg { pub use thalweg_cli as cli; }
//! use thalweg::cli::{self, About};
//!
//! #[derive(clap::Args)]
//! struct CountArgs {
//!     /// How far to count
//!     #[arg(long, default_value_t = 10)]
//!     to: u64,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let about = About { job: "count", what: "Counts", examples: &[("count run --to 3", "to three")] };
//!     cli::run::<CountArgs>(about, |env, args| {
//!         env.from_collection((1..=args.to).collect()).for_each(|n| println!("{n}"));
//!     })
//! }
//! ```
//!
//! The user sees a progress line on a terminal, a log line every few seconds elsewhere (`RUST_LOG` chooses the log level), a summary at the end, and errors
//! as one sentence on stderr. A panic prints nothing of its own: a job that fails by a panic reports operator, record and place.
//!
//! # Signals and exit codes
//!
//! On the first Ctrl-C (or SIGTERM) a job with a checkpoint folder takes a final checkpoint and stops, and the same command resumes from it; a job without
//! one is cancelled, and its uncommitted results are removed. A second signal ends the process at once.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | The job has finished, had finished before, or was stopped with a checkpoint. |
//! | 1 | The job failed, or something is in its way that may pass: an address that is taken, or memory that is used up, say. |
//! | 2 | It is no use to try again: an option, or input, output or a checkpoint that cannot be meant, a checkpoint that is damaged, a folder that cannot be used, io_uring forbidden. |
//! | 130 | Interrupted: cancelled, or ended at once by a second signal. |
//!
//! A stop with a checkpoint is an orderly end: nothing is lost, and somebody asked for it. Because of the 0, a supervisor that restarts a job after
//! failures (systemd's `Restart=on-failure`, say) leaves it stopped. Whether a job has finished is told by the summary, and to programs by `checkpoints
//! list --json`.
//!
//! Besides `run` there are `coordinator` and `worker`, which run the same job in several processes, `checkpoints list` and `checkpoints inspect`, which
//! look into a checkpoint folder and change nothing, and `doctor`, which checks the machine: it ends with 0 if all is well and with 1 if not. A coordinator
//! ends as `run` does. A worker ends with 0 when the job has ended on request or by itself, and when it was itself stopped by a signal: nothing is lost,
//! the job goes on without it, and a supervisor that restarts workers after failures leaves it stopped. It ends with 1 if the job failed, and with 2 if it
//! was refused or cannot run on its machine.

mod bottleneck;
mod checkpoint_options;
mod checkpoints;
#[cfg(feature = "cluster")]
mod cluster_options;
mod cures;
mod doctor;
mod exit_code;
mod metrics_options;
mod on_core;
mod options;
mod progress;
mod restart_options;
mod spans;
mod state_sizes;
mod summary;
mod terminal;
#[cfg(feature = "cluster")]
mod worker;
mod workers;

pub use spans::{duration, positive_duration};

use checkpoints::CheckpointsCommand;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
#[cfg(feature = "cluster")]
use cluster_options::{CoordinatorOptions, WorkerOptions, told};
use doctor::DoctorOptions;
use exit_code::{DONE, FAILED, INTERRUPTED, WRONG_USE, exit_code, fail};
use options::EngineOptions;
use progress::Progress;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::ffi::OsString;
use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thalweg_io::uring::UringCores;
use thalweg_io::{block_on_for, silence_panics, take_panic_place};
use thalweg_kernel::Job;
use thalweg_kernel::StreamExecutionEnvironment;
use thalweg_kernel::{JobError, JobHandle, JobReport};

/// How often a running job is polled, for its progress and for Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// The subcommand that reads checkpoint folders.
const CHECKPOINTS: &str = "checkpoints";
/// The subcommand that checks the machine.
const DOCTOR: &str = "doctor";
/// The subcommands of the processes of a cluster.
#[cfg(feature = "cluster")]
const COORDINATOR: &str = "coordinator";
#[cfg(feature = "cluster")]
const WORKER: &str = "worker";

/// A job's description for `--help`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The job's name, which is also the binary's.
    pub job: &'static str,
    /// A description of the job, in a sentence or two.
    pub what: &'static str,
    /// Example command lines, each with its purpose.
    pub examples: &'static [(&'static str, &'static str)],
}

impl About {
    fn command<A: Args>(&self) -> Command {
        let width = self.examples.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
        let example = |(line, purpose): &(&str, &str)| format!("\n  {line:width$}   {purpose}");
        let examples = format!("Examples:{}", self.examples.iter().map(example).collect::<String>());
        let of_job = |name| EngineOptions::augment_args(A::augment_args(Command::new(name))).long_about(self.what);
        let run = of_job("run").about("Run the job on this machine").after_help(examples.clone());
        #[cfg(feature = "cluster")]
        let [coordinator, worker] = {
            // Workers set their own number of cores.
            let coordinator = CoordinatorOptions::augment_args(of_job(COORDINATOR).mut_arg("cores", |cores| cores.hide(true)))
                .about("Run the job on workers, here and on other machines");
            let worker = WorkerOptions::augment_args(Command::new(WORKER)).about("Work for a coordinator, which says what the job is");
            [coordinator, worker]
        };
        let command = Command::new(self.job)
            .about(self.what)
            .after_help(examples)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .subcommand(run);
        #[cfg(feature = "cluster")]
        let command = command.subcommand(coordinator).subcommand(worker);
        command
            .subcommand(
                DoctorOptions::augment_args(Command::new(DOCTOR)).about("Find out what would keep a job from running on this machine"),
            )
            .subcommand(
                CheckpointsCommand::augment_subcommands(Command::new(CHECKPOINTS))
                    .about("Look into a checkpoint folder")
                    .subcommand_required(true),
            )
    }
}

/// Reads the command line, describes the job with `build`, runs it, and prints the outcome. To be called once, by `main`, which returns the result.
///
/// A worker describes the job anew for each coordinator that it joins, and all processes must arrive at the same description: `build` must depend only on
/// its arguments, and on nothing that differs from machine to machine.
pub fn run<A: Args>(about: About, build: impl Fn(&StreamExecutionEnvironment, &A) + Send + 'static) -> ExitCode {
    ExitCode::from(run_from(std::env::args_os(), about, build))
}

/// The same with a given command line, which begins with the program's name. Returns the exit code.
pub fn run_from<A, I>(command_line: I, about: About, build: impl Fn(&StreamExecutionEnvironment, &A) + Send + 'static) -> u8
where
    A: Args,
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    silence_panics();
    let command_line: Vec<OsString> = command_line.into_iter().map(Into::into).collect();
    let matches = match about.command::<A>().try_get_matches_from(&command_line) {
        Ok(matches) => matches,
        Err(asked) => return finish_parsing(&asked),
    };
    match matches.subcommand() {
        Some((CHECKPOINTS, matches)) => match CheckpointsCommand::from_arg_matches(matches) {
            Ok(command) => command.run(),
            Err(error) => finish_parsing(&error),
        },
        Some((DOCTOR, matches)) => match DoctorOptions::from_arg_matches(matches) {
            Ok(options) => options.run(),
            Err(error) => finish_parsing(&error),
        },
        #[cfg(feature = "cluster")]
        Some((COORDINATOR, matches)) => {
            // Skip the program and the subcommand.
            coordinate(about, matches, command_line.get(2..).unwrap_or_default(), build)
        }
        #[cfg(feature = "cluster")]
        Some((WORKER, matches)) => match WorkerOptions::from_arg_matches(matches) {
            Ok(options) => {
                terminal::start_logging(options.quiet);
                worker::work(about, &options, build)
            }
            Err(error) => finish_parsing(&error),
        },
        run => {
            let matches = run.map(|(_, matches)| matches.clone()).unwrap_or_default();
            run_job(about, &matches, build, "starting", |job, options| job.start(&UringCores::new(), options.cores()))
        }
    }
}

#[cfg(feature = "cluster")]
fn coordinate<A: Args>(
    about: About,
    matches: &ArgMatches,
    arguments: &[OsString],
    build: impl FnOnce(&StreamExecutionEnvironment, &A),
) -> u8 {
    let options = match CoordinatorOptions::from_arg_matches(matches) {
        Ok(options) => options,
        Err(error) => return finish_parsing(&error),
    };
    run_job(about, matches, build, "waiting for workers", |job, engine| {
        if engine.names_cores() {
            return Err(JobError::invalid("--cores is for workers: the coordinator itself needs one"));
        }
        let (cores, config) = options.config(told(arguments)?)?;
        job.start_coordinator(&cores, config)
    })
}

fn run_job<A: Args>(
    about: About,
    matches: &ArgMatches,
    build: impl FnOnce(&StreamExecutionEnvironment, &A),
    waits: &'static str,
    start: impl FnOnce(Job, &EngineOptions) -> Result<JobHandle, JobError>,
) -> u8 {
    let parsed = A::from_arg_matches(matches).and_then(|args| Ok((args, EngineOptions::from_arg_matches(matches)?)));
    let (args, options) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return finish_parsing(&error),
    };
    terminal::start_logging(options.quiet);
    match catch_unwind(AssertUnwindSafe(|| execute(about.job, &options, waits, |env| build(env, &args), start))) {
        Ok(code) => code,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let place = take_panic_place().map(|place| format!(" ({place})")).unwrap_or_default();
            fail(format_args!("the job could not be put together: {}{place}", text.unwrap_or("a panic without a text")), FAILED)
        }
    }
}

/// Prints clap's message: help and version are successes, everything else is wrong use.
fn finish_parsing(error: &clap::Error) -> u8 {
    // If this cannot be printed, nobody can be told.
    let _ = error.print();
    if error.use_stderr() { WRONG_USE } else { DONE }
}

fn execute(
    name: &str,
    options: &EngineOptions,
    waits: &'static str,
    build: impl FnOnce(&StreamExecutionEnvironment),
    start: impl FnOnce(Job, &EngineOptions) -> Result<JobHandle, JobError>,
) -> u8 {
    let env = StreamExecutionEnvironment::new();
    if let Err(contradiction) = options.apply(&env) {
        return fail(contradiction, WRONG_USE);
    }
    build(&env);
    let (report, outputs) = match run_to_end(env, name, options, waits, start) {
        Ok(ended) => ended,
        Err(JobError::Cancelled) if options.checkpoints.is_enabled() => {
            return fail(
                "interrupted while no attempt was running; run the same command again to go on from the latest checkpoint",
                INTERRUPTED,
            );
        }
        Err(JobError::Cancelled) => return fail("interrupted: the job was cancelled and shows no results", INTERRUPTED),
        Err(error) => {
            return fail(cures::explained(&error), exit_code(&error, options.checkpoints.names_a_checkpoint()));
        }
    };
    if !options.quiet {
        let _ = write!(stdout(), "{}", summary::describe(&report, &outputs));
    }
    DONE
}

/// The report of the finished job, and the place of each sink's results.
type Ended = (JobReport, Vec<(String, String)>);

fn run_to_end(
    env: StreamExecutionEnvironment,
    name: &str,
    options: &EngineOptions,
    waits: &'static str,
    start: impl FnOnce(Job, &EngineOptions) -> Result<JobHandle, JobError>,
) -> Result<Ended, JobError> {
    let interrupted = on_interrupt()?;
    let job = env.build(name)?;
    let outputs = job.outputs().map(|(operator, place)| (operator.to_owned(), place.to_owned())).collect();
    let mut handle = start(job, options)?;
    let mut progress = Progress::new(options.quiet, waits);
    let mut is_ending = false;
    loop {
        if let Some(result) = block_on_for(Pin::new(&mut handle), TICK) {
            progress.finish();
            return result.map(|report| (report, outputs));
        }
        progress.tick(TICK, &handle.metrics());
        if !is_ending && interrupted.load(Ordering::Relaxed) {
            is_ending = true;
            if options.checkpoints.is_enabled() {
                handle.stop_with_checkpoint();
                tracing::info!(target: "thalweg::job", "stopping with a checkpoint; once more ends the process at once");
            } else {
                handle.cancel();
            }
        }
    }
}

/// A flag that the first signal raises; the second signal ends the process.
fn on_interrupt() -> Result<Arc<AtomicBool>, JobError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first of the two looks at the flag before the second raises it.
        flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&interrupted))
            .and_then(|_| flag::register(signal, Arc::clone(&interrupted)))
            .map_err(|error| JobError::invalid(format!("cannot watch for Ctrl-C: {error}")))?;
    }
    Ok(interrupted)
}
