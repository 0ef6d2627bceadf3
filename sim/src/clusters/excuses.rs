//! Decides which errors a plan explains: any other error is a finding.
//!
//! Pure: depends on the plan, the disk's faults, and the error.

use crate::scenario::cluster_plan::{ClusterPlan, Rest};
use thalweg::{FailureCause, JobError};

/// Whether a job may fail with this error in the phase `number`. `is_sick`: the disk has failed.
pub(super) fn explains(plan: &ClusterPlan, number: usize, is_sick: bool, error: &JobError) -> bool {
    // A process that stays broken after the healing is trouble, too.
    let is_troubled = !plan.is_calm() || plan.rest.iter().any(|rest| *rest != Rest::Repaired);
    let is_planned_panic = |message: &str| plan.poison.is_some() && message.contains("a planned panic");
    match error {
        JobError::WorkerLost { .. } | JobError::Exchange { .. } | JobError::CheckpointsExpired { .. } => is_troubled,
        JobError::UserPanic { message, .. } => is_planned_panic(message),
        JobError::Cancelled => plan.phases[number].stop_ms.is_some(),
        JobError::Checkpoint { source, .. } => is_sick && !source.is_fenced() && !source.is_damage(),
        JobError::Source { .. } | JobError::Sink { .. } => is_sick,
        JobError::Invalid(refusal) => is_sick && refusal.reason().contains("choose another output folder"),
        JobError::Remote { cause: FailureCause::Fenced, .. } => plan.takeover_ms.is_some(),
        JobError::Remote { message, .. } => is_sick || is_planned_panic(message),
        _ => false,
    }
}

/// Whether a leader has ended because another has taken over.
pub(super) fn is_fenced(error: &JobError) -> bool {
    match error {
        JobError::Checkpoint { source, .. } => source.is_fenced(),
        JobError::Remote { cause, .. } => *cause == FailureCause::Fenced,
        _ => false,
    }
}

/// Whether a worker may end with this error: a flipped bit in a handshake looks like a wrong secret, or another program.
pub(super) fn may_refuse(plan: &ClusterPlan, error: &JobError) -> bool {
    matches!(error, JobError::Invalid(_)) && plan.flips_bits()
}
