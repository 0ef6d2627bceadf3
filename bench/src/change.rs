//! How large checkpoints are where little changes: keys of about 100 bytes, all of them set at first; then some of them change between one checkpoint and the
//! next, drawn uniformly or with a probability that falls with their rank (dist=1).
//!
//! Prints a line: the size of the first checkpoint, which is full, and as parts of that those of the others and of the folder.

use crate::event::{r32, sm};
use crate::open_loop::{OpenLoop, Timetable};
use crate::workloads::Spec;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use thalweg::connectors::GeneratorSource;
use thalweg::{CheckpointConfig, CheckpointOutcome, JobHandle, Record, Restore, StreamExecutionEnvironment};

/// The checkpoints after which the folder has come to its size.
const SETTLED_AFTER: usize = 100;

/// What is kept of a key.
#[derive(Clone, Debug, Record)]
struct Kept {
    key: u64,
    changes: u64,
    more: [u64; 10],
}

/// The key that the `number`th change is of.
fn changed(number: u64, keys: u64, skewed: bool) -> u64 {
    if number < keys {
        return number;
    }
    let drawn = r32(sm(number) >> 32, 1 << 32);
    // Each order of magnitude of ranks is as likely as the other.
    let rank = |part: f64| (keys as f64).powf(part) as u64 - 1;
    if skewed { rank(drawn as f64 / 2f64.powi(32)) } else { r32(drawn, keys) }
}

/// What a folder holds: bytes, and files of state.
fn size_of(dir: &Path) -> Result<(u64, usize), String> {
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(dir).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        // A file may go meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += metadata.len();
        files += usize::from(entry.path().extension().is_some_and(|extension| extension == "state"));
    }
    Ok((bytes, files))
}

/// Sets all keys, takes a checkpoint, and then `barriers` more, between any two of which `changes` keys change.
pub fn measure(spec: &Spec, barriers: u64, changes: u64, dir: &Path, interval: Duration) -> Result<(), String> {
    let Spec { keys, skewed, parallelism, .. } = *spec;
    let per_second = (changes as f64 / interval.as_secs_f64()) as u64;
    let timetable = Timetable { begin: Instant::now(), at_once: keys, per_second: per_second.max(1) };
    let env = StreamExecutionEnvironment::new();
    let mut config = CheckpointConfig::new(dir).restore(Restore::None).retained(1);
    config.interval = None;
    env.enable_checkpointing(config);
    let generator = GeneratorSource::unbounded(move |number| Kept { key: changed(number, keys, skewed), changes: 1, more: [number; 10] });
    env.source(OpenLoop { timetable, generator })
        .key_by::<u64>(|kept| kept.key)
        .reduce(|so_far, latest| Kept { key: latest.key, changes: so_far.changes + latest.changes, more: [so_far.changes; 10] })
        .for_each(|_| {});
    let job = env.execute("change", parallelism).map_err(|error| error.to_string())?;
    let outcome = take_all(&job, keys, barriers, dir, interval);
    job.stop();
    job.wait().map_err(|error| error.to_string())?;
    let taken = outcome?;
    println!("RESULT {}", json(spec, changes, &taken));
    Ok(())
}

/// A checkpoint: what was written for it, what the folder held then, how long after the one before it began, and how long it took.
struct Taken {
    written: u64,
    folder: u64,
    files: usize,
    after: Duration,
    took: Duration,
}

fn take_all(job: &JobHandle, keys: u64, barriers: u64, dir: &Path, interval: Duration) -> Result<Vec<Taken>, String> {
    while job.metrics().total("numRecordsOut") < i64::try_from(keys).map_err(|error| error.to_string())? {
        sleep(Duration::from_millis(10));
    }
    let mut taken = Vec::new();
    let (mut next, mut before) = (Instant::now(), Instant::now());
    while taken.len() as u64 <= barriers {
        let begun = Instant::now();
        let CheckpointOutcome::Completed { bytes, duration, .. } = job.checkpoint().wait() else {
            return Err("a checkpoint was not completed".to_owned());
        };
        let (folder, files) = size_of(dir)?;
        taken.push(Taken { written: bytes, folder, files, after: begun - before, took: duration });
        before = begun;
        next = Instant::now().max(next + interval);
        sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(taken)
}

fn json(spec: &Spec, changes: u64, taken: &[Taken]) -> String {
    let full = taken[0].written;
    let part = |bytes: u64| bytes as f64 / full as f64;
    let later = &taken[1..];
    let mean = later.iter().map(|taken| taken.written).sum::<u64>() / later.len().max(1) as u64;
    let most = |of: fn(&Taken) -> u64, taken: &[Taken]| part(taken.iter().map(of).max().unwrap_or_default());
    let settled = later.get(SETTLED_AFTER..).unwrap_or_default();
    let mut times: Vec<Duration> = later.iter().map(|taken| taken.took).collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let largest = later.iter().zip(2..).max_by_key(|(taken, _)| taken.written);
    let (largest_number, largest_after) = largest.map(|(taken, number)| (number, taken.after)).unwrap_or_default();
    format!(
        "{{\"peer\":\"thalweg\",\"w\":\"change\",\"p\":{},\"keys\":{},\"dist\":{},\"changes\":{changes},\"checkpoints\":{},\"full_bytes\":{full},\"mean\":{:.4},\
         \"largest\":{:.4},\"folder_settled\":{:.3},\"folder_ever\":{:.3},\"largest_number\":{largest_number},\"largest_after_ms\":{:.0},\"files\":{},\"took_ms\":{:.1},\"took_longest_ms\":{:.1},\"took_first_ms\":{:.1}}}",
        spec.parallelism,
        spec.keys,
        i32::from(spec.skewed),
        later.len(),
        part(mean),
        most(|taken| taken.written, later),
        most(|taken| taken.folder, settled),
        most(|taken| taken.folder, taken),
        ms(largest_after),
        taken.iter().map(|taken| taken.files).max().unwrap_or_default(),
        ms(times.get(times.len() / 2).copied().unwrap_or_default()),
        ms(times.last().copied().unwrap_or_default()),
        ms(taken[0].took),
    )
}
