//! What checkpoints do to the time that a subtask holds its core: W2 without an end, first with a checkpoint after each interval until there have been enough,
//! then as long without any.
//!
//! Prints a line for each of the two: how long the slices took in which a subtask held its core. Growth of the table from nothing is part of both.

use crate::workloads::{Spec, without_an_end};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use thalweg::{Durations, JobReport};

/// How often it is looked whether there have been enough checkpoints.
const LOOKS: Duration = Duration::from_millis(50);

/// Runs with `barriers` checkpoints in `dir`, one each `interval`, and as long without.
pub fn measure(spec: &Spec, barriers: i64, dir: PathBuf, interval: Duration) -> Result<(), String> {
    let with = Spec { checkpoints: Some((dir, interval)), ..spec.clone() };
    let begun = Instant::now();
    let report = run(&with, |triggered, _| triggered >= barriers)?;
    let elapsed = begun.elapsed();
    println!("RESULT {}", json(&with, &report));
    let without = Spec { checkpoints: None, ..spec.clone() };
    let report = run(&without, |_, so_far| so_far >= elapsed)?;
    println!("RESULT {}", json(&without, &report));
    Ok(())
}

/// Runs until `is_enough` says so, of the number of checkpoints that have ended and the time.
fn run(spec: &Spec, is_enough: impl Fn(i64, Duration) -> bool) -> Result<JobReport, String> {
    let handle = without_an_end(spec).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    loop {
        let metrics = handle.metrics();
        let ended = metrics.total("numberOfCompletedCheckpoints") + metrics.total("numberOfFailedCheckpoints");
        if is_enough(ended, begun.elapsed()) || handle.history().outcome().is_some() {
            break;
        }
        sleep(LOOKS);
    }
    handle.stop();
    handle.wait().map_err(|error| error.to_string())
}

fn json(spec: &Spec, report: &JobReport) -> String {
    let metrics = &report.metrics;
    let shown = |name: &str, durations: &Durations| {
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        let [median, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| us(durations.quantile(q)));
        let (count, max) = (durations.count(), us(durations.max()));
        format!(
            "\"{name}\":{{\"count\":{count},\"p50_us\":{median:.1},\"p99_us\":{p99:.1},\"p99.9_us\":{p999:.1},\"p99.99_us\":{p9999:.1},\"max_us\":{max:.1}}}"
        )
    };
    let kinds = [
        ("slice", "sliceDuration"),
        ("sync", "checkpointSyncDuration"),
        ("async", "checkpointAsyncDuration"),
        ("commit", "checkpointCommitDuration"),
    ];
    let durations = kinds.map(|(name, metric)| shown(name, &metrics.durations(metric))).join(",");
    let [completed, failed] = ["numberOfCompletedCheckpoints", "numberOfFailedCheckpoints"].map(|name| metrics.total(name));
    format!(
        "{{\"peer\":\"thalweg\",\"w\":\"stall\",\"p\":{},\"keys\":{},\"checkpoints\":{completed},\"given_up\":{failed},\"wall_s\":{:.1},\"events\":{},{durations}}}",
        spec.parallelism,
        spec.keys,
        report.elapsed.as_secs_f64(),
        metrics.total("numRecordsOut"),
    )
}
