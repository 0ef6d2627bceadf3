//! Whole jobs in several "processes": a coordinator and workers that share nothing but sockets and a folder. Here all of them are threads of one process,
//! each with cores of its own; `kills.rs` starts real ones.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thalweg::cluster::{ClusterConfig, Heartbeat, WorkerConfig, WorkerHandle, start_worker, start_worker_with_description};
use thalweg::connectors::{FileSink, GeneratorSource};
use thalweg::io::uring::UringCores;
use thalweg::{
    AggregateFunction, CheckpointConfig, CheckpointOutcome, EngineSettings, Job, JobEnding, JobError, JobHandle, JobOutcome, JobReport,
    Record, RestartStrategy, StreamExecutionEnvironment,
};

/// Something with a string that is too long to lie inline in an archive.
#[derive(Clone, Debug, PartialEq, Record)]
struct Sale {
    shop: String,
    cents: u64,
}

#[derive(Clone, Debug, Default, Record)]
struct Till {
    sales: u64,
    cents: u64,
}

#[derive(Clone)]
struct Add;

impl AggregateFunction<Sale> for Add {
    type Accumulator = Till;
    type Output = Till;

    fn create_accumulator(&self) -> Till {
        Till::default()
    }

    fn add(&self, sale: SaleRef<'_>, till: &mut Till) {
        till.sales += 1;
        till.cents += sale.cents;
    }

    fn merge(&self, other: Till, till: &mut Till) {
        till.sales += other.sales;
        till.cents += other.cents;
    }

    fn get_result(&self, till: &Till) -> Till {
        till.clone()
    }
}

const SHOPS: u64 = 200;

/// What a job is made of. The same in every process, told by the coordinator's options.
#[derive(Clone)]
struct Setting {
    dir: PathBuf,
    sales: u64,
    parallelism: usize,
    channel_frames: usize,
    frame_records: usize,
    interval_ms: u64,
    rate: Option<u64>,
}

impl Setting {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), sales: 20_000, parallelism: 2, channel_frames: 8, frame_records: 1024, interval_ms: 20, rate: None }
    }

    fn options(&self) -> Vec<String> {
        let numbers = [self.sales, self.parallelism as u64, self.channel_frames as u64, self.frame_records as u64, self.interval_ms];
        let rate = self.rate.unwrap_or(0);
        [self.dir.display().to_string()].into_iter().chain(numbers.iter().chain([&rate]).map(u64::to_string)).collect()
    }

    fn of_options(options: &[String]) -> Self {
        let number = |i: usize| options[i].parse::<u64>().unwrap();
        Self {
            dir: options[0].clone().into(),
            sales: number(1),
            parallelism: number(2) as usize,
            channel_frames: number(3) as usize,
            frame_records: number(4) as usize,
            interval_ms: number(5),
            rate: Some(number(6)).filter(|rate| *rate > 0),
        }
    }

    /// Every sale, and the running till of its shop behind it.
    fn job(&self) -> Result<Job, JobError> {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(self.parallelism).set_source_rate(self.rate);
        let (channel_frames, frame_records) = (self.channel_frames, self.frame_records);
        env.set_engine_settings(EngineSettings::default().channel_frames(channel_frames).frame_records(frame_records));
        env.enable_checkpointing(CheckpointConfig::new(self.dir.join("checkpoints")).interval(Duration::from_millis(self.interval_ms)));
        env.set_restart_strategy(RestartStrategy::FixedDelay { attempts: 20, delay: Duration::from_millis(10) });
        env.source(GeneratorSource::new(self.sales, |n| Sale { shop: shop(n % SHOPS), cents: n }))
            .key_by::<String>(|sale| sale.shop)
            .aggregate(Add, |shop, till| format!("{shop},{},{}", till.sales, till.cents))
            .sink(FileSink::lines(self.dir.join("out"), |line, out| out.push_str(line)));
        env.build("tills")
    }

    /// The last till of each shop.
    fn expected(&self) -> BTreeMap<String, (u64, u64)> {
        let mut tills = BTreeMap::new();
        for n in 0..self.sales {
            let till: &mut (u64, u64) = tills.entry(shop(n % SHOPS)).or_default();
            *till = (till.0 + 1, till.1 + n);
        }
        tills
    }
}

fn shop(number: u64) -> String {
    format!("the shop at the corner of street {number}")
}

