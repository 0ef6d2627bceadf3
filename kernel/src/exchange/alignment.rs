//! Barrier alignment for a subtask with several inputs.
//!
//! An input that has delivered the barrier of a checkpoint is *blocked* until every input that has not ended has delivered it too; then the subtask
//! takes its snapshot, once, and all inputs are released together. Between the first and the last barrier no record of a blocked input is processed:
//! that is what makes the snapshots of all subtasks a consistent cut (docs/src/semantics.md#c-2).
//!
//! A newer barrier supersedes an older one that some input will not deliver any more; barriers older than the newest seen are ignored.
//!
//! Pure: no clock, no I/O.

use crate::checkpoint::CheckpointId;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AlignmentInput {
    Open,
    /// It has delivered the barrier; the subtask waits for the other inputs.
    Blocked,
    Ended,
}

/// Aligns the barriers of `n` inputs.
pub(crate) struct BarrierAligner {
    inputs: Vec<AlignmentInput>,
    /// The checkpoint that is being aligned.
    aligning: Option<CheckpointId>,
    /// The newest checkpoint that was aligned or given up.
    newest: CheckpointId,
}

impl BarrierAligner {
    pub(crate) fn new(inputs: usize) -> Self {
        Self { inputs: vec![AlignmentInput::Open; inputs], aligning: None, newest: CheckpointId(0) }
    }

    /// `input` has delivered the barrier of `checkpoint`. Returns the checkpoint if this completes its alignment: then no input is blocked.
    pub(crate) fn barrier(&mut self, input: usize, checkpoint: CheckpointId) -> Option<CheckpointId> {
        assert!(self.inputs[input] == AlignmentInput::Open, "input {input} delivered a barrier while {:?}", self.inputs[input]);
        match self.aligning {
            Some(current) if checkpoint < current => return None,
            None if checkpoint <= self.newest => return None,
            Some(current) if checkpoint > current => self.release(),
            _ => {}
        }
        self.aligning = Some(checkpoint);
        self.inputs[input] = AlignmentInput::Blocked;
        self.complete()
    }

    /// `input` has ended. Returns the checkpoint whose alignment this completes, if it does: an ended input counts as aligned.
    pub(crate) fn ended(&mut self, input: usize) -> Option<CheckpointId> {
        assert!(self.inputs[input] == AlignmentInput::Open, "input {input} ended while {:?}", self.inputs[input]);
        self.inputs[input] = AlignmentInput::Ended;
        self.complete()
    }

    /// Whether records of `input` have to wait.
    #[inline]
    pub(crate) fn is_blocked(&self, input: usize) -> bool {
        self.inputs[input] == AlignmentInput::Blocked
    }

    /// The checkpoint that is being aligned.
    pub(crate) fn aligning(&self) -> Option<CheckpointId> {
        self.aligning
    }

    fn complete(&mut self) -> Option<CheckpointId> {
        let aligned = self.aligning?;
        if self.inputs.contains(&AlignmentInput::Open) {
            return None;
        }
        self.release();
        Some(aligned)
    }

    fn release(&mut self) {
        self.newest = self.aligning.take().unwrap_or(self.newest).max(self.newest);
        self.inputs.iter_mut().filter(|input| **input == AlignmentInput::Blocked).for_each(|input| *input = AlignmentInput::Open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn checkpoint(number: u64) -> CheckpointId {
        CheckpointId(number)
    }

    #[test]
    fn an_input_waits_for_the_others_and_all_go_on_together() {
        let mut aligner = BarrierAligner::new(3);
        assert_eq!(aligner.barrier(1, checkpoint(1)), None);
        assert_eq!([0, 1, 2].map(|input| aligner.is_blocked(input)), [false, true, false]);
        assert_eq!(aligner.barrier(0, checkpoint(1)), None);
        assert_eq!(aligner.barrier(2, checkpoint(1)), Some(checkpoint(1)));
        assert_eq!([0, 1, 2].map(|input| aligner.is_blocked(input)), [false; 3]);
    }

    #[test]
    fn an_ended_input_counts_as_aligned_before_and_after() {
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.ended(0), None);
        assert_eq!(aligner.barrier(1, checkpoint(4)), Some(checkpoint(4)));
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.barrier(1, checkpoint(4)), None);
        assert_eq!(aligner.ended(0), Some(checkpoint(4)));
    }

    #[test]
    fn a_newer_barrier_takes_over_and_an_older_one_releases_nobody() {
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.barrier(0, checkpoint(1)), None);
        assert_eq!(aligner.barrier(1, checkpoint(2)), None);
        assert_eq!([0, 1].map(|input| aligner.is_blocked(input)), [false, true]);
        // The barrier of the checkpoint that was given up, once more.
        assert_eq!(aligner.barrier(0, checkpoint(1)), None);
        assert_eq!([0, 1].map(|input| aligner.is_blocked(input)), [false, true]);
        assert_eq!(aligner.barrier(0, checkpoint(2)), Some(checkpoint(2)));
        assert_eq!(aligner.barrier(0, checkpoint(2)), None);
        assert!(!aligner.is_blocked(0));
    }

    /// Every sequence of up to eight events on three inputs, against the definition.
    #[test]
    fn alignment_is_exact_in_every_order_of_events() {
        /// What each input delivers next: the barriers 1 and 2, and then its end.
        fn explore(aligner: &BarrierAligner, position: [u8; 3], aligned: u64, steps: &mut u64) {
            for input in 0..3 {
                if aligner.is_blocked(input) || position[input] == 3 {
                    continue;
                }
                let mut next = BarrierAligner { inputs: aligner.inputs.clone(), ..*aligner };
                let mut after = position;
                after[input] += 1;
                *steps += 1;
                let completed = match position[input] {
                    2 => next.ended(input),
                    delivered => next.barrier(input, checkpoint(u64::from(delivered) + 1)),
                };
                // A checkpoint is aligned at the very step at which the last input delivers its barrier or ends.
                let everywhere = after.iter().map(|delivered| u64::from(*delivered)).min().unwrap_or(0).min(2);
                assert_eq!(completed, (everywhere > aligned).then_some(checkpoint(everywhere)), "{after:?}");
                for other in 0..3 {
                    assert_eq!(next.is_blocked(other), after[other] < 3 && u64::from(after[other]) > everywhere, "{after:?}");
                }
                explore(&next, after, everywhere, steps);
            }
        }
        let mut steps = 0;
        explore(&BarrierAligner::new(3), [0; 3], 0, &mut steps);
        assert!(steps > 100, "{steps}");
    }
}
