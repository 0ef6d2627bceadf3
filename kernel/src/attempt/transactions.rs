//! The prepared transactions that are not known to be committed.
//!
//! A checkpoint names all transactions up to its own epoch, also those of earlier checkpoints and of given-up ones: when checkpoint n is lost and n+1
//! completes, the transactions prepared for n are committed with it (docs/src/semantics.md#o-2).
//!
//! Pure.

use crate::checkpoint::CheckpointId;
use crate::graph_ids::OperatorId;
use rkyv::util::AlignedVec;

/// A transaction of any sink.
#[derive(Clone)]
pub(crate) struct PreparedTransaction {
    pub(crate) sink: OperatorId,
    /// The epoch it belongs to: the first checkpoint that can name it.
    pub(crate) epoch: CheckpointId,
    pub(crate) bytes: AlignedVec,
}

/// All transactions that are prepared and not confirmed.
#[derive(Default)]
pub(crate) struct TransactionLedger {
    pending: Vec<PreparedTransaction>,
}

impl TransactionLedger {
    /// A sink has prepared `transaction`.
    pub(crate) fn prepared(&mut self, transaction: PreparedTransaction) {
        self.pending.push(transaction);
    }

    /// The transactions that `checkpoint` names, in the order of the epochs.
    pub(crate) fn named_by(&self, checkpoint: CheckpointId) -> Vec<PreparedTransaction> {
        let mut named: Vec<_> = self.pending.iter().filter(|transaction| transaction.epoch <= checkpoint).cloned().collect();
        named.sort_by_key(|transaction| transaction.epoch);
        named
    }

    /// All transactions that `checkpoint` names have been committed.
    pub(crate) fn committed(&mut self, checkpoint: CheckpointId) {
        self.pending.retain(|transaction| transaction.epoch > checkpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_names_what_a_lost_one_has_prepared_and_nothing_of_its_successors() {
        let mut ledger = TransactionLedger::default();
        for epoch in [3, 1, 2] {
            ledger.prepared(PreparedTransaction { sink: OperatorId(0), epoch: CheckpointId(epoch), bytes: AlignedVec::new() });
        }
        let epochs = |ledger: &TransactionLedger, checkpoint| -> Vec<u64> {
            ledger.named_by(CheckpointId(checkpoint)).iter().map(|transaction| transaction.epoch.0).collect()
        };
        assert_eq!(epochs(&ledger, 2), [1, 2]);
        ledger.committed(CheckpointId(2));
        assert_eq!(epochs(&ledger, 3), [3]);
    }
}
