//! Real kills in a cluster: a coordinator and two workers, each a process, are killed with SIGKILL again and again, alone and by twos, and are started again
//! after a while. In the end there is what a run without mishaps shows, each line once; nothing that was visible ever changes.
//!
//! Then the faults after which a process is *not* dead: a worker that stands still (SIGSTOP) until the others have given it up, and one whose network is cut
//! off. The job goes on without it; when it is back it changes nothing, and joins again.
//!
//! `cargo test` runs short forms. `scripts/kills --cluster` runs the long one; `THALWEG_CLUSTER_KILLS` says how many kills, `THALWEG_KILLS_SEED` which
//! moments are drawn. `scripts/kills --recovery` measures how long a job stands still when a worker dies (`THALWEG_RECOVERIES` says how often).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts and kills processes, in real time")]

#[path = "../flights_job/mod.rs"]
mod flights_job;
#[path = "../processes/mod.rs"]
mod processes;
#[path = "../shown/mod.rs"]
mod shown;
mod zombies;

use processes::{Process, coordinator, free_address, in_place_of, newest_checkpoint, signal, wait_until, worker};
use shown::{CHECKPOINTS, FILES, ROWS, Visible, assert_kept, assert_nothing_is_left_behind, assert_shown, undisturbed, visible};
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use thalweg::io::{Rng, SplitMix};
use zombies::Network;

/// One of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Coordinator,
    Worker1,
    Worker2,
}

use Who::{Coordinator, Worker1, Worker2};

const ALL: [Who; 3] = [Coordinator, Worker1, Worker2];

