//! Real kills in a cluster: a coordinator and two workers, each a process, are killed with SIGKILL again and again, alone and by twos, and are started again
//! after a while. In the end there is what a run without mishaps shows, each line once; nothing that was visible ever changes.
//!
//! Then the faults after which a process is *not* dead: a worker that stands still (SIGSTOP) until the others have given it up, and one whose network is cut
//! off. The job goes on without it; when it is back it changes nothing, and joins again.
//!
//! `cargo test` runs short forms. `scripts/kills --cluster` runs the long one; `THALWEG_CLUSTER_KILLS` says how many kills, `THALWEG_KILLS_SEED` which
//! moments are drawn. `scripts/kills --recovery` measures how long a job stands still when a worker dies (`THALWEG_RECOVERIES` says how often).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts and kills processes, in real time")]

mod flights_job;
mod processes;
mod shown;

use processes::{Process, coordinator, free_address, in_place_of, newest_checkpoint, signal, wait_until, worker};
use shown::{CHECKPOINTS, FILES, ROWS, Visible, assert_kept, assert_nothing_is_left_behind, assert_shown, undisturbed, visible};
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use thalweg::io::{Rng, SplitMix};

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

/// How long a worker stands still, and what is configured.
fn zombie(stands_still: Duration, heartbeats: &[&str], seconds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (input, expected) = undisturbed(dir.path());
    let rate = (ROWS / seconds / 2).to_string();
    let options = ["--rate", &rate, "--checkpoint-interval", "50ms", "--worker-wait", "200ms"];
    let mut cluster = Cluster::new(dir.path().join("life"), &input, &[&RESTARTS[..], &options, heartbeats].concat());
    ALL.into_iter().for_each(|who| cluster.start(who));
    cluster.wait_to_go_on((0, 0));
    let before = cluster.newest();
    let stopped = Instant::now();
    signal(cluster.process(Worker2).id(), "STOP");
    assert!(cluster.wait_to_go_on(before), "it goes on without the worker");
    let gone_on = stopped.elapsed();
    std::thread::sleep(stands_still.saturating_sub(gone_on));
    cluster.look();
    let before = cluster.newest();
    assert_eq!(cluster.joined(Worker2), 1);
    signal(cluster.process(Worker2).id(), "CONT");
    let woken = Instant::now();
    assert!(cluster.wait_to_go_on(before), "it goes on with the worker: {}", cluster.process(Worker2).log());
    println!(
        "a worker that stood still for {:.1} s: the job went on after {:.1} s, and with the worker {:.1} s after it woke",
        stands_still.as_secs_f64(),
        gone_on.as_secs_f64(),
        woken.elapsed().as_secs_f64()
    );
    assert_eq!(cluster.joined(Worker2), 2, "{}", cluster.process(Worker2).log());
    cluster.look();
    cluster.end(&expected);
}

#[test]
fn a_worker_that_stands_still_is_left_behind_changes_nothing_and_joins_again() {
    zombie(Duration::from_secs(2), &["--heartbeat-interval", "100ms", "--heartbeat-timeout", "500ms"], 30);
}

/// The long form of the test before, with the usual heartbeats.
#[test]
fn a_worker_that_stands_still_for_ten_seconds() {
    if std::env::var("THALWEG_CLUSTER_KILLS").is_ok() {
        zombie(Duration::from_secs(10), &[], 60);
    }
}

/// Three network namespaces of this machine around a switch, one for each process. They go away with this value.
struct Network {
    /// What the names begin with; interfaces have at most 15 letters.
    prefix: String,
}

/// The network between coordinator and workers.
const SUBNET: &str = "10.197.41";
const PORT: u16 = 7100;

impl Network {
    fn ip(arguments: &str) -> Result<(), String> {
        let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
        let said = || format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
        output.status.success().then_some(()).ok_or_else(said)
    }

