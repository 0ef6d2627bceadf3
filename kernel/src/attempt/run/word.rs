//! An attempt's messages to the outside: why it fails, that no checkpoint can be had, and what a stop waits for.

use super::{AttemptRun, STOP_PATIENCE, checkpoints, coordinator};
use crate::graph_ids::SubtaskId;
use crate::job::history::{CheckpointFailure, FailurePlace};

/// Most subtasks that are named when a stop waits for them.
const NAMED_MAX: usize = 3;

impl AttemptRun<'_> {
    /// Has a checkpoint taken for callers that wait for one to begin. A job without a folder refuses.
    pub(crate) fn requested(&mut self) {
        if self.folder.exists() {
            self.decide(checkpoints::CheckpointInput::Request);
        } else {
            self.parts.telling.callers().decline(CheckpointFailure::NotEnabled);
        }
    }

    /// Notes in the journal why the attempt is about to close, if it fails.
    pub(crate) fn tell_failure(&self, input: &coordinator::AttemptInput) {
        let (coordinator::AttemptInput::Failed(error) | coordinator::AttemptInput::Lost { error, .. }) = input else { return };
        if !self.closing {
            let place = self.failed_by.map_or_else(FailurePlace::default, |subtask| self.parts.roster.place_of(subtask));
            self.parts.journal.tell_failure(self.parts.job, Some(self.parts.plan.attempt), error, place);
        }
    }

    /// Logs what a stop waits for: somebody may want to know what holds it up.
    pub(crate) fn say_what_a_stop_waits_for(&mut self) {
        let now = self.parts.io.clock().now();
        if self.stop_word_at.is_none_or(|at| now < at) {
            return;
        }
        self.stop_word_at = Some(now.after(STOP_PATIENCE));
        if let Some(reason) = self.room.reason() {
            tracing::info!(target: "thalweg::job", "the stop waits for room for results: {reason}");
            return;
        }
        match self.checkpoints.awaited() {
            Some((checkpoint, missing)) if !missing.is_empty() => {
                let (missing, all, named) = (missing.len(), self.finished.len(), self.named(&missing));
                tracing::info!(target: "thalweg::job", "the stop waits for checkpoint {checkpoint}: the parts of {missing} of {all} subtasks are missing ({named})");
            }
            Some((checkpoint, _)) => {
                tracing::info!(target: "thalweg::job", "the stop waits for checkpoint {checkpoint} to be made durable");
            }
            None if self.committing.is_some() => tracing::info!(target: "thalweg::job", "the stop waits for results to be shown"),
            // No source is left that could send a barrier: the records that were read are worked off, and the last checkpoint is that of the end.
            None if self.checkpoints.only_the_end_is_left() => {
                let working = (0..self.finished.len()).filter(|subtask| !self.finished[*subtask]).collect::<Vec<_>>();
                let (count, all, named) = (working.len(), self.finished.len(), self.named(&working));
                tracing::info!(target: "thalweg::job", "the stop waits for the end of the input: {count} of {all} subtasks work on ({named})");
            }
            None => tracing::info!(target: "thalweg::job", "the stop waits for its checkpoint to begin"),
        }
    }

    /// The names of a few of these subtasks.
    fn named(&self, subtasks: &[SubtaskId]) -> String {
        let infos = self.parts.roster.infos();
        let names = subtasks.iter().take(NAMED_MAX).map(|subtask| infos[*subtask].name(self.parts.job));
        let more = (subtasks.len() > NAMED_MAX).then(|| "...".to_owned());
        names.chain(more).collect::<Vec<_>>().join(", ")
    }
}
