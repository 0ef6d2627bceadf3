//! Real kills: the flights job is killed with SIGKILL again and again, and shows in the end what a run without mishaps shows, each line once.
//!
//! Some kills come at random moments. Others come between "the checkpoint is complete" and "its results are committed": the sink of this job alone holds a
//! commit up, before or after it does its work, says so with a file, and is killed while it waits. Nothing in the engine knows of it.
//!
//! `cargo test` runs a short form. `scripts/kills` runs the long one; `THALWEG_KILLS` says how many kills, `THALWEG_KILLS_SEED` which moments are drawn.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts and kills processes, in real time")]

mod flights_job;
mod shown;

use flights_job::{become_the_process, example, in_test};
use shown::{
    CHECKPOINTS, FILES, ROWS, Visible, assert_kept, assert_nothing_is_left_behind, assert_shown, checkpoints, names, undisturbed, visible,
};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use thalweg::io::{Io, LocalBoxFuture, Rng, SplitMix};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkError};

/// Which commit is held up, and where in it: `before 2`, `after 1`.
const HOLD: &str = "THALWEG_TEST_HOLD";
/// The file that says a commit is being held up, in the working directory.
const HELD: &str = "held";

/// A sink that can hold its commits up.
#[derive(Clone)]
struct Held<S> {
    sink: S,
    commits: Arc<AtomicU64>,
}

/// Tells that it has come so far, and waits to be killed.
async fn hold() {
    fs::write(HELD, "").unwrap();
    std::future::pending().await
}

impl<S: Sink> Sink for Held<S> {
    type In = S::In;
    type Transaction = S::Transaction;
    type Writer = S::Writer;

    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn location(&self) -> Option<String> {
        self.sink.location()
    }

    fn recover(&self, io: Io, recovery: Recovery<S::Transaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        self.sink.recover(io, recovery)
    }

    fn commit(&self, io: Io, transactions: Vec<S::Transaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        let has_results = !transactions.is_empty();
        let commit = self.sink.commit(io, transactions);
        let number = if has_results { self.commits.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        let chosen = std::env::var(HOLD).unwrap_or_default();
        Box::pin(async move {
            if chosen == format!("before {number}") {
                hold().await;
            }
            commit.await?;
            if chosen == format!("after {number}") {
                hold().await;
            }
            Ok(())
        })
    }

    fn writer(&self, context: SinkContext) -> S::Writer {
        self.sink.writer(context)
    }
}

/// No test: the job, in a process of its own.
#[test]
fn the_process_that_is_killed() {
    become_the_process(|env, args| {
        let (days, late, malformed) = example::results(env, args);
        days.sink(Held { sink: example::days_sink(args), commits: Arc::default() }).name("days").uid("days");
        late.sink(example::late_sink(args)).name("late").uid("late");
        malformed.sink(example::malformed_sink(args)).name("malformed").uid("malformed");
    });
}

/// A checkpoint is complete, and results of an epoch that it names are prepared and not shown.
fn is_complete_and_not_committed(dir: &Path) -> bool {
    let Some(latest) = checkpoints(dir, &["inspect", CHECKPOINTS]) else { return false };
    let files = names(&dir.join("out"));
    latest["transactions"].as_array().unwrap().iter().any(|transaction| {
        // `.part-<job>-<subtask>-<epoch>-<roll>-<attempt>.csv.inprogress` and `part-<job>-<subtask>-<epoch>-<roll>.csv`
        let epoch = transaction["checkpoint"].to_string();
        let of_epoch = || files.iter().filter(|name| name.split('-').nth(3) == Some(&epoch));
        of_epoch().any(|name| name.starts_with('.')) && !of_epoch().any(|name| name.starts_with("part-"))
    })
}

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    After(Duration),
    /// The checkpoint is complete, and nothing of it is shown.
    BeforeCommit(u64),
    /// Its results are shown, and nobody has been told.
    AfterCommit(u64),
}

/// The extent of a test.
struct Extent {
    kills: usize,
    /// How long an undisturbed run of the killed job takes, about.
    seconds: usize,
    interval: &'static str,
    /// Random kills come within this time of the start.
    kill_within_ms: u64,
}

impl Extent {
    fn chosen() -> Self {
        match std::env::var("THALWEG_KILLS") {
            Ok(kills) => {
                let kills = kills.parse().expect("THALWEG_KILLS is a number of kills");
                Self { kills, seconds: 20, interval: "200ms", kill_within_ms: 1_200 }
            }
            Err(_) => Self { kills: 10, seconds: 5, interval: "50ms", kill_within_ms: 600 },
        }
    }
}

/// The whole of a test.
struct Test {
    extent: Extent,
    rng: SplitMix,
    expected: [Vec<String>; 3],
    input: String,
    kills: usize,
    uncommitted: usize,
    started: Instant,
}

