//! Runs the seeds of a mutant in a process of its own, which may panic, hang or spin.

use super::Fate;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often the time limits are checked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Clock ticks per second in `/proc`; the same on every Linux machine that we know of.
const TICKS_PER_SECOND: u64 = 100;

/// The wall-clock limit as a multiple of the CPU limit: for a mutant that sleeps instead of spinning, or waits for a busy machine.
const WALL_PER_CPU: u32 = 6;

/// The reason why a mutant that does not finish a seed is caught.
const HANGS: &str = "the simulator itself hangs: the engine does not give its thread back";

/// The limits that a mutant has to survive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) seeds: u64,
    pub(super) cpu: Duration,
}

/// Runs seeds from 1 on until one fails or the budget is used up. Also returns the CPU time.
pub(super) fn run(program: &Path, budget: Budget) -> Result<(Fate, Duration), String> {
    let mut command = Command::new(program);
    command.args(["--start", "1", "--seeds", &budget.seeds.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let Some(stdout) = child.stdout.take() else { return Err("the simulator has no output".to_owned()) };
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let watched = watch(&mut child, &lines, budget);
    // The child may have ended by itself.
    drop(child.kill());
    drop(child.wait());
    Ok(watched)
}

/// Reads the simulator's output until the fate is decided.
fn watch(child: &mut Child, lines: &Receiver<String>, budget: Budget) -> (Fate, Duration) {
    let begun = Instant::now();
    let mut cpu = Duration::ZERO;
    let mut passed = 0;
    loop {
        match lines.recv_timeout(LOOK_EVERY) {
            Ok(line) => {
                cpu = cpu_time(child).unwrap_or(cpu);
                if let Some(fate) = finding(&line) {
                    return (fate, cpu);
                }
                // "500 seeds, 0 failed"
                passed = line.split_once(" seeds, ").and_then(|(seeds, _)| seeds.parse().ok()).unwrap_or(passed);
            }
            Err(RecvTimeoutError::Timeout) => {
                cpu = cpu_time(child).unwrap_or(cpu);
                if cpu >= budget.cpu {
                    return (Fate::Survived { seeds: passed }, cpu);
                }
                if begun.elapsed() >= budget.cpu * WALL_PER_CPU {
                    return (Fate::Caught { oracle: "hang".to_owned(), reason: HANGS.to_owned(), seeds: passed + 1 }, cpu);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return (ended(child, budget), cpu),
        }
    }
}

/// The simulator has ended without reporting a failing seed.
fn ended(child: &mut Child, budget: Budget) -> Fate {
    match child.wait() {
        Ok(status) if matches!(status.code(), Some(0 | 1)) => Fate::Survived { seeds: budget.seeds },
        Ok(status) => Fate::Caught { oracle: "process".to_owned(), reason: format!("the simulator died: {status}"), seeds: budget.seeds },
        Err(error) => Fate::Unusable { reason: format!("the simulator cannot be waited for: {error}") },
    }
}

/// Reads `seed <n>: oracle <name>: <reason>`.
fn finding(line: &str) -> Option<Fate> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(": oracle ")?;
    let (oracle, reason) = rest.split_once(": ").unwrap_or((rest, ""));
    Some(Fate::Caught { oracle: oracle.to_owned(), reason: reason.to_owned(), seeds: seed.parse().ok()? })
}

/// The CPU time that a process has used, while it lives.
fn cpu_time(child: &Child) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The program's name, in parentheses, may contain spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_read_from_the_line_that_tells_it() {
        let caught = Fate::Caught { oracle: "result".to_owned(), reason: "two rows: a, b".to_owned(), seeds: 17 };
        assert_eq!(finding("seed 17: oracle result: two rows: a, b"), Some(caught));
        for other in ["500 seeds, 0 failed", "  reproduce: cargo sim --seed 17", "seed x: oracle a: b", ""] {
            assert_eq!(finding(other), None, "{other}");
        }
    }
}
