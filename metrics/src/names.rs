//! The Prometheus name of each metric, with its unit and its meaning; `docs/src/observability.md` is the same list for people.
//!
//! Prometheus wants base units: seconds, bytes, ratios. Within the engine metrics are Flink's, in milliseconds and nanoseconds, and so they are in the
//! aliases that carry Flink's names.

use thalweg_kernel::MetricScope::{self, Job, Operator, Task};

/// The naming scheme of the exposed metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricNames {
    /// Thalweg's own, in Prometheus' style: `thalweg_task_records_in_total`.
    #[default]
    Thalweg,
    /// Thalweg's names, and besides them those of Flink's reporter: `flink_taskmanager_job_task_numRecordsIn`.
    WithFlink,
}

/// The unit of a metric within the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A count of things, or of bytes.
    One,
    Milliseconds,
    Nanoseconds,
    /// Thousandths: milliseconds per second.
    Thousandths,
}

/// The description of a metric.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) scope: MetricScope,
    /// The metric's name within the engine.
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) shown: &'static str,
    /// The last part of its name in Flink, unless Flink has no such metric.
    pub(super) flink: Option<&'static str>,
    pub(super) help: &'static str,
}

const fn row(
    scope: MetricScope,
    name: &'static str,
    unit: Unit,
    shown: &'static str,
    flink: Option<&'static str>,
    help: &'static str,
) -> Description {
    Description { scope, name, unit, shown, flink, help }
}

use Unit::{Milliseconds, Nanoseconds, One, Thousandths};

