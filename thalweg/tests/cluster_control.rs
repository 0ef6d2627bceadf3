//! A coordinator and workers, each on cores of its own in this process, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it looks for a free port, and for the results"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thalweg::cluster::{ClusterConfig, Heartbeat, Secret, WorkerConfig, WorkerHandle, WorkerReport, binary_fingerprint, start_worker};
use thalweg::connectors::{FileSink, GeneratorSource};
use thalweg::io::uring::UringCores;
use thalweg::io::{CoreMain, Cores, block_on, mailbox};
use thalweg::{
    CheckpointConfig, EngineSettings, Job, JobEnding, JobError, JobHandle, JobReport, RestartStrategy, StreamExecutionEnvironment,
};

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Counts numbers by their last digit, into a folder.
fn describe(options: &[String]) -> Result<Job, JobError> {
    let [numbers, folder] = options else { return Err(JobError::invalid("how many numbers, and where to?")) };
    let numbers: u64 = numbers.parse().map_err(|_| JobError::invalid("how many numbers?"))?;
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(EngineSettings::default().metrics_interval_ms(20));
    let digits = env.from_collection((0..numbers).collect::<Vec<u64>>()).map(|n| (n % 10, 1u64));
    let counts = digits.key_by::<u64>(|(digit, _)| *digit).reduce(|(digit, a), (_, b)| (digit, a + b));
    counts.sink(FileSink::lines(folder, |(digit, count), line| line.push_str(&format!("{digit} {count}"))));
    env.build("digits")
}

fn worker(config: WorkerConfig) -> WorkerHandle {
    start_worker(&UringCores::new(), config, describe).unwrap()
}

const NUMBERS: u64 = 1000;

struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> Vec<String> {
        vec![NUMBERS.to_string(), self.dir.path().join("out").to_str().unwrap().to_owned()]
    }

    fn job(&self) -> Job {
        describe(&self.options()).unwrap()
    }

    /// The highest count of each digit.
    fn counts(&self) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for part in std::fs::read_dir(self.dir.path().join("out")).unwrap() {
            for line in std::fs::read_to_string(part.unwrap().path()).unwrap().lines() {
                let (digit, count) = line.split_once(' ').unwrap();
                let highest: &mut u64 = counts.entry(digit.parse().unwrap()).or_default();
                *highest = count.parse::<u64>().unwrap().max(*highest);
            }
        }
        counts
    }
}

fn expected() -> BTreeMap<u64, u64> {
    (0..10).map(|digit| (digit, NUMBERS / 10)).collect()
}

#[test]
fn two_workers_do_the_work_of_a_job_and_end_with_it() {
    let (at, folder) = (free_port(), Folder::new());
    let secret = Secret::new("the secret of the cluster").unwrap();
    let config = ClusterConfig::new(at, 2).options(folder.options()).secret(secret.clone());
    let handle = folder.job().start_coordinator(&UringCores::new(), config).unwrap();
    let workers = [1, 1].map(|cores| worker(WorkerConfig::new(at, cores).secret(secret.clone())));
    let report = handle.wait().unwrap();
    for worker in workers {
        let report = worker.wait().unwrap();
        assert_eq!((report.failure, report.stopped, report.sessions), (None, false, 1));
    }
    assert_eq!(folder.counts(), expected());
    let names: BTreeSet<_> = report.metrics.iter().filter_map(|metric| metric.worker.clone()).collect();
    assert_eq!(names.len(), 2, "both have reported numbers: {names:?}");
}

#[test]
fn a_worker_with_another_binary_or_job_or_secret_is_refused_and_told_why() {
    let (at, folder) = (free_port(), Folder::new());
    let config = ClusterConfig::new(at, 1).options(folder.options()).binary(7);
    let handle = folder.job().start_coordinator(&UringCores::new(), config).unwrap();
    let refused = worker(WorkerConfig::new(at, 1).binary(8)).wait().unwrap_err().to_string();
    assert!(refused.contains("0000000000000008") && refused.contains("0000000000000007"), "{refused}");
    let other = start_worker(&UringCores::new(), WorkerConfig::new(at, 1).binary(7), |_| {
        let env = StreamExecutionEnvironment::new();
        let _ = env.from_collection(vec![1u64]).collect();
        env.build("digits")
    });
    let refused = other.unwrap().wait().unwrap_err().to_string();
    assert!(refused.contains("job with the fingerprint"), "{refused}");
    let panics = start_worker(&UringCores::new(), WorkerConfig::new(at, 1).binary(7), |_| panic!("no such option"));
    let refused = panics.unwrap().wait().unwrap_err().to_string();
    assert!(refused.contains("no such option"), "{refused}");
    let secret = Secret::new("the secret of the cluster").unwrap();
    let refused = worker(WorkerConfig::new(at, 1).binary(7).secret(secret)).wait().unwrap_err().to_string();
    assert!(refused.contains("has no secret"), "{refused}");
    let good = worker(WorkerConfig::new(at, 1).binary(7));
    handle.wait().unwrap();
    good.wait().unwrap();
    assert_eq!(folder.counts(), expected());
}

