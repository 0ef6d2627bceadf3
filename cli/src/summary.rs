//! The summary at the end of a job: the state it resumed from, the fate of all rows, where each result was written, how much state
//! there is, and the speed.

use super::bottleneck::Bottleneck;
use super::progress::{per_second, rows_read};
use super::state_sizes;
use super::workers;
use indicatif::HumanCount;
use std::fmt::Write;
use std::time::Duration;
use thalweg_kernel::{JobEnding, JobMetrics, JobReport};

/// The summary of a finished job, whose sinks have put their results at `outputs`.
pub(super) fn describe(report: &JobReport, outputs: &[(String, String)]) -> String {
    if report.ending == JobEnding::AlreadyFinished {
        return format!("{}: the job has finished before; nothing to do\n", report.job);
    }
    let metrics = &report.metrics;
    let total = |name| metrics.total(name).unsigned_abs();
    let rows = rows_read(metrics);
    let malformed = total("numRecordsInErrors");
    // Dropped, or sent to a side output.
    let late = total("numLateRecordsDropped") + total("numLateRecords");
    let mut windows: Vec<_> = metrics.iter().filter(|metric| metric.name == "numLateRecords").map(|metric| &metric.operator).collect();
    windows.dedup();

    let rate = HumanCount(per_second(rows, report.elapsed));
    let seconds = report.elapsed.as_secs_f64();
    let ended = match report.ending {
        JobEnding::Stopped(_) => "stopped after",
        JobEnding::Finished | JobEnding::AlreadyFinished => "done in",
    };
    let mut text = format!("{}: {ended} {seconds:.2} s, {} rows read, {rate} rows/s\n", report.job, HumanCount(rows));
    text.push_str(&recovery(report));
    let mut line = |count: u64, what: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:>12} {what}", HumanCount(count).to_string());
    };
    // With several windows a row may be on time for one window and late for another.
    if windows.len() == 1 && rows >= malformed + late {
        line(rows - malformed - late, "counted");
    }
    if !windows.is_empty() {
        line(late, "late");
    }
    line(malformed, "malformed");
    for (sink, place) in outputs {
        line(metrics.sum(sink, "numRecordsSend").unsigned_abs(), &format!("lines written by {sink} to {place}"));
    }
    text.push_str(&state_sizes::describe(metrics));
    text.push_str(&stalls(metrics));
    text.push_str(&workers::describe(report));
    if let Some(bottleneck) = Bottleneck::overall(metrics) {
        text.push_str(&format!("  {bottleneck}\n"));
    }
    if let JobEnding::Stopped(checkpoint) = report.ending {
        text.push_str(&format!("stopped with checkpoint {checkpoint}; run the same command again to go on\n"));
    }
    text
}

/// The state the job resumed from, and the failures on the way; empty for a job that simply ran.
fn recovery(report: &JobReport) -> String {
    let mut parts = Vec::new();
    if let Some(from) = report.restored {
        parts.push(format!("restored checkpoint {}, {} old", from.checkpoint, age(from.age)));
    }
    if report.checkpoints > 0 {
        parts.push(counted(report.checkpoints, "checkpoint completed", "checkpoints completed"));
    }
    if report.restarts > 0 {
        parts.push(counted(u64::from(report.restarts), "restart", "restarts"));
    }
    let since = match (report.restarts > 0, report.restored.is_some()) {
        (true, _) => "; the numbers are those since the last restart",
        (false, true) => "; the numbers are those since then",
        (false, false) => "",
    };
    // Sources resume after the barrier of the last checkpoint.
    if parts.is_empty() { String::new() } else { format!("  {}{since}\n", parts.join(", ")) }
}

