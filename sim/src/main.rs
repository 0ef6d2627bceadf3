//! `cargo sim`: runs seeds of the simulator, or one of them again.

use clap::{ArgGroup, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::process::ExitCode;
use thalweg_sim::campaign::{Failure, Summary};
use thalweg_sim::finding::FindingKind;
use thalweg_sim::mutants;
use thalweg_sim::run::{Report, run_once};
use thalweg_sim::scenario::Scenario;

/// The number of runs between two plain lines of progress.
const LINE_EVERY: u64 = 500;

/// The number of failing seeds shown in full before a set of runs is given up.
const FAILURES_MAX: usize = 10;

/// Runs whole jobs of the engine in simulated worlds and judges what they do. Everything about a run follows from its seed.
#[derive(Parser)]
#[command(name = "cargo sim", version, group(ArgGroup::new("what").required(true)))]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
#[command(after_help = "Exit codes: 0 all is well, 1 a wrong result or an oracle objects, 2 wrong use, 3 no progress (deadlock, \
                        spinning), 4 the engine panicked.\nThe last line of a replay is `trace hash: <16 hex digits>`, the same each time.")]
struct Options {
    /// Run this many seeds, fresh ones unless --start says otherwise
    #[arg(long, value_name = "N", group = "what")]
    seeds: Option<u64>,

    /// The first of them; those that follow are start + 1, start + 2, ...
    #[arg(long, value_name = "SEED", requires = "seeds")]
    start: Option<u64>,

    /// Run this one seed and print each transition
    #[arg(long, value_name = "SEED", group = "what")]
    seed: Option<u64>,

    /// Print the transitions up to this one only
    #[arg(long, value_name = "STEP", requires = "seed")]
    until: Option<usize>,

    #[command(subcommand)]
    instead: Option<Instead>,
}

/// What else can be done.
#[derive(Subcommand)]
enum Instead {
    Mutants(mutants::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Instead::Mutants(options)) = options.instead {
        return run_mutants(&options);
    }
    match (options.seed, options.seeds) {
        (Some(seed), _) => replay(seed, options.until.unwrap_or(usize::MAX)),
        (None, seeds) => run_many(seeds.unwrap_or(1), options.start.unwrap_or_else(fresh_start)),
    }
}

/// Plants bugs and reports whether all were caught.
fn run_mutants(options: &mutants::Options) -> ExitCode {
    match mutants::run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

/// A start that no earlier run has used.
#[allow(clippy::disallowed_types, reason = "fresh seeds come from outside, once, and are printed")]
fn fresh_start() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Short enough to be typed.
    RandomState::new().build_hasher().finish() % 1_000_000_000_000
}

fn exit_code(kind: Option<FindingKind>) -> ExitCode {
    ExitCode::from(match kind {
        None => 0,
        Some(FindingKind::Wrong) => 1,
        Some(FindingKind::NoProgress) => 3,
        Some(FindingKind::Crash) => 4,
    })
}

/// Runs one seed with a line for each transition.
fn replay(seed: u64, until: usize) -> ExitCode {
    let mut scenario = Scenario::draw(seed);
    scenario.world.trace_events_kept = usize::MAX;
    println!("{scenario:#?}");
    let first = run_once(&scenario);
    for event in first.events.iter().take(until) {
        println!("{event}");
    }
    println!("{}: {}", first.shape, first.ending);
    println!("{:.3} virtual ms, {} polls, {} tasks", first.stats.elapsed_ns as f64 / 1e6, first.stats.polls, first.stats.tasks);
    // Scenarios that some seeds run more than once are judged here as well.
    let Report { finding, .. } = thalweg_sim::run::run_seed(seed);
    let kind = finding.as_ref().map(|finding| finding.kind);
    match finding {
        Some(finding) => println!("{}", Failure { seed, finding }),
        None => println!("no oracle objects"),
    }
    println!("trace hash: {:016x}", first.trace_hash);
    exit_code(kind)
}

/// Runs `count` seeds from `start` on.
fn run_many(count: u64, start: u64) -> ExitCode {
    println!("{count} seeds from {start} on (again: cargo sim --seeds {count} --start {start})");
    let is_terminal = std::io::stderr().is_terminal();
    let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(count), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left {msg}") {
        bar.set_style(style);
    }
    let mut summary = Summary::default();
    for seed in (0..count).map(|n| start.wrapping_add(n)) {
        let told = summary.failures.len();
        summary.run(seed);
        if let Some(failure) = summary.failures.get(told) {
            bar.suspend(|| println!("{failure}"));
            bar.set_message(format!("({} failed)", told + 1));
        }
        bar.inc(1);
        if !is_terminal && summary.runs % LINE_EVERY == 0 {
            println!("{} seeds, {} failed", summary.runs, summary.failures.len());
        }
        if summary.failures.len() == FAILURES_MAX {
            println!("given up after {FAILURES_MAX} failures");
            break;
        }
    }
    let elapsed = bar.elapsed().as_secs_f64();
    bar.finish_and_clear();
    println!(
        "{} seeds in {elapsed:.1} s, {:.0} runs/s, {} failed",
        summary.runs,
        summary.runs as f64 / elapsed.max(1e-9),
        summary.failures.len()
    );
    println!("{summary}");
    exit_code(summary.worst())
}
