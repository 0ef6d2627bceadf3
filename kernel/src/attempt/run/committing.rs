//! How an attempt has sinks show the results that a complete checkpoint names, and waits for room where there is none (docs/src/semantics.md#o-7).
//!
//! A commit that finds no room is repeated later, as a whole: results that are shown already do not change. When the attempt closes it is not repeated, and
//! the prepared results stay for the next attempt.

use super::AttemptRun;
use crate::attempt::checkpoint_coordinator as checkpoints;
use crate::attempt::room::RoomWaits;
use crate::attempt::sinks::{self, ASK_AGAIN_AFTER, SinkUndone};
use crate::checkpoint::CheckpointId;

impl AttemptRun<'_> {
    /// Tells the sinks to commit. From here on results may show.
    pub(crate) fn commit(&mut self, checkpoint: CheckpointId) {
        self.observe("checkpoint.commit", checkpoint, 0);
        tracing::debug!(%checkpoint, "sinks are told to commit");
        self.commit_is_open = true;
        self.ask_to_commit(checkpoint);
    }

    fn ask_to_commit(&mut self, checkpoint: CheckpointId) {
        let named = self.ledger.named_by(checkpoint);
        let committing = sinks::commit(self.parts.job, self.parts.io, &named);
        self.committing = Some(Box::pin(async move { (checkpoint, committing.await) }));
    }

    /// Repeats a commit that found no room, if it is time to.
    pub(crate) fn commit_again_when_due(&mut self) {
        let now = self.parts.io.clock().now();
        if let Some((_, checkpoint)) = self.commit_again.take_if(|(at, _)| now >= *at) {
            self.ask_to_commit(checkpoint);
        }
    }

    pub(crate) fn committed(&mut self, checkpoint: CheckpointId, result: Result<(), SinkUndone>) {
        match result {
            Ok(()) => {
                self.room.coordinator(None);
                self.tell_of_room();
                self.commit_is_open = false;
                self.observe("checkpoint.committed", checkpoint, 0);
                self.ledger.committed(checkpoint);
                self.decide(checkpoints::CheckpointInput::Committed { checkpoint });
                self.enlarge();
            }
            Err(SinkUndone::NoRoom { source, .. }) if !self.closing => {
                self.observe("checkpoint.commit-no-room", checkpoint, 0);
                self.room.coordinator(Some(source.to_string()));
                self.tell_of_room();
                self.commit_again = Some((self.parts.io.clock().now().after(ASK_AGAIN_AFTER), checkpoint));
            }
            Err(undone) => self.fail(undone.into()),
        }
    }

    /// Shows and logs which writers wait for room.
    pub(crate) fn tell_of_room(&mut self) {
        let now = self.parts.io.clock().now();
        self.room.tell(now, self.parts.shared);
    }

    /// The attempt is over, so no writer waits in it any more.
    pub(crate) fn nobody_waits_for_room(&mut self) {
        self.room = RoomWaits::default();
        self.tell_of_room();
    }
}