/// The descriptions of all metrics, in the order in which they are shown. Others are not shown; thalweg/tests/metrics_endpoint.rs checks that none is missing.
#[rustfmt::skip]
pub(super) const DESCRIPTIONS: &[Description] = &[
    row(Job, "numRestarts", One, "thalweg_job_restarts_total", Some("numRestarts"),
        "Attempts that failed and were followed by another one."),
    row(Job, "numberOfCompletedCheckpoints", One, "thalweg_job_checkpoints_completed_total", Some("numberOfCompletedCheckpoints"),
        "Checkpoints that are complete."),
    row(Job, "numberOfFailedCheckpoints", One, "thalweg_job_checkpoints_failed_total", Some("numberOfFailedCheckpoints"),
        "Checkpoints that were given up: not complete in time, or no room on the disk."),
    row(Job, "lastCheckpointDuration", Milliseconds, "thalweg_job_last_checkpoint_duration_seconds", Some("lastCheckpointDuration"),
        "Of the latest complete checkpoint, from its trigger until it was durable."),
    row(Job, "lastCheckpointSize", One, "thalweg_job_last_checkpoint_size_bytes", Some("lastCheckpointSize"),
        "State that was written for the latest complete checkpoint."),
    row(Job, "lastCheckpointFullSize", One, "thalweg_job_last_checkpoint_full_size_bytes", Some("lastCheckpointFullSize"),
        "State in the latest complete checkpoint, also what was written for earlier ones."),
    row(Job, "checkpointCommitDuration", Nanoseconds, "thalweg_job_checkpoint_commit_duration_seconds", None,
        "From the last acknowledgement of a checkpoint until it was durable."),
    row(Job, "numberOfSinksWaitingForRoom", One, "thalweg_job_sinks_waiting_for_room", None,
        "Subtasks of sinks that wait because a disk is full; the coordinator counts as one where it shows results."),
    row(Task, "numRecordsIn", One, "thalweg_task_records_in_total", Some("numRecordsIn"),
        "Records taken from other tasks."),
    row(Task, "numRecordsOutOfTask", One, "thalweg_task_records_out_total", Some("numRecordsOut"),
        "Records handed over to other tasks, each copy counted."),
    row(Task, "numRecordsRebuilt", One, "thalweg_task_records_rebuilt_total", None,
        "Records that were only lent to the end of the task, and copied to be handed over."),
    row(Task, "numBuffersOut", One, "thalweg_task_frames_out_total", Some("numBuffersOut"),
        "Frames handed over to other tasks."),
    row(Task, "numCreditWaits", One, "thalweg_task_credit_waits_total", None,
        "Full frames that found no room in their channel."),
    row(Task, "inputQueueLength", One, "thalweg_task_input_queue_frames", Some("Shuffle_Netty_Input_Buffers_inputQueueLength"),
        "Frames that wait to be taken, by channel."),
    row(Task, "inputWindowRecords", One, "thalweg_task_input_window_records", None,
        "Records that each sender may have under way to the task; over all of them that is a second's work at most."),
    row(Task, "currentInputWatermark", Milliseconds, "thalweg_task_input_watermark_seconds", Some("currentInputWatermark"),
        "The watermark that the task's channels amount to, in event time since 1970; +Inf after the end of input."),
    row(Task, "accumulateBusyTimeMs", Milliseconds, "thalweg_task_busy_seconds_total", Some("accumulateBusyTimeMs"),
        "Time that the task was neither idle nor back-pressured."),
    row(Task, "accumulateIdleTimeMs", Milliseconds, "thalweg_task_idle_seconds_total", Some("accumulateIdleTimeMs"),
        "Time that the task waited for input."),
    row(Task, "accumulateBackPressuredTimeMs", Milliseconds, "thalweg_task_back_pressured_seconds_total", Some("accumulateBackPressuredTimeMs"),
        "Time that the task waited for room downstream."),
    row(Task, "busyTimeMsPerSecond", Thousandths, "thalweg_task_busy_ratio", Some("busyTimeMsPerSecond"),
        "Share of the latest second or so that the task was busy."),
    row(Task, "idleTimeMsPerSecond", Thousandths, "thalweg_task_idle_ratio", Some("idleTimeMsPerSecond"),
        "Share of the latest second or so that the task waited for input."),
    row(Task, "backPressuredTimeMsPerSecond", Thousandths, "thalweg_task_back_pressured_ratio", Some("backPressuredTimeMsPerSecond"),
        "Share of the latest second or so that the task waited for room downstream."),
    row(Task, "checkpointAlignmentTime", Nanoseconds, "thalweg_task_checkpoint_alignment_seconds", Some("checkpointAlignmentTime"),
        "Of the latest barrier, from the first channel that delivered it to the last."),
    row(Task, "sliceDuration", Nanoseconds, "thalweg_task_slice_duration_seconds", None,
        "How long the task held its core at a time."),
    row(Task, "checkpointAlignmentDuration", Nanoseconds, "thalweg_task_checkpoint_alignment_duration_seconds", None,
        "From the first channel that delivered a barrier to the last."),
    row(Task, "checkpointSyncDuration", Nanoseconds, "thalweg_task_checkpoint_sync_duration_seconds", None,
        "From then until the barrier had passed the task: no record was worked off meanwhile."),
    row(Task, "checkpointAsyncDuration", Nanoseconds, "thalweg_task_checkpoint_async_duration_seconds", None,
        "From then until the task's state was saved and durable, while the task went on."),
    row(Task, "numRecordsInRemote", One, "thalweg_task_remote_records_in_total", Some("numRecordsInRemote"),
        "Records that came from another worker; the task is the exchange with it, the subtask the core."),
    row(Task, "numBuffersInRemote", One, "thalweg_task_remote_frames_in_total", Some("numBuffersInRemote"),
        "Frames that came from another worker."),
    row(Task, "numBytesInRemote", One, "thalweg_task_remote_in_bytes_total", Some("numBytesInRemote"),
        "Bytes that came from another worker."),
    row(Task, "numRecordsOutRemote", One, "thalweg_task_remote_records_out_total", Some("numRecordsOutRemote"),
        "Records that went to another worker; the task is the exchange with it, the subtask the core."),
    row(Task, "numBuffersOutRemote", One, "thalweg_task_remote_frames_out_total", Some("numBuffersOutRemote"),
        "Frames that went to another worker."),
    row(Task, "numBytesOutRemote", One, "thalweg_task_remote_out_bytes_total", Some("numBytesOutRemote"),
        "Bytes that went to another worker."),
    row(Operator, "numRecordsOut", One, "thalweg_operator_records_out_total", Some("numRecordsOut"),
        "Records that a source has emitted."),
    row(Operator, "numRecordsInErrors", One, "thalweg_operator_malformed_records_total", Some("numRecordsInErrors"),
        "Malformed records that a source has met."),
    row(Operator, "numRecordsSend", One, "thalweg_operator_records_sent_total", Some("numRecordsSend"),
        "Records that a sink was given."),
    row(Operator, "numLateRecordsDropped", One, "thalweg_operator_late_records_dropped_total", Some("numLateRecordsDropped"),
        "Records that came too late and were dropped."),
    row(Operator, "numLateRecords", One, "thalweg_operator_late_records_total", None,
        "Records that came too late and went to the late output."),
    row(Operator, "currentOutputWatermark", Milliseconds, "thalweg_operator_output_watermark_seconds", Some("currentOutputWatermark"),
        "The watermark that the operator sent last, in event time since 1970; +Inf after the end of input."),
    row(Operator, "numStateEntries", One, "thalweg_operator_state_entries", None,
        "Entries of keyed state, of windows that are not over and of timers, as the operator holds them."),
    row(Operator, "stateTableBytes", One, "thalweg_operator_state_table_bytes", None,
        "Bytes of memory that the tables of these entries take, without what keys and values own outside of them."),
    row(Operator, "lastCheckpointStateSize", One, "thalweg_operator_last_checkpoint_size_bytes", None,
        "State that was written for the latest checkpoint that the subtask has acknowledged."),
    row(Operator, "lastCheckpointStateFullSize", One, "thalweg_operator_last_checkpoint_full_size_bytes", None,
        "State in the latest checkpoint that the subtask has acknowledged, also what was written for earlier ones."),
    row(Operator, "lastCheckpointStateFiles", One, "thalweg_operator_last_checkpoint_files", None,
        "Files that this state lies in, 256 at most; 0 if it lies within the metadata."),
];

