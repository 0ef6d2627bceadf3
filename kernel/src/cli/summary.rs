//! What is said at the end of a job: where every row went, what was written where, and how fast.

use super::progress::{per_second, rows_read};
use crate::runtime::JobReport;
use indicatif::HumanCount;
use std::fmt::Write;

/// The summary of a finished job, whose sinks have put their results at `outputs`.
pub(super) fn describe(report: &JobReport, outputs: &[(String, String)]) -> String {
    let metrics = &report.metrics;
    let total = |name| metrics.total(name).unsigned_abs();
    let rows = rows_read(metrics);
    let malformed = total("numRecordsInErrors");
    // Dropped, or sent to an output of their own.
    let late = total("numLateRecordsDropped") + total("numLateRecords");
    let mut windows: Vec<_> = metrics.iter().filter(|metric| metric.name == "numLateRecords").map(|metric| &metric.operator).collect();
    windows.dedup();

    let rate = HumanCount(per_second(rows, report.elapsed));
    let seconds = report.elapsed.as_secs_f64();
    let mut text = format!("{}: done in {seconds:.2} s, {} rows read, {rate} rows/s\n", report.job, HumanCount(rows));
    let mut line = |count: u64, what: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:>12} {what}", HumanCount(count).to_string());
    };
    // With several windows a row may be on time for one and late for another.
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
    text
}