impl Who {
    fn name(self) -> &'static str {
        match self {
            Coordinator => "coordinator",
            Worker1 => "worker-1",
            Worker2 => "worker-2",
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cluster with a folder of its own.
struct Cluster {
    dir: PathBuf,
    at: SocketAddr,
    /// What the coordinator is told besides where it listens.
    options: Vec<String>,
    processes: [Option<Process>; 3],
    /// Where the processes are, if it is not the network of this machine.
    network: Option<Network>,
    /// What was visible when it was looked at last.
    shown: Visible,
}

/// Restarts that never end: an hour of kills is no reason to give up.
const RESTARTS: [&str; 6] = ["--restart-strategy", "fixed-delay", "--restart-attempts", "1000000", "--restart-delay", "10ms"];

impl Cluster {
    /// In `dir`, of a job that reads `input`.
    fn new(dir: PathBuf, input: &str, options: &[&str]) -> Self {
        fs::create_dir(&dir).unwrap();
        let usual = ["--input", input, "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--parallelism", "2"];
        let options = usual.iter().chain(options).map(|option| (*option).to_owned()).collect();
        Self { dir, at: free_address(), options, processes: [None, None, None], network: None, shown: Visible::new() }
    }

    fn command(&self, who: Who) -> Command {
        let data = format!("{}:0", Network::address(who));
        let data = if self.network.is_some() { vec!["--data", &data] } else { vec![] };
        let command = match who {
            Coordinator => coordinator(&self.dir, self.at, &self.options.iter().map(String::as_str).collect::<Vec<_>>()),
            Worker1 | Worker2 => worker(&self.dir, who.name(), self.at, &data),
        };
        match &self.network {
            Some(network) => network.within(who, &command),
            None => command,
        }
    }

    fn start(&mut self, who: Who) {
        let process = Process::start(self.command(who), &self.dir, who.name());
        self.processes[who as usize] = Some(process);
    }

    fn process(&mut self, who: Who) -> &mut Process {
        self.processes[who as usize].as_mut().unwrap()
    }

    fn kill(&mut self, who: Who) {
        self.process(who).kill();
    }

    /// Whether the job has ended by itself, as all processes of a job that ends must: without a failure.
    #[track_caller]
    fn has_ended(&mut self) -> bool {
        for who in ALL {
            let process = self.process(who);
            if let Some(status) = process.ended().filter(|status| status.code().is_some()) {
                assert!(status.success(), "the {who} has ended, {status}: {}", process.log());
            }
        }
        self.process(Coordinator).ended().is_some_and(|status| status.success())
    }

    /// Checks that what was visible is what it was.
    #[track_caller]
    fn look(&mut self) {
        let now = visible(&self.dir);
        assert_kept(&self.shown, &now);
        self.shown = now;
    }

    fn newest(&self) -> (u64, u64) {
        newest_checkpoint(&self.dir.join(CHECKPOINTS)).unwrap_or_default()
    }

    /// Waits until an attempt that began after `before` has completed a checkpoint; false if the job ends first.
    #[track_caller]
    fn wait_to_go_on(&mut self, before: (u64, u64)) -> bool {
        let mut has_ended = false;
        wait_until("the job goes on", || {
            has_ended = self.has_ended();
            has_ended || self.newest().1 > before.1
        });
        !has_ended
    }

    /// How often a worker has joined.
    fn joined(&mut self, who: Who) -> usize {
        self.process(who).log().matches("joined as worker").count()
    }

    /// Kills what still runs, runs the job to its end at full speed, and checks all that must hold then.
    #[track_caller]
    fn end(&mut self, expected: &[Vec<String>; 3]) {
        ALL.iter()
            .filter(|who| self.processes[**who as usize].is_some())
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|who| self.kill(who));
        self.look();
        // At full speed; and with all workers, of which each is to end with the job: one that joins when the coordinator is gone would wait for the next.
        for unwanted in ["--rate", "--worker-wait"] {
            if let Some(at) = self.options.iter().position(|option| option == unwanted) {
                self.options.drain(at..at + 2);
            }
        }
        for round in 0..2 {
            ALL.into_iter().for_each(|who| self.start(who));
            for who in ALL {
                let code = self.process(who).code();
                assert_eq!(code, 0, "the {who}: {}", self.process(who).log());
            }
            self.look();
            assert_shown(&self.shown, expected);
            let says = self.process(Coordinator).output();
            assert!(round == 0 || says.contains("the job has finished before; nothing to do"), "{says}");
        }
        assert_nothing_is_left_behind(&self.dir);
    }
}

/// The extent of the test of kills.
struct Extent {
    kills: usize,
    /// How long an undisturbed run takes, about.
    seconds: usize,
    interval: &'static str,
    /// Kills come within this time after the one before was made good.
    within_ms: u64,
    /// Processes are started again within this time.
    restart_ms: u64,
    worker_wait: &'static str,
}

impl Extent {
    fn chosen() -> Self {
        match std::env::var("THALWEG_CLUSTER_KILLS") {
            Ok(kills) => {
                let kills = kills.parse().expect("THALWEG_CLUSTER_KILLS is a number of kills");
                let (within_ms, restart_ms, worker_wait) = (1_500, 1_500, "500ms");
                Self { kills, seconds: 20, interval: "200ms", within_ms, restart_ms, worker_wait }
            }
            Err(_) => {
                let (within_ms, restart_ms, worker_wait) = (700, 500, "200ms");
                Self { kills: 6, seconds: 8, interval: "50ms", within_ms, restart_ms, worker_wait }
            }
        }
    }
}

struct Kills {
    extent: Extent,
    rng: SplitMix,
    killed: usize,
    started: Instant,
}

impl Kills {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// One in four kills takes two at once.
    fn victims(&mut self) -> Vec<Who> {
        let first = ALL[self.below(3) as usize];
        if self.below(4) > 0 {
            return vec![first];
        }
        let other = ALL[(first as usize + 1 + self.below(2) as usize) % 3];
        vec![first, other]
    }