    fn new() -> Result<Self, String> {
        let network = Self { prefix: format!("tw{:x}", std::process::id()) };
        let prefix = &network.prefix;
        Self::ip(&format!("netns add {prefix}s"))?;
        Self::ip(&format!("-n {prefix}s link add switch type bridge"))?;
        Self::ip(&format!("-n {prefix}s link set switch up"))?;
        for who in ALL {
            let (space, port) = (network.space(who), Self::port(who));
            Self::ip(&format!("netns add {space}"))?;
            Self::ip(&format!("-n {prefix}s link add {port} type veth peer name eth0 netns {space}"))?;
            Self::ip(&format!("-n {prefix}s link set {port} master switch up"))?;
            Self::ip(&format!("-n {space} address add {}/24 dev eth0", Self::address(who)))?;
            Self::ip(&format!("-n {space} link set eth0 up"))?;
            Self::ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(network)
    }

    fn space(&self, who: Who) -> String {
        format!("{}{}", self.prefix, who as usize)
    }

    fn port(who: Who) -> String {
        format!("port{}", who as usize)
    }

    fn address(who: Who) -> String {
        format!("{SUBNET}.{}", who as usize + 1)
    }

    /// Pulls the cable of a process, or plugs it in. Nobody is told of either.
    fn set(&self, who: Who, state: &str) {
        Self::ip(&format!("-n {}s link set {} {state}", self.prefix, Self::port(who))).unwrap();
    }

    /// The same command where `who` is.
    fn within(&self, who: Who, usual: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(who)]).arg(usual.get_program()).args(usual.get_args());
        command.env("THALWEG_SECRET", "the secret of this cluster");
        in_place_of(usual, command)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // With a namespace its ends of the cables go.
        ALL.into_iter().map(|who| self.space(who)).chain([format!("{}s", self.prefix)]).for_each(|space| {
            drop(Self::ip(&format!("netns delete {space}")));
        });
    }
}

#[test]
fn a_worker_whose_network_is_cut_off_is_left_behind_and_joins_again() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(reason) => {
            eprintln!("SKIPPED: network namespaces cannot be made here, which takes root and `ip`: {reason}");
            return;
        }
    };
    let is_long = std::env::var("THALWEG_CLUSTER_KILLS").is_ok();
    let heartbeats = ["--heartbeat-interval", "100ms", "--heartbeat-timeout", "500ms"];
    let (heartbeats, cut_off, seconds) =
        if is_long { (&[][..], Duration::from_secs(10), 60) } else { (&heartbeats[..], Duration::from_secs(2), 30) };
    let dir = tempfile::tempdir().unwrap();
    let (input, expected) = undisturbed(dir.path());
    let rate = (ROWS / seconds / 2).to_string();
    let options = ["--rate", &rate, "--checkpoint-interval", "50ms", "--worker-wait", "200ms"];
    let mut cluster = Cluster::new(dir.path().join("life"), &input, &[&RESTARTS[..], &options, heartbeats].concat());
    cluster.at = format!("{}:{PORT}", Network::address(Coordinator)).parse().unwrap();
    cluster.network = Some(network);
    ALL.into_iter().for_each(|who| cluster.start(who));
    cluster.wait_to_go_on((0, 0));
    for who in [Worker2, Coordinator] {
        let before = cluster.newest();
        let joined = cluster.joined(Worker2);
        let cut = Instant::now();
        cluster.network.as_ref().unwrap().set(who, "down");
        if who == Worker2 {
            assert!(cluster.wait_to_go_on(before), "it goes on without the worker");
        }
        let gone_on = cut.elapsed();
        std::thread::sleep(cut_off.saturating_sub(gone_on));
        cluster.look();
        let before = cluster.newest();
        cluster.network.as_ref().unwrap().set(who, "up");
        let healed = Instant::now();
        assert!(cluster.wait_to_go_on(before), "it goes on with all: {}", cluster.process(Worker2).log());
        let all = healed.elapsed();
        println!(
            "the {who} was cut off for {:.1} s{}; with all of them it went on {:.1} s after that",
            cut_off.as_secs_f64(),
            if who == Worker2 { format!(", the job went on without it after {:.1} s", gone_on.as_secs_f64()) } else { String::new() },
            all.as_secs_f64()
        );
        wait_until("the worker has joined again", || cluster.joined(Worker2) > joined);
        cluster.look();
    }
    cluster.end(&expected);
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
