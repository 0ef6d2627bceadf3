//! A worker's part in the newest attempt that it was given, as both ends of its connection know it.
//!
//! Pure.

use crate::checkpoint::Attempt;
use crate::runtime::{Deployment, FromSubtask};
use std::collections::BTreeSet;

/// The subtasks of a worker that have not ended.
pub(super) struct Share {
    /// Of the job.
    operators: usize,
    attempt: Attempt,
    subtasks: BTreeSet<usize>,
}

impl Share {
    /// Of a worker that was given nothing yet, in a job with `operators` operators.
    pub(super) fn new(operators: usize) -> Self {
        Self { operators, attempt: Attempt(0), subtasks: BTreeSet::new() }
    }

    /// The worker is given its part of an attempt.
    pub(super) fn deployed(&mut self, deployment: &Deployment) {
        let Deployment { plan, layout, seat, .. } = deployment;
        self.attempt = plan.attempt;
        let of_all =
            layout.parallelism.iter().enumerate().flat_map(|(task, parallelism)| (0..*parallelism).map(move |subtask| (task, subtask)));
        let own = of_all.enumerate().filter(|(_, (task, subtask))| layout.place(*task, *subtask).seat == *seat);
        self.subtasks = own.map(|(id, _)| id).collect();
    }

    /// A subtask has said its last word; whether it was the last of the attempt here.
    pub(super) fn ended(&mut self, attempt: Attempt, subtask: usize) -> bool {
        attempt == self.attempt && self.subtasks.remove(&subtask) && self.subtasks.is_empty()
    }

    /// What cannot be about a message of the worker, if anything. What an older attempt says late is the coordinator's to refuse.
    pub(super) fn fault_in(&self, attempt: Attempt, message: &FromSubtask) -> Option<String> {
        if attempt > self.attempt {
            return Some(format!("it speaks of attempt {attempt} and was given {}", self.attempt));
        }
        let (subtask, operator) = match message {
            FromSubtask::SplitRequested { source, subtask } => (Some(*subtask), Some(*source)),
            FromSubtask::Acknowledged { subtask, acknowledgement } => {
                (Some(*subtask), acknowledgement.prepared.as_ref().map(|prepared| prepared.sink))
            }
            FromSubtask::Declined { prepared, .. } => (None, prepared.as_ref().map(|prepared| prepared.sink)),
            FromSubtask::Finished { subtask, prepared } => (Some(*subtask), prepared.as_ref().map(|prepared| prepared.sink)),
            FromSubtask::Failed { .. } => (None, None),
            FromSubtask::Ended { subtask, .. } => (Some(*subtask), None),
        };
        if let Some(operator) = operator.filter(|operator| operator.0 >= self.operators) {
            return Some(format!("it speaks of operator {} of {}", operator.0, self.operators));
        }
        let foreign = subtask.filter(|subtask| attempt == self.attempt && !self.subtasks.contains(subtask));
        foreign.map(|subtask| format!("it speaks for subtask {subtask}, which is not its own or has ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{CheckpointId, JobId};
    use crate::graph::OperatorId;
    use crate::runtime::{AttemptPlan, Layout, Seat, WorkerId};

    fn share() -> Share {
        let seat = |worker| Seat { worker: WorkerId(worker), name: String::new(), cores: 1, doors: vec![] };
        let plan = AttemptPlan { job: JobId(1), attempt: Attempt(3), epoch: CheckpointId(1), snapshots: None };
        let layout = Layout { parallelism: vec![2, 2], seats: vec![seat(1), seat(2)] };
        let mut share = Share::new(2);
        share.deployed(&Deployment { plan, restore: None, layout, seat: 1 });
        share
    }

    #[test]
    fn a_worker_speaks_for_its_own_subtasks_until_they_have_ended() {
        let mut share = share();
        let ended = |subtask| FromSubtask::Ended { subtask, metrics: vec![] };
        assert_eq!(share.fault_in(Attempt(3), &ended(1)), None);
        assert!(share.fault_in(Attempt(3), &ended(0)).is_some(), "another worker's");
        assert!(share.fault_in(Attempt(3), &ended(99)).is_some(), "nobody's");
        assert!(share.fault_in(Attempt(4), &ended(1)).is_some(), "of an attempt to come");
        assert_eq!(share.fault_in(Attempt(2), &ended(0)), None, "of an older attempt: refused elsewhere");
        assert!(!share.ended(Attempt(2), 1));
        assert!(!share.ended(Attempt(3), 1));
        assert!(share.fault_in(Attempt(3), &ended(1)).is_some(), "it ended already");
        assert!(share.ended(Attempt(3), 3));
    }

    #[test]
    fn operators_that_the_job_does_not_have_are_found_whatever_the_attempt() {
        let request = |source| FromSubtask::SplitRequested { source: OperatorId(source), subtask: 1 };
        assert_eq!(share().fault_in(Attempt(3), &request(1)), None);
        assert!(share().fault_in(Attempt(3), &request(2)).is_some());
        assert!(share().fault_in(Attempt(1), &request(2)).is_some());
    }
}