/// How long records have waited at most for the engine itself: for slices of work, and for checkpoints.
fn stalls(metrics: &JobMetrics) -> String {
    let ms = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1_000.0);
    let p99_and_most = |name| {
        let durations = metrics.durations(name);
        format!("{}, {} at most", ms(durations.quantile(0.99)), ms(durations.max()))
    };
    let slices = metrics.durations("sliceDuration");
    if slices.count() == 0 {
        return String::new();
    }
    let mut text = format!(
        "  a core was held for at most {} in 99.99 % of slices, and never longer than {}\n",
        ms(slices.quantile(0.9999)),
        ms(slices.max())
    );
    if metrics.durations("checkpointSyncDuration").count() > 0 {
        let [sync, durable, commit] = ["checkpointSyncDuration", "checkpointAsyncDuration", "checkpointCommitDuration"].map(p99_and_most);
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "  checkpoints, 99 % of them: passed a task in {sync}; durable there after {durable}; committed in {commit}");
    }
    text
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(count), if count == 1 { one } else { many })
}

/// Formats an age; to the tenth of a second while that matters.
fn age(age: Duration) -> String {
    if age < Duration::from_secs(1) {
        format!("{} ms", age.as_millis())
    } else if age < Duration::from_secs(10) {
        format!("{:.1} s", age.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(age.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use thalweg_kernel::checkpoint::CheckpointId;
    use thalweg_kernel::{Durations, Metric, MetricKind, RestoredFrom};

    fn report(ending: JobEnding) -> JobReport {
        JobReport {
            job: "sums".to_owned(),
            ending,
            restored: None,
            restarts: 0,
            workers: vec![],
            checkpoints: 0,
            elapsed: Duration::from_secs(2),
            metrics: JobMetrics::default(),
        }
    }

    #[test]
    fn a_job_that_went_on_says_from_where() {
        let from = RestoredFrom { checkpoint: CheckpointId(12), age: Duration::from_millis(3_040) };
        let text = describe(&JobReport { restored: Some(from), checkpoints: 1, ..report(JobEnding::Finished) }, &[]);
        assert!(
            text.contains("\n  restored checkpoint 12, 3.0 s old, 1 checkpoint completed; the numbers are those since then\n"),
            "{text}"
        );
        let text = describe(&JobReport { restarts: 2, checkpoints: 31, ..report(JobEnding::Finished) }, &[]);
        assert!(text.contains("  31 checkpoints completed, 2 restarts; the numbers are those since the last restart\n"), "{text}");
        assert_eq!(age(Duration::from_millis(62_900)), "1m 2s");
    }

    /// A number that is not there yet, or never will be, leaves no line.
    #[test]
    fn what_records_have_waited_for_is_told_once_it_is_known() {
        let histogram = |name: &'static str, ms: &[u64]| {
            let mut durations = Durations::default();
            ms.iter().for_each(|ms| durations.record(Duration::from_millis(*ms)));
            let value = ms.len() as i64;
            Metric { durations: Some(Arc::new(durations)), ..Metric::of_job(name, MetricKind::Histogram, value) }
        };
        let told = |metrics: Vec<Metric>| stalls(&metrics.into_iter().collect());
        assert_eq!(told(vec![]), "");
        let slices = || histogram("sliceDuration", &[1, 2, 40]);
        let only_slices = "  a core was held for at most 40.00 ms in 99.99 % of slices, and never longer than 40.00 ms\n";
        assert_eq!(told(vec![slices()]), only_slices);
        let text = told(vec![
            slices(),
            histogram("checkpointSyncDuration", &[1]),
            histogram("checkpointAsyncDuration", &[300]),
            histogram("checkpointCommitDuration", &[4, 7]),
        ]);
        let checkpoints = "  checkpoints, 99 % of them: passed a task in 1.00 ms, 1.00 ms at most; durable there after 300.00 ms, 300.00 ms at most; \
                           committed in 7.00 ms, 7.00 ms at most\n";
        assert_eq!(text, format!("{only_slices}{checkpoints}"));
    }

    #[test]
    fn a_job_that_was_stopped_or_had_finished_says_so() {
        let text = describe(&report(JobEnding::Stopped(CheckpointId(7))), &[]);
        assert!(
            text.starts_with("sums: stopped after 2.00 s")
                && text.ends_with("stopped with checkpoint 7; run the same command again to go on\n")
        );
        assert_eq!(describe(&report(JobEnding::AlreadyFinished), &[]), "sums: the job has finished before; nothing to do\n");
    }
}
