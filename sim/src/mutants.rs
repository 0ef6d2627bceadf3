//! `cargo sim mutants`: plants one bug after the other and checks whether the simulator finds it.
//!
//! Each `sim/mutants/*.patch` is a bug of the engine; its first line describes it. A patch is applied alone to a scratch copy of the repository, the
//! simulator is built there, and seeds run until an oracle objects. The copy and its builds are kept from one mutant to the next, so that each costs one
//! incremental build. The results are a table in `sim/mutants/README.md`, in which the rows of mutants that were not run stay unchanged.
//!
//! Fails if a mutant survives, or a patch does not apply or does not compile: either is a fault of the simulator, or of the patch.
//!
//! This runs on the machine itself, not in a simulated world: real processes, real files, real time.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "builds and runs programs on the machine itself")]

mod seeds;
mod table;
mod tree;

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use table::{Row, Table};
use tree::{Mutant, ScratchTree};

/// The fate of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An oracle objected, at this seed, after this many seeds.
    Caught { oracle: String, reason: String, seeds: u64 },
    /// All seeds passed, or the time was up.
    Survived { seeds: u64 },
    /// The mutant could not be tried.
    Unusable { reason: String },
}

/// The options of `cargo sim mutants`.
#[derive(Args)]
#[command(
    about = "Plants the bugs of sim/mutants into a copy of the engine, one at a time, and runs seeds until an oracle objects",
    after_help = "Exit codes: 0 all were caught, 1 one has survived, or its patch does not apply or compile, 2 wrong use."
)]
pub struct Options {
    /// Run only the mutants whose names begin with, or contain, this; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Go on where an earlier run stopped: leave out mutants that the table says were caught
    #[arg(long)]
    resume: bool,

    /// Seeds a mutant has to survive
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    seeds: u64,

    /// CPU time a mutant has to survive
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    cpu_seconds: u64,

    /// Processor cores that a build may use; seeds run one after the other
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,

    /// Believe that the unchanged engine passes these seeds, instead of looking first
    #[arg(long)]
    skip_control: bool,

    /// Mutate what is in the working tree, not what was committed last
    #[arg(long)]
    uncommitted: bool,

    /// Where the scratch copy and its builds are kept; outside of the repository
    #[arg(long, value_name = "FOLDER", default_value = "/tmp/thalweg-mutants")]
    scratch: PathBuf,
}

/// Runs the mutants. The error is for a person.
///
/// # Errors
/// If the scratch copy cannot be made or the unchanged engine does not build or does not pass.
pub fn run(options: &Options) -> Result<bool, String> {
    let repository = tree::repository()?;
    let folder = repository.join("sim/mutants");
    let all = tree::mutants(&folder)?;
    let mut table = Table::read(&folder.join("README.md"), &all)?;
    let is_wanted = |mutant: &&Mutant| {
        (options.only.is_empty() || options.only.iter().any(|name| mutant.name.contains(name.as_str())))
            && !(options.resume && table.is_caught(&mutant.name))
    };
    let wanted: Vec<Mutant> = all.iter().filter(is_wanted).cloned().collect();
    if wanted.is_empty() {
        return Err(format!("none of the {} mutants in {} is asked for", all.len(), folder.display()));
    }
    println!("{} mutants, up to {} seeds and {} CPU seconds each", wanted.len(), options.seeds, options.cpu_seconds);
    let tree = ScratchTree::make(&repository, &options.scratch, options.uncommitted, options.jobs)?;
    let engine = tree::commit(options.uncommitted)?;
    let budget = seeds::Budget { seeds: options.seeds, cpu: Duration::from_secs(options.cpu_seconds) };
    if !options.skip_control {
        control(&tree, budget)?;
    }
    let mut all_caught = true;
    for (i, mutant) in wanted.iter().enumerate() {
        print!("[{}/{}] {}: ", i + 1, wanted.len(), mutant.name);
        flush();
        let row = try_one(&tree, mutant, budget, &engine);
        println!("{}", row.told());
        all_caught &= matches!(row.fate, Fate::Caught { .. });
        table.put(row);
        table.write()?;
    }
    println!("{}", table.summary());
    Ok(all_caught)
}

/// Checks that the unchanged engine passes: otherwise a caught mutant proves nothing.
fn control(tree: &ScratchTree, budget: seeds::Budget) -> Result<(), String> {
    print!("the unchanged engine: ");
    flush();
    let (fate, cpu) = seeds::run(&tree.build()?, budget)?;
    match fate {
        Fate::Survived { seeds } => {
            println!("passes {seeds} seeds, {:.1} CPU s", cpu.as_secs_f64());
            Ok(())
        }
        Fate::Caught { oracle, reason, seeds } => Err(format!("it is caught itself, by {oracle} at seed {seeds}: {reason}")),
        Fate::Unusable { reason } => Err(reason),
    }
}

fn flush() {
    use std::io::Write;
    // Progress that cannot be shown is no reason to stop.
    drop(std::io::stdout().flush());
}

/// Applies, builds, runs and reverts one mutant.
fn try_one(tree: &ScratchTree, mutant: &Mutant, budget: seeds::Budget, engine: &str) -> Row {
    let row = |fate, cpu| Row { name: mutant.name.clone(), bug: mutant.bug.clone(), fate, cpu, engine: engine.to_owned() };
    let unusable = |reason| row(Fate::Unusable { reason }, Duration::ZERO);
    if let Err(reason) = tree.apply(mutant) {
        return unusable(reason);
    }
    let row = match tree.build() {
        Err(reason) => unusable(reason),
        Ok(program) => match seeds::run(&program, budget) {
            Ok((fate, cpu)) => row(fate, cpu),
            Err(reason) => unusable(reason),
        },
    };
    match tree.take_back(mutant) {
        Ok(()) => row,
        Err(reason) => unusable(reason),
    }
}
