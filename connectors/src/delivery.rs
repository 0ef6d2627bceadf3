//! How often a record may appear among the results when a job is interrupted.

/// What a [`FileSink`](super::FileSink) promises about records that a job reads again after a failure (Flink's `DeliveryGuarantee`).
///
/// Without a failure every guarantee gives the same results. After a failure, a job resumes from its last complete checkpoint and computes the later
/// results again (docs/src/semantics.md#o-1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryGuarantee {
    /// Each result shows once. An epoch shows when its checkpoint is complete, so results are delayed by up to a checkpoint interval.
    #[default]
    ExactlyOnce,
    /// Each result shows at least once. An epoch shows as soon as its subtask has sealed it, without waiting for other subtasks and the checkpoint; if the
    /// checkpoint does not complete, its results show again, in files that carry the number of the next attempt.
    AtLeastOnce,
    /// Each result shows at most once. Results that a restored checkpoint names as prepared, and that are not known to be shown, are dropped instead of
    /// shown: even a reader that takes files away when it has seen them gets nothing twice, but some results may never show.
    AtMostOnce,
}