#[test]
fn strangers_change_nothing() {
    let (at, folder) = (free_port(), Folder::new());
    let secret = Secret::new("the secret of the cluster").unwrap();
    let config = ClusterConfig::new(at, 2).options(folder.options()).secret(secret.clone());
    let handle = folder.job().start_coordinator(&UringCores::new(), config).unwrap();
    let call = || loop {
        match TcpStream::connect(at) {
            Ok(stream) => return stream,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    // More than the coordinator keeps: silent ones, half greetings, garbage, floods.
    let mut strangers: Vec<TcpStream> = (0..200).map(|_| call()).collect();
    for (i, stranger) in strangers.iter_mut().enumerate() {
        let garbage = match i % 4 {
            0 => continue,
            1 => b"THALWEG>".to_vec(),
            2 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            _ => vec![i as u8; 1 << 16],
        };
        // It may have been closed already.
        let _ = stranger.write_all(&garbage);
    }
    let workers = [1, 1].map(|cores| worker(WorkerConfig::new(at, cores).secret(secret.clone())));
    handle.wait().unwrap();
    for worker in workers {
        worker.wait().unwrap();
    }
    assert_eq!(folder.counts(), expected());
}

#[test]
fn an_address_that_is_taken_is_the_failure_of_the_job() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let failed =
        Folder::new().job().start_coordinator(&UringCores::new(), ClusterConfig::new(taken.local_addr().unwrap(), 1)).unwrap().wait();
    let Err(error @ JobError::Listen { .. }) = failed else { panic!("it is taken") };
    assert!(error.to_string().contains("choose another address or port"), "{error}");
}

#[test]
fn a_worker_without_a_coordinator_waits_and_can_be_stopped() {
    let waiting = worker(WorkerConfig::new(free_port(), 1));
    std::thread::sleep(Duration::from_millis(200));
    waiting.stop();
    let report = waiting.wait().unwrap();
    assert_eq!((report.failure, report.stopped, report.sessions), (None, true, 0));
}

#[test]
fn contradictions_are_found_before_anything_starts() {
    let heartbeat = Heartbeat { interval: Duration::from_secs(1), timeout: Duration::from_secs(1) };
    assert!(Folder::new().job().start_coordinator(&UringCores::new(), ClusterConfig::new(free_port(), 1).heartbeat(heartbeat)).is_err());
    let open = start_worker(&UringCores::new(), WorkerConfig::new(free_port(), 1).data("0.0.0.0:1".parse().unwrap()), |_| unreachable!());
    assert!(open.is_err());
}

/// What a relay does with the bytes of its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Works,
    /// Nothing arrives, and nobody is told: a cable that was pulled.
    Silent,
    /// Every connection is closed, and none comes about.
    Down,
}

/// Stands between a worker and its coordinator.
struct Relay {
    at: SocketAddr,
    coordinator: Arc<Mutex<SocketAddr>>,
    network: Arc<Mutex<Network>>,
}

