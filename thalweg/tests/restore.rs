//! What a job can go on from, and what it refuses, with the words it says.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thalweg::connectors::{FileSink, GeneratorSource};
use thalweg::io::uring::UringCores;
use thalweg::{
    CheckpointConfig, CheckpointContents, CheckpointReader, Context, JobEnding, JobError, JobReport, KeyedEntry, KeyedProcessFunction,
    OpenContext, Output, PartFate, PartKind, Record, RestartStrategy, Restore, StreamExecutionEnvironment, ValueState,
};

#[derive(Clone, Copy, Debug, PartialEq, Record)]
struct Wide {
    count: u64,
    sum: u64,
}

/// Counts its records in a state whose name and type can be chosen.
#[derive(Clone)]
struct Count {
    name: &'static str,
    wide: bool,
    narrow_state: ValueState<u64>,
    wide_state: ValueState<Wide>,
}

impl KeyedProcessFunction for Count {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        if self.wide {
            self.wide_state = ctx.value_state(self.name);
        } else {
            self.narrow_state = ctx.value_state(self.name);
        }
    }

    fn process_element(&mut self, _n: u64, ctx: &mut Context<'_, u64>, out: &mut Output<(u64, u64)>) {
        let key = ctx.key();
        let count = if self.wide {
            let wide = ctx.value(self.wide_state).get_or_insert_with(|| Wide { count: 0, sum: 0 });
            wide.count += 1;
            wide.count
        } else {
            let count = ctx.value(self.narrow_state).get_or_insert_with(|| 0);
            *count += 1;
            *count
        };
        out.collect((key, count));
    }
}

/// A job that counts forty thousand numbers in four keys.
#[derive(Clone)]
struct Counting {
    name: &'static str,
    wide: bool,
    max_parallelism: u32,
    uid: &'static str,
    restore: Restore,
    allow_non_restored_state: bool,
    discard_later_output: bool,
    retained: usize,
    map_uid: Option<&'static str>,
    /// Whether an operator stands before the sink that was not there at first.
    has_grown: bool,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            name: "count",
            wide: false,
            max_parallelism: 128,
            uid: "counter",
            restore: Restore::Latest,
            allow_non_restored_state: false,
            discard_later_output: false,
            retained: 3,
            map_uid: None,
            has_grown: false,
        }
    }
}

const NUMBERS: u64 = 40_000;

/// Fast, and slow enough for some checkpoints.
const PER_SECOND: u64 = 100_000;

impl Counting {
    /// The job; it fails at its next number when `stop` is set.
    fn describe(&self, dir: &Path, stop: &Arc<AtomicBool>, per_second: u64) -> StreamExecutionEnvironment {
        let env = StreamExecutionEnvironment::new();
        env.set_max_parallelism(self.max_parallelism);
        env.set_restart_strategy(RestartStrategy::None);
        let mut config = CheckpointConfig::new(dir.join("checkpoints")).interval(Duration::from_millis(10)).retained(self.retained);
        config.restore = self.restore.clone();
        config.allow_non_restored_state = self.allow_non_restored_state;
        config.discard_later_output = self.discard_later_output;
        env.enable_checkpointing(config);
        env.set_source_rate(Some(per_second));
        let count = Count { name: self.name, wide: self.wide, narrow_state: ValueState::default(), wide_state: ValueState::default() };
        let stop = Arc::clone(stop);
        let mapped = env.source(GeneratorSource::new(NUMBERS, |n| n)).map(move |n| {
            assert!(!stop.load(Ordering::Relaxed), "this is far enough");
            n
        });
        let mapped = match self.map_uid {
            Some(uid) => mapped.uid(uid),
            None => mapped,
        };
        let counts = mapped.key_by::<u64>(|n| n % 4).process(count).uid(self.uid);
        let sink = FileSink::<(u64, u64)>::csv(dir.join("out"), |(key, count), row| {
            row.field(key).field(count);
        });
        if self.has_grown {
            counts.map(|(key, count)| (key, count)).sink(sink).uid("counts");
        } else {
            counts.sink(sink).uid("counts");
        }
        env
    }

    /// Runs until there are several checkpoints, and results of more than one of them are shown.
    fn part(&self, dir: &Path) {
        let stop = Arc::new(AtomicBool::new(false));
        // Far from its end after a minute.
        let job = self.describe(dir, &stop, 200).execute("counting", 1).unwrap();
        let started = Instant::now();
        while checkpoints(dir).len() < 3 || visible(dir) < 3 {
            assert!(started.elapsed() < Duration::from_secs(60), "there are {:?} and {} results", checkpoints(dir), visible(dir));
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        let error = job.wait().unwrap_err();
        assert!(error.to_string().contains("far enough"), "{error}");
    }

    fn rest(&self, dir: &Path) -> Result<JobReport, JobError> {
        self.describe(dir, &Arc::new(AtomicBool::new(false)), PER_SECOND).execute("counting", 2)?.wait()
    }

    #[track_caller]
    fn is_refused(&self, dir: &Path, words: &[&str]) {
        let error = self.rest(dir).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    }
}

/// Every count of every key, once.
#[track_caller]
fn assert_complete(dir: &Path) {
    let mut counts = vec![Vec::new(); 4];
    for entry in fs::read_dir(dir.join("out")).unwrap() {
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let (key, count) = line.split_once(',').unwrap();
            counts[key.parse::<usize>().unwrap()].push(count.parse::<u64>().unwrap());
        }
    }
    for counts in &mut counts {
        counts.sort_unstable();
        assert!(counts.iter().copied().eq(1..=NUMBERS / 4), "{} counts", counts.len());
    }
}

