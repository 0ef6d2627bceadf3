//! Two jobs that mean one folder of results: it is one job's at a time, whatever happens to the other.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;
use thalweg::checkpoint::CheckpointConfig;
use thalweg::connectors::{DeliveryGuarantee, FileSink, GeneratorSource};
use thalweg::{Cure, JobError, JobReport, StreamExecutionEnvironment};
use thalweg_io::{Rng, SplitMix};
use thalweg_sim::{SimProcess, SimulatedDisk, World, WorldConfig, both};

const RESULTS: &str = "/results";
const COUNT: u64 = 2_000;

type End = Result<JobReport, JobError>;

/// How a job is run.
#[derive(Clone, Copy)]
struct Run {
    name: &'static str,
    checkpoints: bool,
    overwrites: bool,
    takes_over: bool,
    at_least_once: bool,
}

impl Run {
    /// Runs the job in `process`; `None` if that dies.
    async fn run(self, process: &SimProcess) -> Option<End> {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(2).set_source_rate(Some(1_000)).take_over_output(self.takes_over);
        if self.checkpoints {
            let mut config = CheckpointConfig::new(format!("/state/{}", self.name));
            config.interval = Some(Duration::from_millis(20));
            env.enable_checkpointing(config);
        }
        let line = move |number: u64, line: &mut String| *line = format!("{} {number}", self.name);
        let delivery = if self.at_least_once { DeliveryGuarantee::AtLeastOnce } else { DeliveryGuarantee::ExactlyOnce };
        let sink = FileSink::<u64>::lines(RESULTS, line).overwrite(self.overwrites).delivery_guarantee(delivery);
        env.source(GeneratorSource::new(COUNT, |number| number)).sink(sink);
        let handle = env.execute_on(self.name, &process.cores(), 2).unwrap();
        let ended = Box::pin(handle);
        let died = Box::pin(process.died());
        first_of(ended, died).await
    }

    /// What it shows when it has finished.
    fn lines(self) -> Vec<String> {
        let mut lines: Vec<String> = (0..COUNT).map(|number| format!("{} {number}", self.name)).collect();
        lines.sort();
        lines
    }
}

async fn first_of<A: Unpin + Future, B: Unpin + Future>(mut a: A, mut b: B) -> Option<A::Output> {
    use std::task::Poll;
    std::future::poll_fn(|cx| {
        if std::pin::Pin::new(&mut b).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        std::pin::Pin::new(&mut a).poll(cx).map(Some)
    })
    .await
}