impl Description {
    /// The name that Flink's reporter would give it.
    pub(super) fn alias(&self) -> Option<String> {
        let scope = match self.scope {
            Job => "flink_jobmanager_job",
            Task => "flink_taskmanager_job_task",
            Operator => "flink_taskmanager_job_task_operator",
        };
        self.flink.map(|name| format!("{scope}_{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_prometheus_names_and_each_is_there_once() {
        let shown: BTreeSet<&str> = DESCRIPTIONS.iter().map(|row| row.shown).collect();
        let aliases: BTreeSet<String> = DESCRIPTIONS.iter().filter_map(Description::alias).collect();
        let known: BTreeSet<_> = DESCRIPTIONS.iter().map(|row| (row.scope, row.name)).collect();
        assert_eq!([shown.len(), known.len()], [DESCRIPTIONS.len(); 2]);
        assert_eq!(aliases.len(), DESCRIPTIONS.iter().filter(|row| row.flink.is_some()).count());
        for row in DESCRIPTIONS {
            assert!(row.shown.starts_with("thalweg_") && row.shown.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{row:?}");
            let ends_in = |suffix: &str| row.shown.trim_end_matches("_total").ends_with(suffix);
            let fits = match row.unit {
                Unit::Milliseconds | Unit::Nanoseconds => ends_in("_seconds"),
                Unit::Thousandths => ends_in("_ratio"),
                Unit::One => !ends_in("_seconds") && !ends_in("_ratio"),
            };
            assert!(fits, "{row:?}");
            assert!(!row.help.contains(['\n', '\\']) && row.help.ends_with('.'), "help is shown as it is: {row:?}");
        }
    }

    #[test]
    fn the_page_lists_every_number() {
        let page = include_str!("../../docs/src/observability.md");
        for row in DESCRIPTIONS {
            let line = page.lines().find(|line| line.starts_with(&format!("| `{}`", row.shown)));
            let line = line.unwrap_or_else(|| panic!("docs/src/observability.md does not list {}", row.shown));
            assert!(
                line.contains(&format!("`{}`", row.name)),
                "docs/src/observability.md: {} is {} within the engine",
                row.shown,
                row.name
            );
        }
    }
}