impl Relay {
    fn to(coordinator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, network) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Network::Works)));
        let coordinator = Arc::new(Mutex::new(coordinator));
        let (shared, target) = (Arc::clone(&network), Arc::clone(&coordinator));
        std::thread::spawn(move || {
            for caller in listener.incoming() {
                let (Ok(caller), Ok(called)) = (caller, TcpStream::connect(*target.lock().unwrap())) else { continue };
                for (from, to) in [(&caller, &called), (&called, &caller)] {
                    let (from, to, network) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&shared));
                    std::thread::spawn(move || relay(from, to, &network));
                }
            }
        });
        Self { at, coordinator, network }
    }

    fn set(&self, network: Network) {
        *self.network.lock().unwrap() = network;
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, network: &Mutex<Network>) {
    from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut bytes = [0; 4096];
    let mut was_silent = false;
    loop {
        let network = *network.lock().unwrap();
        was_silent |= network == Network::Silent;
        // What was held back once never arrives: the connection is of no use any more, and stays open.
        let read = match from.read(&mut bytes) {
            Ok(count) => Some(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(_) => Some(0),
        };
        if read == Some(0) || network == Network::Down {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        if let Some(count) = read.filter(|_| !was_silent)
            && to.write_all(&bytes[..count]).is_err()
        {
            return;
        }
    }
}

/// An endless job that goes on from its checkpoints until it is stopped.
fn endless(options: &[String]) -> Result<Job, JobError> {
    let [dir] = options else { return Err(JobError::invalid("where to?")) };
    let dir = Path::new(dir);
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2).set_source_rate(Some(2000));
    env.enable_checkpointing(CheckpointConfig::new(dir.join("checkpoints")).interval(Duration::from_millis(50)));
    env.set_restart_strategy(RestartStrategy::FixedDelay { attempts: 20, delay: Duration::from_millis(10) });
    env.source(GeneratorSource::unbounded(|n| n))
        .key_by::<u64>(|n| n % 10)
        .reduce(|a, b| a.max(b))
        .sink(FileSink::lines(dir.join("out"), |n: u64, line| line.push_str(&n.to_string())));
    env.build("endless")
}

/// Two workers, one behind a relay, and what happens to its network in the middle of an endless job.
fn with_a_relay(trouble: impl FnOnce(&Relay, &JobHandle)) -> (JobReport, [WorkerReport; 2]) {
    let (at, dir) = (free_port(), tempfile::tempdir().unwrap());
    let options = vec![dir.path().to_str().unwrap().to_owned()];
    let heartbeat = Heartbeat { interval: Duration::from_millis(50), timeout: Duration::from_millis(500) };
    let config = ClusterConfig::new(at, 2).options(options.clone()).heartbeat(heartbeat).worker_wait(Duration::from_secs(60));
    let handle = endless(&options).unwrap().start_coordinator(&UringCores::new(), config).unwrap();
    let relay = Relay::to(at);
    let workers = [at, relay.at].map(|at| {
        let config = WorkerConfig::new(at, 1).heartbeat(heartbeat).reconnect_max(Duration::from_millis(100));
        start_worker(&UringCores::new(), config, endless).unwrap()
    });
    until("it has begun", || handle.metrics().total("numberOfCompletedCheckpoints") > 0);
    trouble(&relay, &handle);
    until("it goes on", || handle.metrics().total("numRestarts") > 0);
    let before = handle.metrics().total("numberOfCompletedCheckpoints");
    until("it goes on", || handle.metrics().total("numberOfCompletedCheckpoints") > before + 1);
    handle.stop_with_checkpoint();
    let report = handle.wait().unwrap();
    (report, workers.map(|worker| worker.wait().unwrap()))
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_whose_connection_breaks_joins_again_and_the_job_goes_on() {
    let (report, workers) = with_a_relay(|relay, _| {
        relay.set(Network::Down);
        std::thread::sleep(Duration::from_millis(300));
        relay.set(Network::Works);
    });
    assert!(matches!(report.ending, JobEnding::Stopped(_)));
    assert_eq!(workers.map(|worker| worker.sessions), [1, 2]);
}

#[test]
fn a_silent_network_is_noticed_on_both_sides_within_the_timeout() {
    let (report, workers) = with_a_relay(|relay, handle| {
        let begun = Instant::now();
        relay.set(Network::Silent);
        until("it is noticed", || handle.metrics().total("numRestarts") > 0);
        let noticed = begun.elapsed();
        assert!(noticed > Duration::from_millis(400) && noticed < Duration::from_secs(3), "{noticed:?}");
        relay.set(Network::Works);
    });
    assert!(matches!(report.ending, JobEnding::Stopped(_)));
    assert_eq!(workers.map(|worker| worker.sessions), [1, 2]);
}

#[test]
fn workers_whose_coordinator_is_gone_join_its_successor_which_goes_on_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = vec![dir.path().to_str().unwrap().to_owned()];
    let heartbeat = Heartbeat { interval: Duration::from_millis(50), timeout: Duration::from_millis(500) };
    let coordinator = |at| {
        let config = ClusterConfig::new(at, 2).options(options.clone()).heartbeat(heartbeat).worker_wait(Duration::from_secs(600));
        endless(&options).unwrap().start_coordinator(&UringCores::new(), config).unwrap()
    };
    let completed = |handle: &JobHandle| handle.metrics().total("numberOfCompletedCheckpoints");
    let at = free_port();
    let first = coordinator(at);
    let relay = Relay::to(at);
    let workers = [1, 1].map(|cores| {
        let config = WorkerConfig::new(relay.at, cores).heartbeat(heartbeat).reconnect_max(Duration::from_millis(100));
        start_worker(&UringCores::new(), config, endless).unwrap()
    });
    until("it has begun", || completed(&first) > 1);
    relay.set(Network::Down);
    until("the first has lost its workers", || first.metrics().total("numRestarts") > 0);
    let at = free_port();
    let second = coordinator(at);
    std::thread::sleep(Duration::from_millis(300));
    *relay.coordinator.lock().unwrap() = at;
    relay.set(Network::Works);
    until("the successor has gone on", || completed(&second) > 1);
    second.stop_with_checkpoint();
    let report = second.wait().unwrap();
    assert!(matches!(report.ending, JobEnding::Stopped(_)) && report.restored.is_some());
    for worker in workers {
        let report = worker.wait().unwrap();
        assert_eq!((report.failure, report.sessions), (None, 2));
    }
    first.cancel();
    assert!(first.wait().is_err());
}

#[test]
fn the_fingerprint_of_the_running_program_is_that_of_its_file() {
    let (sender, mut receiver) = mailbox();
    let main: CoreMain =
        Box::new(move |_, io| Box::pin(async move { drop(sender.send(binary_fingerprint(&io).await.map_err(|error| error.to_string()))) }));
    UringCores::new().start(vec![main]).unwrap().join();
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(block_on(receiver.recv()), Some(Ok(xxhash_rust::xxh3::xxh3_64(&file))));
}