/// How many files of results are shown.
fn visible(dir: &Path) -> usize {
    let entries = fs::read_dir(dir.join("out")).into_iter().flatten();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("part-")).count()
}

/// The metadata files in the folder, oldest first.
fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("chk-")?.split('-').next()?.parse::<u64>().ok();
    let entries = fs::read_dir(dir.join("checkpoints")).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| number(path).is_some());
    found.sort_by_key(number);
    found
}

#[test]
fn a_failed_job_goes_on_where_its_checkpoint_was_taken() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let report = Counting::default().rest(dir.path()).unwrap();
    assert!(report.restored.is_some());
    assert_eq!(report.ending, JobEnding::Finished);
    assert_complete(dir.path());
}

#[test]
fn what_a_sink_has_prepared_is_found_by_its_uid_though_an_operator_was_added_before_it() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    Counting { has_grown: true, ..Counting::default() }.rest(dir.path()).unwrap();
    assert_complete(dir.path());
}

#[test]
fn another_number_of_key_groups_is_refused() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    Counting { max_parallelism: 64, ..Counting::default() }.is_refused(dir.path(), &["128 key groups", "64", "set_max_parallelism"]);
}

#[test]
fn state_of_another_layout_is_refused_with_both_fingerprints() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    Counting { wide: true, ..Counting::default() }.is_refused(
        dir.path(),
        &["operator process", "state count", "another layout", "key u64 and value u64 then", "u64 and struct{count:u64,sum:u64,} now"],
    );
}

#[test]
fn state_that_the_job_no_longer_has_is_refused_unless_it_may_be_left_behind() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let words = &["leave it behind", "counter"];
    // Of an operator that is gone, and of a state that is.
    Counting { uid: "another", ..Counting::default() }.is_refused(dir.path(), words);
    Counting { name: "renamed", ..Counting::default() }.is_refused(dir.path(), &["leave it behind", "count "]);
    // Of a uid that another operator has now.
    Counting { uid: "another", map_uid: Some("counter"), ..Counting::default() }.is_refused(dir.path(), words);
    let report = Counting { name: "renamed", allow_non_restored_state: true, ..Counting::default() }.rest(dir.path()).unwrap();
    assert_eq!(report.ending, JobEnding::Finished);
}

#[test]
fn what_a_checkpoint_holds_against_what_a_job_wants_is_known_without_starting_and_refused_in_the_same_words() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let held = CheckpointContents::read(&UringCores::new(), dir.path().join("checkpoints")).unwrap();
    let compared = |job: &Counting| {
        let described = job.describe(dir.path(), &Arc::default(), PER_SECOND).build("counting").unwrap();
        let difference = described.compare_with(&held);
        let fates: Vec<_> = difference.parts.iter().map(|part| (part.uid.clone(), part.kind.clone(), part.fate.clone())).collect();
        (difference, fates)
    };
    let state = |name: &str| PartKind::State(name.to_owned());
    let layout = |text: &str| text.to_owned();
    let (same, fates) = compared(&Counting::default());
    assert_eq!((same.refusal(false), same.to_string(), same.checkpoint), (None, String::new(), held.checkpoint()));
    assert!(fates.contains(&("counter".to_owned(), state("count"), PartFate::Kept)), "{fates:?}");
    assert!(fates.iter().any(|(_, kind, fate)| (kind, fate) == (&PartKind::Positions, &PartFate::Kept)), "{fates:?}");

    let wide = Counting { wide: true, ..Counting::default() };
    let (difference, fates) = compared(&wide);
    let other = fates.iter().find(|(uid, kind, _)| uid == "counter" && *kind == state("count"));
    let Some((.., PartFate::OtherLayout { then, now })) = other else { panic!("{fates:?}") };
    assert_eq!(
        (then.key.clone(), then.value.clone(), now.value.clone()),
        (Some(layout("u64")), layout("u64"), layout("struct{count:u64,sum:u64,}"))
    );
    assert!(difference.to_string().contains("process (uid counter), state count: key u64 and value u64 then"), "{difference}");

    let renamed = Counting { name: "renamed", ..Counting::default() };
    let (_, fates) = compared(&renamed);
    assert!(fates.contains(&("counter".to_owned(), state("count"), missing(&fates, "count"))), "{fates:?}");
    assert!(fates.contains(&("counter".to_owned(), state("renamed"), PartFate::New)), "{fates:?}");

    let few = Counting { max_parallelism: 64, ..Counting::default() };
    let gone = Counting { uid: "another", ..Counting::default() };
    for (job, may_be_left_behind) in [(wide, false), (few, false), (gone, true), (renamed, true)] {
        let (difference, _) = compared(&job);
        let reason = difference.refusal(false).unwrap();
        assert_eq!(difference.refusal(true).is_none(), may_be_left_behind, "{reason}");
        let said = job.rest(dir.path()).unwrap_err().to_string();
        assert_eq!(said, format!("the job cannot be run: {reason}"));
    }
}