impl Test {
    fn new(dir: &Path) -> Self {
        let (input, expected) = undisturbed(dir);
        let seed = std::env::var("THALWEG_KILLS_SEED").map_or(1, |seed| seed.parse().expect("THALWEG_KILLS_SEED is a number"));
        Self { extent: Extent::chosen(), rng: SplitMix::new(seed), expected, input, kills: 0, uncommitted: 0, started: Instant::now() }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// Two in five kills are aimed at a commit.
    fn next_kill(&mut self) -> Kill {
        match self.below(10) {
            0..3 => Kill::BeforeCommit(1 + self.below(3)),
            3 => Kill::AfterCommit(1 + self.below(3)),
            // While it starts and recovers.
            4 => Kill::After(Duration::from_millis(self.below(100))),
            _ => Kill::After(Duration::from_millis(self.below(self.extent.kill_within_ms))),
        }
    }

    fn job(&self, dir: &Path, (cores, parallelism): (usize, usize), rate: Option<usize>) -> Command {
        let (cores, parallelism) = (cores.to_string(), parallelism.to_string());
        let rate = rate.map(|rate| rate.to_string());
        let mut arguments = vec!["run", "--input", &self.input, "--output", "out", "--cores", &cores, "--parallelism", &parallelism];
        arguments.extend(["--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", self.extent.interval]);
        arguments.extend(rate.iter().flat_map(|rate| ["--rate", rate]));
        in_test("the_process_that_is_killed", dir, &arguments)
    }

    /// Runs the job once and kills it. `None` if it has been faster.
    fn run_and_kill(&mut self, dir: &Path, size: (usize, usize), kill: Kill) -> Option<Duration> {
        let held = dir.join(HELD);
        drop(fs::remove_file(&held));
        let rate = ROWS / self.extent.seconds / size.1.min(FILES);
        let mut command = self.job(dir, size, Some(rate));
        match kill {
            Kill::After(_) => {}
            Kill::BeforeCommit(number) => drop(command.env(HOLD, format!("before {number}"))),
            Kill::AfterCommit(number) => drop(command.env(HOLD, format!("after {number}"))),
        }
        let log = fs::File::create(dir.join("stderr")).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}: {}", fs::read_to_string(dir.join("stderr")).unwrap());
                return None;
            }
            let is_time = match kill {
                Kill::After(delay) => started.elapsed() >= delay,
                Kill::BeforeCommit(_) | Kill::AfterCommit(_) => held.exists(),
            };
            if is_time {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(120), "{kill:?} never comes");
            std::thread::sleep(Duration::from_millis(1));
        }
        let at = started.elapsed();
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        Some(at)
    }

    /// One life of the job, from its beginning to its end.
    fn live(&mut self, dir: &Path, round: usize) {
        let mut shown = Visible::new();
        while self.kills < self.extent.kills {
            // In every second life it stays the same.
            let sizes = [(2, 2), (1, 1), (2, 3), (1, 4), (2, 7)];
            let size = sizes[if round.is_multiple_of(2) { 0 } else { self.below(sizes.len() as u64) as usize }];
            let kill = self.next_kill();
            let at = self.run_and_kill(dir, size, kill);
            let now = visible(dir);
            assert_kept(&shown, &now);
            shown = now;
            let Some(at) = at else { break };
            self.kills += 1;
            let is_uncommitted = is_complete_and_not_committed(dir);
            assert!(is_uncommitted || !matches!(kill, Kill::BeforeCommit(_)), "{kill:?} came too late");
            self.uncommitted += usize::from(is_uncommitted);
            let latest = checkpoints(dir, &["list", CHECKPOINTS]).and_then(|list| list["checkpoints"][0]["checkpoint"].as_u64());
            println!(
                "{:>5}  {round:>4}  {:>5}  {:>11}  {:<30}  {:>5} ms  {:>10}  {:>5}  {}",
                self.kills,
                size.0,
                size.1,
                format!("{kill:?}"),
                at.as_millis(),
                latest.map_or_else(|| "none".to_owned(), |latest| latest.to_string()),
                shown.len(),
                if is_uncommitted { "yes" } else { "" }
            );
        }
        self.end(dir, &shown);
    }

    /// The rest of the job, at full speed; then nothing is left to do.
    fn end(&self, dir: &Path, shown: &Visible) {
        let succeed = |mut command: Command| -> String {
            let Output { status, stdout, stderr } = command.output().unwrap();
            assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
            String::from_utf8(stdout).unwrap()
        };
        succeed(self.job(dir, (2, 2), None));
        let all = visible(dir);
        assert_kept(shown, &all);
        assert_shown(&all, &self.expected);
        assert_nothing_is_left_behind(dir);
        let once_more = succeed(self.job(dir, (2, 2), None));
        assert!(once_more.contains("the job has finished before; nothing to do"), "{once_more}");
        assert!(visible(dir) == all);
    }
}

#[test]
fn a_job_that_is_killed_again_and_again_shows_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = Test::new(dir.path());
    println!(" kill  life  cores  parallelism  aimed                           killed at  checkpoint  shown  complete, not committed");
    for round in 1.. {
        let life = dir.path().join(format!("life-{round}"));
        fs::create_dir(&life).unwrap();
        test.live(&life, round);
        if test.kills >= test.extent.kills {
            println!(
                "{} kills in {round} lives, {} of them between complete and committed; {:.1} s",
                test.kills,
                test.uncommitted,
                test.started.elapsed().as_secs_f64()
            );
            break;
        }
    }
    assert!(test.uncommitted * 5 >= test.kills, "only {} of {} kills came between complete and committed", test.uncommitted, test.kills);
}