    /// One life of the job, from its beginning to its end.
    fn live(&mut self, life: usize, dir: PathBuf, input: &str, expected: &[Vec<String>; 3]) {
        let rate = (ROWS / self.extent.seconds / 2.min(FILES)).to_string();
        let wait = ["--rate", &rate, "--checkpoint-interval", self.extent.interval, "--worker-wait", self.extent.worker_wait];
        let mut cluster = Cluster::new(dir, input, &[&RESTARTS[..], &wait].concat());
        ALL.into_iter().for_each(|who| cluster.start(who));
        while self.killed < self.extent.kills {
            let (victims, delay) = (self.victims(), Duration::from_millis(self.below(self.extent.within_ms)));
            std::thread::sleep(delay);
            if cluster.has_ended() {
                break;
            }
            let before = cluster.newest();
            victims.iter().for_each(|who| cluster.kill(*who));
            self.killed += 1;
            cluster.look();
            let mut restarts: Vec<(u64, Who)> = victims.iter().map(|who| (self.below(self.extent.restart_ms), *who)).collect();
            restarts.sort_unstable_by_key(|restart| restart.0);
            let mut passed = 0;
            for (at, who) in &restarts {
                std::thread::sleep(Duration::from_millis(at - passed));
                passed = *at;
                cluster.start(*who);
            }
            // Half of the kills come whatever the job has come to, the others when it has gone on.
            let waits = self.below(2) == 0;
            let goes_on = !waits || cluster.wait_to_go_on(before);
            cluster.look();
            let (victims, restarts): (Vec<_>, Vec<_>) = restarts.iter().map(|(at, who)| (who.name(), format!("{at} ms"))).unzip();
            println!(
                "{:>5}  {life:>4}  {:<22}  {:>6} ms  {:<17}  {:>4}-{:<5}  {:>5}  {}",
                self.killed,
                victims.join(", "),
                delay.as_millis(),
                restarts.join(", "),
                before.0,
                before.1,
                cluster.shown.len(),
                match (waits, goes_on) {
                    (false, _) => "",
                    (true, true) => "goes on",
                    (true, false) => "ends",
                }
            );
            if !goes_on {
                break;
            }
        }
        cluster.end(expected);
    }
}

fn seed() -> SplitMix {
    SplitMix::new(std::env::var("THALWEG_KILLS_SEED").map_or(1, |seed| seed.parse().expect("THALWEG_KILLS_SEED is a number")))
}

#[test]
fn a_cluster_whose_processes_are_killed_again_and_again_shows_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let (input, expected) = undisturbed(dir.path());
    let mut kills = Kills { extent: Extent::chosen(), rng: seed(), killed: 0, started: Instant::now() };
    println!(" kill  life  killed                  after      started again      checkpoint  shown");
    for life in 1.. {
        kills.live(life, dir.path().join(format!("life-{life}")), &input, &expected);
        if kills.killed >= kills.extent.kills {
            println!("{} kills in {life} lives; {:.1} s", kills.killed, kills.started.elapsed().as_secs_f64());
            return;
        }
    }
}

/// How long a job stands still when a worker dies, all by the usual settings but for an interval of checkpoints that lets it be seen. A measurement, which
/// `scripts/kills --recovery` asks for; it fails if a recovery takes five seconds.
#[test]
fn recovery_of_a_killed_worker() {
    let Ok(times) = std::env::var("THALWEG_RECOVERIES") else { return };
    let times: usize = times.parse().expect("THALWEG_RECOVERIES is a number");
    let dir = tempfile::tempdir().unwrap();
    let (input, expected) = undisturbed(dir.path());
    for comes_back in [true, false] {
        let mut took: Vec<Duration> = (0..times)
            .map(|time| {
                let life = dir.path().join(format!("life-{comes_back}-{time}"));
                let rate = (ROWS / 60 / 2).to_string();
                let mut cluster = Cluster::new(life, &input, &["--rate", &rate, "--checkpoint-interval", "100ms"]);
                ALL.into_iter().for_each(|who| cluster.start(who));
                cluster.wait_to_go_on((0, 0));
                // Some more checkpoints, at a moment that is another one each time.
                std::thread::sleep(Duration::from_millis(500 + 37 * time as u64));
                let before = cluster.newest();
                let killed = Instant::now();
                cluster.kill(Worker2);
                if comes_back {
                    cluster.start(Worker2);
                }
                assert!(cluster.wait_to_go_on(before));
                let took = killed.elapsed();
                if time == 0 {
                    cluster.end(&expected);
                }
                took
            })
            .collect();
        took.sort_unstable();
        let [median, max] = [took[times / 2], took[times - 1]].map(|took| took.as_secs_f64());
        let what = if comes_back { "is started again at once" } else { "does not come back" };
        println!(
            "a killed worker {what}: from the kill to the next complete checkpoint, {times} times: median {median:.2} s, max {max:.2} s"
        );
        assert!(max < 5.0);
    }
}
