//! What checkpoints do to the time that a subtask holds its core: W2 without an end, first with a checkpoint after each interval until there have been enough,
//! then as long without any.
//!
//! Prints a line for each of the two: how long the slices took in which a subtask held its core, those in which the table grew from nothing apart. While it
//! grows, its memory is touched for the first time, which takes a kernel from a fifth of a millisecond (a huge page) to ten (on a virtual machine whose host
//! has to find the memory): the run that comes first pays for both, whether it has checkpoints or not.

use crate::workloads::{Spec, without_an_end};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use thalweg::{Durations, JobMetrics, JobReport};

/// How often it is looked whether there have been enough checkpoints.
const LOOKS: Duration = Duration::from_millis(50);

/// Events for each key until the table is taken to be full: of keys that are drawn evenly, one in eight thousand is missing then.
const GROWTH: i64 = 9;

/// The metrics that are shown, each under a short name.
const KINDS: [(&str, &str); 4] = [
    ("slice", "sliceDuration"),
    ("sync", "checkpointSyncDuration"),
    ("async", "checkpointAsyncDuration"),
    ("commit", "checkpointCommitDuration"),
];

/// Runs with `barriers` checkpoints in `dir`, one each `interval`, and as long without; both from when the table has grown.
pub fn measure(spec: &Spec, barriers: i64, dir: PathBuf, interval: Duration) -> Result<(), String> {
    let with = Spec { checkpoints: Some((dir, interval)), ..spec.clone() };
    let (grown, report, time) = run(&with, |checkpoints, _| checkpoints >= barriers)?;
    println!("RESULT {}", json(&with, &grown, &report));
    let without = Spec { checkpoints: None, ..spec.clone() };
    let (grown, report, _) = run(&without, |_, so_far| so_far >= time)?;
    println!("RESULT {}", json(&without, &grown, &report));
    Ok(())
}

/// Runs until `is_enough` says so, of the number of checkpoints that have ended and the time, both since the table has grown. Returns what there was then, what
/// came of it all, and that time.
fn run(spec: &Spec, is_enough: impl Fn(i64, Duration) -> bool) -> Result<(JobMetrics, JobReport, Duration), String> {
    let handle = without_an_end(spec).map_err(|error| error.to_string())?;
    let events = i64::try_from(spec.keys).unwrap_or(i64::MAX).saturating_mul(GROWTH);
    let ended = |metrics: &JobMetrics| metrics.total("numberOfCompletedCheckpoints") + metrics.total("numberOfFailedCheckpoints");
    let is_over = || handle.history().outcome().is_some();
    while handle.metrics().total("numRecordsOut") < events && !is_over() {
        sleep(LOOKS);
    }
    let (grown, begun) = (handle.metrics(), Instant::now());
    while !is_enough(ended(&handle.metrics()) - ended(&grown), begun.elapsed()) && !is_over() {
        sleep(LOOKS);
    }
    let time = begun.elapsed();
    handle.stop();
    let report = handle.wait().map_err(|error| error.to_string())?;
    Ok((grown, report, time))
}

fn json(spec: &Spec, grown: &JobMetrics, report: &JobReport) -> String {
    let metrics = &report.metrics;
    let shown = |name: &str, durations: &Durations| {
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        let [median, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| us(durations.quantile(q)));
        let (count, max) = (durations.count(), us(durations.max()));
        format!(
            "\"{name}\":{{\"count\":{count},\"p50_us\":{median:.1},\"p99_us\":{p99:.1},\"p99.9_us\":{p999:.1},\"p99.99_us\":{p9999:.1},\"max_us\":{max:.1}}}"
        )
    };
    let durations = KINDS.map(|(name, metric)| {
        let (before, all) = (grown.durations(metric), metrics.durations(metric));
        shown(name, &all.since(&before).unwrap_or(all))
    });
    let growth = shown("growth", &grown.durations("sliceDuration"));
    let [completed, failed] = ["numberOfCompletedCheckpoints", "numberOfFailedCheckpoints"].map(|name| metrics.total(name));
    format!(
        "{{\"peer\":\"thalweg\",\"w\":\"stall\",\"p\":{},\"keys\":{},\"checkpoints\":{completed},\"given_up\":{failed},\"wall_s\":{:.1},\"events\":{},{growth},{}}}",
        spec.parallelism,
        spec.keys,
        report.elapsed.as_secs_f64(),
        metrics.total("numRecordsOut"),
        durations.join(","),
    )
}
