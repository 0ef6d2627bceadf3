//! Workers that are not dead and seem so: one that stands still, and one whose network is cut off.

use super::*;

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
pub struct Network {
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

    pub fn address(who: Who) -> String {
        format!("{SUBNET}.{}", who as usize + 1)
    }

    /// Pulls the cable of a process, or plugs it in. Nobody is told of either.
    fn set(&self, who: Who, state: &str) {
        Self::ip(&format!("-n {}s link set {} {state}", self.prefix, Self::port(who))).unwrap();
    }

    /// The same command where `who` is.
    pub fn within(&self, who: Who, usual: &Command) -> Command {
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
