//! Each worker's share of the work, for the summary of a job that had several.

use indicatif::{HumanBytes, HumanCount};
use thalweg_kernel::{JobMetrics, JobReport, WorkerShare};

/// A line for each worker; empty if one process did everything.
pub(super) fn describe(report: &JobReport) -> String {
    let workers =
        report.workers.iter().filter(|worker| report.metrics.iter().any(|metric| metric.worker.as_deref() == Some(&*worker.name)));
    workers.map(|worker| line(worker, &report.metrics)).collect()
}

fn line(worker: &WorkerShare, metrics: &JobMetrics) -> String {
    let total = |name: &str| -> u64 {
        let own = metrics.iter().filter(|metric| metric.worker.as_deref() == Some(&*worker.name) && metric.name == name);
        own.map(|metric| metric.value).sum::<i64>().unsigned_abs()
    };
    let exchanged = |records: &str, bytes: &str| format!("{} records ({})", HumanCount(total(records)), HumanBytes(total(bytes)));
    format!(
        "  worker {}: {}, {}, {}; sent {} to others, received {}\n",
        worker.name,
        counted(worker.cores, "core"),
        counted(worker.subtasks, "subtask"),
        counted(worker.key_groups as usize, "key group"),
        exchanged("numRecordsOutRemote", "numBytesOutRemote"),
        exchanged("numRecordsInRemote", "numBytesInRemote"),
    )
}

fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", HumanCount(count as u64), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_kernel::{Metric, MetricKind, MetricScope};

    #[test]
    fn a_worker_is_described_by_its_own_numbers() {
        let share = WorkerShare { name: "10.0.0.1:1".to_owned(), cores: 1, subtasks: 3, key_groups: 64 };
        let metric = |worker: &str, subtask, name: &'static str, value| Metric {
            scope: MetricScope::Task,
            operator: String::new(),
            uid: "".into(),
            subtask,
            channel: None,
            worker: Some(worker.into()),
            name: name.into(),
            kind: MetricKind::Counter,
            value,
            durations: None,
        };
        let metrics = JobMetrics::from_iter([
            metric("10.0.0.1:1", 0, "numRecordsOutRemote", 1_000),
            metric("10.0.0.1:1", 1, "numRecordsOutRemote", 234),
            metric("10.0.0.1:1", 0, "numBytesOutRemote", 2_048),
            metric("10.0.0.2:1", 0, "numRecordsOutRemote", 9),
        ]);
        assert_eq!(
            line(&share, &metrics),
            "  worker 10.0.0.1:1: 1 core, 3 subtasks, 64 key groups; sent 1,234 records (2.00 KiB) to others, received 0 records (0 B)\n"
        );
    }
}