/// Checks that each shop's tills were shown one after the other up to the last, each once.
fn check(setting: &Setting) {
    let mut lines: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for entry in fs::read_dir(setting.dir.join("out")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("part-"), "{name} was left behind");
        for line in fs::read_to_string(path).unwrap().lines() {
            let mut fields = line.rsplitn(3, ',');
            let mut next = || fields.next().unwrap().to_owned();
            let (cents, sales, shop) = (next().parse().unwrap(), next().parse().unwrap(), next());
            lines.entry(shop).or_default().push((sales, cents));
        }
    }
    let expected = setting.expected();
    assert_eq!(lines.len(), expected.len());
    for (shop, mut tills) in lines {
        tills.sort_unstable();
        let counts: Vec<u64> = tills.iter().map(|(sales, _)| *sales).collect();
        assert_eq!(counts, (1..=expected[&shop].0).collect::<Vec<_>>(), "{shop}");
        assert_eq!(tills.last(), Some(&expected[&shop]), "{shop}");
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Quick enough for a test, slow enough for a busy machine.
fn heartbeat() -> Heartbeat {
    Heartbeat { interval: Duration::from_millis(100), timeout: Duration::from_secs(2) }
}

fn config(setting: &Setting, workers: usize) -> ClusterConfig {
    ClusterConfig::new(free_address(), workers).options(setting.options()).heartbeat(heartbeat()).worker_wait(Duration::from_millis(300))
}

fn coordinator(setting: &Setting, config: &ClusterConfig) -> JobHandle {
    setting.job().unwrap().start_coordinator(&UringCores::new().with_spin_limit(0), config.clone()).unwrap()
}

fn worker(config: &ClusterConfig, cores: usize) -> WorkerHandle {
    let worker = WorkerConfig::new(config.listen, cores).heartbeat(config.heartbeat);
    start_worker(&UringCores::new().with_spin_limit(0), worker, |options| Setting::of_options(options).job()).unwrap()
}

fn run(setting: &Setting, workers: &[usize]) -> JobReport {
    let config = config(setting, workers.len());
    let handle = coordinator(setting, &config);
    let workers: Vec<_> = workers.iter().map(|cores| worker(&config, *cores)).collect();
    let report = handle.wait().unwrap();
    workers.into_iter().for_each(|worker| drop(worker.wait().unwrap()));
    report
}

#[test]
fn a_job_of_two_workers_shows_what_it_shows_alone_and_both_do_their_part() {
    let dir = TempDir::new().unwrap();
    let setting = Setting::new(dir.path());
    let report = run(&setting, &[1, 1]);
    assert_eq!(report.ending, JobEnding::Finished);
    check(&setting);
    assert_eq!(report.metrics.total("numRecordsRebuilt"), 0, "strings are read in place");
    // Each source sends about half of its records to the other worker.
    let (sent, received) = (report.metrics.total("numRecordsOutRemote"), report.metrics.total("numRecordsInRemote"));
    assert_eq!(sent, received);
    assert!((setting.sales / 3..setting.sales).contains(&(sent as u64)), "{sent}");
    assert!(report.metrics.total("numBytesInRemote") > sent * 30);
    let held: Vec<_> = report.metrics.iter().filter(|metric| metric.name == "numStateEntries").collect();
    assert_eq!(held.iter().map(|metric| metric.value as u64).sum::<u64>(), SHOPS, "a till for each shop");
    assert!(held.len() == 2 && held[0].worker != held[1].worker && held.iter().all(|metric| metric.worker.is_some()), "{held:?}");
    let key_groups: Vec<u32> = report.workers.iter().map(|worker| worker.key_groups).collect();
    assert_eq!(key_groups, [64, 64]);
}

#[test]
fn every_window_of_credits_and_every_spread_of_cores_does_it() {
    for (channel_frames, frame_records, workers, parallelism) in
        [(0, 1, &[1, 1][..], 2), (0, 64, &[1, 2], 3), (1, 1, &[1, 1, 1], 4), (1, 1000, &[2], 2), (8, 7, &[2, 1], 128), (64, 1, &[1, 1], 1)]
    {
        let dir = TempDir::new().unwrap();
        let sales = if frame_records == 1 { 2_000 } else { 10_000 };
        let setting = Setting { channel_frames, frame_records, parallelism, sales, ..Setting::new(dir.path()) };
        run(&setting, workers);
        check(&setting);
    }
}

/// Waits until the job has completed some checkpoints, from now on.
fn wait_for_checkpoints(dir: &Path, count: usize) {
    let until = Instant::now() + Duration::from_secs(30);
    let newest = || {
        let entries = fs::read_dir(dir.join("checkpoints")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let numbers = names.filter_map(|name| name.strip_prefix("log-")?.strip_suffix(".entry")?.parse::<usize>().ok());
        numbers.max().unwrap_or(0)
    };
    let before = newest();
    while newest() < before + count {
        assert!(Instant::now() < until, "no checkpoints");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_stopped_with_a_checkpoint_goes_on_with_other_workers_cores_and_parallelism() {
    let dir = TempDir::new().unwrap();
    let mut setting = Setting { rate: Some(4_000), ..Setting::new(dir.path()) };
    for (workers, parallelism) in [(&[1, 1][..], 2), (&[1], 5), (&[2, 1, 1], 3)] {
        setting.parallelism = parallelism;
        let config = config(&setting, workers.len());
        let handle = coordinator(&setting, &config);
        let workers: Vec<_> = workers.iter().map(|cores| worker(&config, *cores)).collect();
        wait_for_checkpoints(dir.path(), 3);
        handle.stop_with_checkpoint();
        assert!(matches!(handle.wait().unwrap().ending, JobEnding::Stopped(_)));
        workers.into_iter().for_each(|worker| drop(worker.wait().unwrap()));
    }
    let setting = Setting { rate: None, parallelism: 128, ..setting };
    let report = run(&setting, &[1, 1]);
    assert!(report.restored.is_some());
    check(&setting);
}

#[test]
fn a_worker_that_leaves_and_another_that_comes_cost_restarts_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let setting = Setting { rate: Some(3_000), ..Setting::new(dir.path()) };
    let config = config(&setting, 2);
    let handle = coordinator(&setting, &config);
    let first = worker(&config, 1);
    let second = worker(&config, 1);
    wait_for_checkpoints(dir.path(), 3);
    second.stop();
    drop(second.wait());
    // Long enough for the job to go on with the one that is left.
    std::thread::sleep(Duration::from_millis(500));
    let third = worker(&config, 2);
    let report = handle.wait().unwrap();
    assert!(report.restarts >= 2, "one without the second worker, one with the third: {}", report.restarts);
    assert_eq!(report.workers.iter().map(|worker| worker.cores).sum::<usize>(), 3);
    check(&setting);
    drop((first.wait(), third.wait()));
}

#[test]
fn the_history_says_what_each_workers_subtasks_had_to_do_with_a_checkpoint_and_which_worker_was_lost() {
    let dir = TempDir::new().unwrap();
    // More than a minute's work: the job is cancelled long before its end, however slow the machine.
    let setting = Setting { sales: 400_000, rate: Some(3_000), interval_ms: 3_600_000, ..Setting::new(dir.path()) };
    let config = config(&setting, 2);
    let handle = coordinator(&setting, &config);
    let control = handle.control();
    let workers = [worker(&config, 1), worker(&config, 1)];
    let CheckpointOutcome::Completed { checkpoint, bytes, .. } = control.checkpoint().wait() else { panic!("it is complete") };
    let history = control.history();
    let (attempt, record) = (history.attempts().next().unwrap(), history.checkpoint(checkpoint).unwrap());
    // Each task has a subtask at each worker.
    assert!(attempt.tasks.iter().all(|task| task.subtasks == [0, 1]), "{attempt:?}");
    assert_eq!((record.acknowledged_of(), record.bytes()), ((4, 4), bytes));
    for part in record.parts() {
        let times = part.times;
        assert!(part.bytes > 0 && part.end_to_end <= record.duration && times.alignment < Duration::from_secs(30), "{record:?}");
        assert!(times.saving + times.storing > Duration::ZERO, "it has come over the wire: {record:?}");
    }
    assert_eq!(control.metrics().job(), history.job());
    let until = Instant::now() + Duration::from_secs(30);
    while !control.metrics().iter().any(|metric| metric.worker.is_some() && metric.operator.starts_with("aggregate")) {
        assert!(Instant::now() < until, "no numbers");
        std::thread::sleep(Duration::from_millis(5));
    }
    let metrics = control.metrics();
    let of_task = metrics.iter().find(|metric| metric.worker.is_some() && metric.operator.starts_with("aggregate")).unwrap();
    assert_eq!(*of_task.uid, attempt.tasks[1].uid);
    let [first, second] = workers;
    second.stop();
    drop(second.wait());
    // The failure is told before the attempt has ended. A job that is cancelled in between ends with that failure: it came first.
    while control.history().attempts().find(|of| of.attempt == attempt.attempt).is_none_or(|of| of.ended.is_none()) {
        assert!(Instant::now() < until, "no end of the attempt");
        std::thread::sleep(Duration::from_millis(5));
    }
    let history = control.history();
    let failure = history.failures().next().unwrap();
    let gone: Vec<_> = attempt.workers.iter().map(|worker| &worker.name).filter(|name| failure.worker.as_ref() == Some(name)).collect();
    assert_eq!((gone.len(), failure.attempt), (1, Some(attempt.attempt)), "{failure:?}");
    let outcome = control.cancel().wait();
    assert!(matches!(outcome, JobOutcome::Cancelled), "{outcome:?}");
    assert!(handle.wait().is_err());
    drop(first.wait());
}

#[test]
fn a_coordinator_that_is_started_again_goes_on_with_the_workers_that_are_left_and_makes_room_for_more() {
    let dir = TempDir::new().unwrap();
    let setting = Setting { rate: Some(4_000), ..Setting::new(dir.path()) };
    let first = config(&setting, 2);
    let handle = coordinator(&setting, &first);
    let workers = [1, 1].map(|cores| worker(&first, cores));
    wait_for_checkpoints(dir.path(), 3);
    handle.stop_with_checkpoint();
    assert!(matches!(handle.wait().unwrap().ending, JobEnding::Stopped(_)));
    workers.into_iter().for_each(|worker| drop(worker.wait().unwrap()));

    let second = config(&setting, 2);
    let handle = coordinator(&setting, &second);
    let one = worker(&second, 1);
    wait_for_checkpoints(dir.path(), 3);
    let other = worker(&second, 1);
    let report = handle.wait().unwrap();
    assert!(report.restarts >= 1, "to make room for the other");
    assert_eq!(report.workers.len(), 2);
    [one, other].into_iter().for_each(|worker| drop(worker.wait().unwrap()));
    check(&setting);
}

#[test]
fn a_job_that_has_finished_needs_no_workers_to_say_so() {
    let dir = TempDir::new().unwrap();
    let setting = Setting { sales: 2_000, ..Setting::new(dir.path()) };
    run(&setting, &[1, 1]);
    let report = coordinator(&setting, &config(&setting, 2)).wait().unwrap();
    assert_eq!(report.ending, JobEnding::AlreadyFinished);
    check(&setting);
}

#[test]
fn a_second_coordinator_takes_the_job_over_and_the_first_is_fenced() {
    let dir = TempDir::new().unwrap();
    let setting = Setting { rate: Some(2_000), ..Setting::new(dir.path()) };
    let config = config(&setting, 2);
    // Slow enough not to finish before it is taken over.
    let handle = coordinator(&setting, &config);
    let workers = [worker(&config, 1), worker(&config, 1)];
    wait_for_checkpoints(dir.path(), 3);
    let mut other = config.clone();
    other.listen = free_address();
    let successor = coordinator(&setting, &other);
    let others = [worker(&other, 1), worker(&other, 1)];
    let error = handle.wait().unwrap_err();
    assert!(error.to_string().contains("another"), "{error}");
    successor.wait().unwrap();
    check(&setting);
    others.into_iter().for_each(|worker| drop(worker.wait().unwrap()));
    // They look for the one that has taken over.
    for worker in workers {
        worker.stop();
        assert!(worker.wait().unwrap().stopped);
    }
}

#[test]
fn both_sides_describe_the_job_from_the_options_and_the_coordinators_bytes() {
    let dir = TempDir::new().unwrap();
    let described = |out: &str, bytes: &[u8]| {
        let env = StreamExecutionEnvironment::new();
        let factor: u64 = std::str::from_utf8(bytes).unwrap().parse().unwrap();
        env.source(GeneratorSource::new(3, move |n| n * factor)).sink(FileSink::lines(out, |n: u64, out| out.push_str(&n.to_string())));
        env
    };
    let out = dir.path().join("out").display().to_string();
    let config = ClusterConfig::new(free_address(), 1).options(vec![out.clone()]).heartbeat(heartbeat());
    let env = described(&out, b"7");
    env.set_description_bytes(*b"7");
    let handle = env.build("sevens").unwrap().start_coordinator(&UringCores::new().with_spin_limit(0), config.clone()).unwrap();
    let of_worker = || WorkerConfig::new(config.listen, 1).heartbeat(config.heartbeat);
    // Whoever knows of options alone would describe another job.
    let refused = start_worker(&UringCores::new(), of_worker(), move |options| described(&options[0], b"7").build("sevens")).unwrap();
    let refused = refused.wait().unwrap_err().to_string();
    assert!(refused.contains("start_worker_with_description"), "{refused}");
    let build = move |options: &[String], bytes: &Arc<[u8]>| described(&options[0], bytes).build("sevens");
    let worker = start_worker_with_description(&UringCores::new().with_spin_limit(0), of_worker(), build).unwrap();
    handle.wait().unwrap();
    worker.wait().unwrap();
    let parts = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let mut lines: Vec<String> =
        parts.flat_map(|part| fs::read_to_string(part).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    assert_eq!(lines, ["0", "14", "7"]);
}

#[test]
fn a_sink_into_one_processs_memory_is_refused() {
    let env = StreamExecutionEnvironment::new();
    let _results = env.from_collection(vec![1u64, 2]).collect();
    let config = ClusterConfig::new(free_address(), 1);
    let refused = env.build("lost").unwrap().start_coordinator(&UringCores::new(), config).err().unwrap();
    assert!(refused.to_string().contains("memory of one process"), "{refused}");
}