/// The lines that are visible, sorted.
fn shown(disk: &SimulatedDisk) -> Vec<String> {
    let files = disk.files(RESULTS).unwrap_or_default().into_iter().filter(|(name, _)| name.starts_with("part-"));
    let mut lines: Vec<String> =
        files.flat_map(|(_, content)| String::from_utf8(content).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

fn hidden(disk: &SimulatedDisk) -> Vec<String> {
    let files = disk.files(RESULTS).unwrap_or_default().into_iter().map(|(name, _)| name);
    files.filter(|name| name.starts_with('.')).collect()
}

fn world(seed: u64) -> (World, SplitMix) {
    let mut config = WorldConfig::random(seed);
    config.disk.faults.clear();
    config.disk.latency_ms_max = config.disk.latency_ms_max.min(5);
    config.disk.slow = None;
    (World::new(seed, config), SplitMix::stream(seed, "two-jobs"))
}

fn finished(end: &Option<End>) -> bool {
    matches!(end, Some(Ok(_)))
}

#[track_caller]
fn assert_refused(end: &Option<End>, seed: u64) {
    let Some(Err(JobError::Invalid(refusal))) = end else { panic!("seed {seed}: {end:?}") };
    let of_the_living = refusal.reason().contains("belongs to a job that runs: process ") && refusal.cures() == [Cure::TakeOverOutput];
    // The other may have come to show something before.
    assert!(of_the_living || refusal.cures() == [Cure::ReplaceOutput], "seed {seed}: {refusal}");
}

#[test]
fn a_job_whose_folder_belongs_to_one_that_runs_is_refused_and_every_line_is_there_once() {
    for seed in 0..40 {
        let (world, mut dice) = world(seed);
        let (checkpoints, later_ms, overwrites) = (dice.below(2) == 0, dice.below(2) * dice.below(150), dice.below(2) == 0);
        let first = Run { name: "first", checkpoints, overwrites: false, takes_over: false, at_least_once: false };
        let second = Run { name: "second", overwrites, ..first };
        let main = move |cluster: thalweg_sim::SimCluster| async move {
            let machine = cluster.machine();
            let processes = ["first", "second"].map(|name| machine.start(name, 2));
            let begins_later = async {
                cluster.sleep_ms(later_ms).await;
                second.run(&processes[1]).await
            };
            both(first.run(&processes[0]), begins_later).await
        };
        let (of_first, of_second) = world.run_cluster(main).expect_done();
        let expected = match (finished(&of_first), finished(&of_second)) {
            (true, false) => first.lines(),
            (false, true) => second.lines(),
            both => panic!("seed {seed}: {both:?}, {of_first:?}, {of_second:?}"),
        };
        for end in [&of_first, &of_second].into_iter().filter(|end| !finished(end)) {
            assert_refused(end, seed);
        }
        assert!(shown(world.disk()) == expected, "seed {seed}: {} lines instead of {}", shown(world.disk()).len(), expected.len());
        assert!(hidden(world.disk()).is_empty(), "seed {seed}: {:?}", hidden(world.disk()));
    }
}

#[test]
fn the_folder_of_a_job_that_was_killed_is_taken_over_without_a_word_from_anybody() {
    for seed in 0..30 {
        let (world, mut dice) = world(seed);
        let (checkpoints, at_ms) = (dice.below(2) == 0, 1 + dice.below(250));
        let first = Run { name: "first", checkpoints, overwrites: false, takes_over: false, at_least_once: false };
        let second = Run { name: "second", overwrites: true, ..first };
        let main = move |cluster: thalweg_sim::SimCluster| async move {
            let machine = cluster.machine();
            let processes = ["first", "second"].map(|name| machine.start(name, 2));
            let killing = async {
                cluster.sleep_ms(at_ms).await;
                processes[0].kill();
                second.run(&processes[1]).await
            };
            both(first.run(&processes[0]), killing).await.1
        };
        let of_second = world.run_cluster(main).expect_done();
        assert!(finished(&of_second), "seed {seed}: {of_second:?}");
        assert!(shown(world.disk()) == second.lines(), "seed {seed}: {} lines", shown(world.disk()).len());
        assert!(hidden(world.disk()).is_empty(), "seed {seed}: {:?}", hidden(world.disk()));
    }
}

/// Two begin on the folder of a dead one at the same moment: each looks at its file, and neither takes the other for an owner that lives.
#[test]
fn of_two_jobs_that_find_the_folder_of_a_dead_one_at_once_exactly_one_gets_it() {
    for seed in 0..60 {
        let (world, mut dice) = world(seed);
        let (checkpoints, at_ms, apart_ms) = (dice.below(2) == 0, 1 + dice.below(250), dice.below(12));
        let dead = Run { name: "dead", checkpoints, overwrites: false, takes_over: false, at_least_once: false };
        let [second, third] = ["second", "third"].map(|name| Run { name, overwrites: true, ..dead });
        let main = move |cluster: thalweg_sim::SimCluster| async move {
            let machine = cluster.machine();
            let processes = ["dead", "second", "third"].map(|name| machine.start(name, 2));
            let following = async {
                cluster.sleep_ms(at_ms).await;
                processes[0].kill();
                let begins_later = async {
                    cluster.sleep_ms(apart_ms).await;
                    third.run(&processes[2]).await
                };
                both(second.run(&processes[1]), begins_later).await
            };
            both(dead.run(&processes[0]), following).await.1
        };
        let (of_second, of_third) = world.run_cluster(main).expect_done();
        let (expected, refused) = match (finished(&of_second), finished(&of_third)) {
            (true, false) => (second.lines(), &of_third),
            (false, true) => (third.lines(), &of_second),
            both => panic!("seed {seed}: {both:?}, {of_second:?}, {of_third:?}"),
        };
        assert_refused(refused, seed);
        assert!(shown(world.disk()) == expected, "seed {seed}: {} lines instead of {}", shown(world.disk()).len(), expected.len());
        assert!(hidden(world.disk()).is_empty(), "seed {seed}: {:?}", hidden(world.disk()));
    }
}

/// A job is stopped as by SIGSTOP; to the others it lives. Somebody who knows better has another one take its folder over. When it goes on, at whatever
/// moment of the other's life, it shows nothing any more and says whose the folder is.
#[test]
fn a_job_that_was_paused_shows_nothing_after_a_take_over_and_says_so() {
    let mut overtaken = 0;
    for seed in 0..60 {
        let (world, mut dice) = world(seed);
        let (checkpoints, at_ms, for_ms) = (dice.below(4) != 0, 1 + dice.below(250), 1 + dice.below(800));
        let first = Run { name: "first", checkpoints, overwrites: true, takes_over: false, at_least_once: dice.below(2) == 0 };
        let second = Run { name: "second", takes_over: true, ..first };
        let main = move |cluster: thalweg_sim::SimCluster| async move {
            let machine = cluster.machine();
            let processes = ["first", "second"].map(|name| machine.start(name, 2));
            let pausing = async {
                cluster.sleep_ms(at_ms).await;
                processes[0].pause();
                let resuming = async {
                    cluster.sleep_ms(for_ms).await;
                    processes[0].resume();
                };
                both(second.run(&processes[1]), resuming).await.0
            };
            both(first.run(&processes[0]), pausing).await
        };
        let (of_first, of_second) = world.run_cluster(main).expect_done();
        assert!(finished(&of_second), "seed {seed}: {of_second:?}");
        let late = match &of_first {
            // It had not begun when it was paused, and found the results of the other, or the other itself.
            Some(Err(JobError::Invalid(_))) => false,
            Some(Err(JobError::Overtaken { reason, .. })) => {
                assert!(reason.contains("taken over") || reason.contains("taken the folder over"), "seed {seed}: {reason}");
                overtaken += 1;
                false
            }
            // What a writer shows by itself it is told of itself.
            Some(Err(JobError::Sink { source, .. })) if first.at_least_once => {
                let reason = source.to_string();
                assert!(reason.contains("this process shows nothing there any more"), "seed {seed}: {reason}");
                overtaken += 1;
                false
            }
            // It had ended before, or begun after the other had, and was to overwrite what it found.
            Some(Ok(_)) => shown(world.disk()) == first.lines(),
            other => panic!("seed {seed}: {other:?}"),
        };
        assert!(late || shown(world.disk()) == second.lines(), "seed {seed}: {} lines", shown(world.disk()).len());
    }
    assert!(overtaken > 20, "{overtaken}");
}