#[test]
fn a_checkpoint_is_read_from_outside_of_its_job_and_every_parallelism_finds_each_key_once() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let reader = CheckpointReader::read(&UringCores::new(), dir.path().join("checkpoints")).unwrap();
    let counts = |parallelism: usize| {
        let mut counts = BTreeMap::new();
        let mut take = |entry: KeyedEntry<u64, u64>| assert_eq!(counts.insert(entry.key, entry.value), None);
        (0..parallelism).for_each(|subtask| reader.keyed_state("counter", "count", subtask, parallelism, &mut take).unwrap());
        counts
    };
    let whole = counts(1);
    assert!(!whole.is_empty());
    [2, 3, 128].iter().for_each(|parallelism| assert_eq!(counts(*parallelism), whole));
    let refused = reader.keyed_state("counter", "count", 0, 1, |_: KeyedEntry<u64, String>| {}).unwrap_err().to_string();
    assert!(refused.contains("another layout"), "{refused}");
}

fn missing(fates: &[(String, PartKind, PartFate)], name: &str) -> PartFate {
    let fate = fates.iter().find(|(_, kind, _)| *kind == PartKind::State(name.to_owned())).map(|(.., fate)| fate.clone());
    assert!(matches!(fate, Some(PartFate::Missing { .. })), "{fate:?}");
    fate.unwrap()
}

#[test]
fn an_older_checkpoint_or_none_is_refused_over_later_results_unless_they_are_discarded() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let older = checkpoints(dir.path()).remove(0);
    for restore in [Restore::None, Restore::From(older.clone())] {
        Counting { restore, ..Counting::default() }.is_refused(dir.path(), &["have the later results removed"]);
    }
    let job = Counting { restore: Restore::From(older), discard_later_output: true, ..Counting::default() };
    assert_eq!(job.rest(dir.path()).unwrap().ending, JobEnding::Finished);
    assert_complete(dir.path());
}

#[test]
fn a_damaged_checkpoint_is_refused_by_file_and_the_one_before_is_used_if_the_user_says_so() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let mut found = checkpoints(dir.path());
    let (latest, older) = (found.pop().unwrap(), found.pop().unwrap());
    let mut bytes = fs::read(&latest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&latest, bytes).unwrap();
    Counting::default().is_refused(dir.path(), &[latest.file_name().unwrap().to_str().unwrap(), "corrupt"]);
    // Still refused: nothing was changed by the refusal.
    Counting::default().is_refused(dir.path(), &["corrupt"]);
    let job = Counting { restore: Restore::From(older), discard_later_output: true, ..Counting::default() };
    assert_eq!(job.rest(dir.path()).unwrap().ending, JobEnding::Finished);
    assert_complete(dir.path());
}

#[test]
fn a_path_to_the_own_folder_however_it_is_written_keeps_the_checkpoint_it_begins_with() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    let latest = checkpoints(dir.path()).pop().unwrap();
    let odd = dir.path().join("out").join("..").join("checkpoints").join(latest.file_name().unwrap());
    for path in [odd, dir.path().join("checkpoints")] {
        // Fails before a checkpoint is complete, and again.
        let job = Counting { restore: Restore::From(path), retained: 1, ..Counting::default() };
        let stop = Arc::new(AtomicBool::new(true));
        for _ in 0..2 {
            job.describe(dir.path(), &stop, PER_SECOND).execute("counting", 1).unwrap().wait().unwrap_err();
        }
    }
    assert_eq!(Counting::default().rest(dir.path()).unwrap().ending, JobEnding::Finished);
    assert_complete(dir.path());
}

#[test]
fn a_checkpoint_goes_on_in_a_new_folder_over_the_same_results() {
    let dir = TempDir::new().unwrap();
    Counting::default().part(dir.path());
    std::fs::rename(dir.path().join("checkpoints"), dir.path().join("moved")).unwrap();
    let job = Counting { restore: Restore::From(dir.path().join("moved")), ..Counting::default() };
    assert_eq!(job.rest(dir.path()).unwrap().ending, JobEnding::Finished);
    assert_complete(dir.path());
}
