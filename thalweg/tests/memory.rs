//! A process that has no memory left for the state of an operator says which one it is before it ends.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes, in real time")]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    Context, KeyedProcessFunction, OpenContext, Output, Record, StreamExecutionEnvironment, TumblingEventTimeWindows, ValueState,
    WatermarkStrategy,
};

/// Set for the child: which job it is to run.
const JOB: &str = "THALWEG_TEST_JOB";

/// So much memory has the child. Its code, its threads and an empty job take about a quarter of it.
const LIMIT_KIB: u64 = 600 << 10;

/// State that fills memory soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Record)]
struct Profile {
    a: (u64, u64, u64, u64),
    b: (u64, u64, u64, u64),
    c: (u64, u64, u64, u64),
    d: (u64, u64, u64, u64),
}

#[derive(Clone)]
struct Remember {
    profile: ValueState<Profile>,
}

impl KeyedProcessFunction for Remember {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        self.profile = ctx.value_state("profile");
    }

    fn process_element(&mut self, n: u64, ctx: &mut Context<'_, u64>, _out: &mut Output<u64>) {
        ctx.value(self.profile).get_or_insert_with(Profile::default).a.0 = n;
    }
}

#[derive(Clone)]
struct Keep;

impl thalweg::AggregateFunction<u64> for Keep {
    type Accumulator = Profile;
    type Output = u64;

    fn create_accumulator(&self) -> Profile {
        Profile::default()
    }

    fn add(&self, n: u64, kept: &mut Profile) {
        kept.a.0 = n;
    }

    fn merge(&self, other: Profile, kept: &mut Profile) {
        *kept = other;
    }

    fn get_result(&self, kept: &Profile) -> u64 {
        kept.a.0
    }
}

/// Does nothing unless it is the child of one of the tests below.
#[test]
fn the_job_that_needs_more_memory_than_there_is() {
    let Ok(job) = std::env::var(JOB) else { return };
    let env = StreamExecutionEnvironment::new();
    let numbers = env.source(GeneratorSource::new(u64::MAX, |n| n));
    match job.as_str() {
        "process" => {
            numbers.key_by::<u64>(|n| *n).process(Remember { profile: ValueState::default() }).uid("profiles").for_each(|_| ());
        }
        _ => {
            let never = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(60)).with_timestamp_assigner(|_: u64| 0);
            let windows = TumblingEventTimeWindows::of(Duration::from_secs(60));
            let numbers = numbers.assign_timestamps_and_watermarks(never).key_by::<u64>(|n| *n).window(windows);
            numbers.aggregate(Keep, |_, _, n| n).uid("a-window").for_each(|_| ());
        }
    }
    drop(env.execute("hungry", 1).unwrap().wait());
}

/// What the child says that runs `job`.
fn last_words(job: &str) -> String {
    let limited = format!("ulimit -v {LIMIT_KIB}; exec \"$0\" --exact the_job_that_needs_more_memory_than_there_is --nocapture");
    let child = Command::new("bash").args(["-c", &limited]).arg(std::env::current_exe().unwrap()).env(JOB, job).output().unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert_eq!(child.status.signal(), Some(6), "it aborts: {said}");
    said
}

#[test]
fn a_state_for_which_there_is_no_memory_left_is_named_with_its_size_before_the_process_ends() {
    for (job, named) in [
        ("process", "state profile of operator process (uid profiles)"),
        ("window", "state window-contents of operator window (uid a-window)"),
    ] {
        let said = last_words(job);
        let line = said.lines().find(|line| line.starts_with("error: out of memory: ")).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(named), "{line}");
        let number = |after: &str| -> u64 { line.split(after).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap() };
        assert!(number(" has ") > 500_000 && (50..600).contains(&number(" entries in ")), "{line}");
        assert!(line.contains("ulimit -v") && line.contains("spread its state over more workers"), "{line}");
    }
}
