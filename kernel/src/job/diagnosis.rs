//! The known facts about a failure: the error gives the reason; the error, the coordinator and the graph of the job together give the place.

use crate::checkpoint::Attempt;
use crate::error::JobError;
use crate::graph::Job;
use crate::job::history::{Failure, FailurePlace};
use thalweg_io::UnixMillis;

/// Most bytes that are kept of the text of a failure. It may show a record.
const REASON_BYTES_MAX: usize = 4096;

impl Failure {
    /// The known facts about `error`, which the coordinator of `job` heard of at `at`.
    pub(crate) fn of(error: &JobError, job: &Job, attempt: Option<Attempt>, at: UnixMillis, place: FailurePlace) -> Self {
        let operator = error.operator().map(str::to_owned);
        let meta = job.operators.iter().find(|meta| operator.as_deref() == Some(&meta.name));
        let FailurePlace { task_uid, subtask, worker } = place;
        let of_task = meta.and_then(|meta| meta.task).and_then(|task| job.tasks.get(task)).map(|task| task.uid.clone());
        let task_uid = task_uid.or(of_task);
        let task = job.tasks.iter().find(|task| task_uid.as_deref() == Some(&task.uid)).map(|task| task.name.clone());
        Self {
            attempt,
            at,
            reason: shortened(error.to_string()),
            cause: error.cause(),
            task_uid,
            task,
            operator_uid: meta.map(|meta| meta.uid.clone()),
            operator,
            subtask: subtask.or(error.subtask()),
            worker: worker.or(error.worker().map(str::to_owned)),
        }
    }
}

fn shortened(mut text: String) -> String {
    let kept = (0..=REASON_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(kept);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamExecutionEnvironment;

    fn job() -> Job {
        let env = StreamExecutionEnvironment::new();
        env.from_collection(vec![1u64]).uid("numbers").rebalance().map(|n| n + 1).name("add").uid("adds").for_each(|_| {});
        env.build("a job").unwrap()
    }

    #[test]
    fn a_failure_names_task_operator_and_subtask_with_their_uids() {
        let error = JobError::Operator { operator: "add".to_owned(), subtask: 3, reason: "too late".to_owned() };
        let failure = Failure::of(&error, &job(), Some(Attempt(2)), UnixMillis(7), FailurePlace::default());
        assert_eq!((failure.operator.as_deref(), failure.operator_uid.as_deref()), (Some("add"), Some("adds")));
        assert_eq!((failure.task_uid.as_deref(), failure.task.as_deref()), (Some("adds"), Some("add -> for-each")));
        assert_eq!((failure.subtask, failure.worker, failure.at), (Some(3), None, UnixMillis(7)));
        assert_eq!(failure.reason, "operator add, subtask 3: too late");
    }

    #[test]
    fn what_the_coordinator_knows_of_the_place_comes_first() {
        let error = JobError::Internal { place: "map(1/2)".to_owned(), message: "what must not be".to_owned() };
        let place = FailurePlace { task_uid: Some("numbers".to_owned()), subtask: Some(1), worker: Some("w".to_owned()) };
        let failure = Failure::of(&error, &job(), None, UnixMillis(7), place);
        assert_eq!((failure.task.as_deref(), failure.subtask, failure.worker.as_deref()), (Some("collection"), Some(1), Some("w")));
        let lost = JobError::WorkerLost { worker: "v".to_owned(), reason: "silence".to_owned() };
        assert_eq!(Failure::of(&lost, &job(), None, UnixMillis(7), FailurePlace::default()).worker.as_deref(), Some("v"));
    }

    #[test]
    fn of_a_long_text_the_beginning_is_kept() {
        let failure = Failure::of(&JobError::invalid("\u{e4}".repeat(9000)), &job(), None, UnixMillis(0), FailurePlace::default());
        assert!(failure.reason.len() <= REASON_BYTES_MAX && failure.reason.starts_with("the job cannot be run: \u{e4}"));
    }
}
