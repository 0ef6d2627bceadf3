//! Parts that would be too much to save at once are halved before.
//!
//! Slots are counted when a part grows, and an entry may own much outside of its slot. How much shows when it is encoded: so a part is looked at when its turn to
//! be saved comes. Tables that have a namespace are left as they are: whoever walks through one remembers positions, which a split would move.

use super::part::Part;
use super::{HotTable, LEAST_SLOTS};

/// Bytes of a part at most when it is saved, for each slot that a part of the table may have: 1 MiB where that is 4,096.
const SAVED_BYTES_PER_SLOT: usize = 256;

impl<K, V> HotTable<K, V> {
    /// Bytes of a part at most when it is saved, if it can be split.
    pub(super) fn saved_bytes_most(&self) -> usize {
        self.part_slots * SAVED_BYTES_PER_SLOT
    }

    /// Halves the part that is saved next if it is too large, and takes what that costs off `budget`. `false` if it is saved as it is.
    pub(super) fn halve_next(&mut self, budget: &mut usize) -> bool {
        if self.sealing.has_namespace() {
            return false;
        }
        let Some(number) = self.sealing.next_to_save(&self.parts) else { return false };
        let most = self.saved_bytes_most();
        let is_large = |part: &Part<K, V>, entry_bytes: usize| part.slots.len().saturating_mul(entry_bytes) > most;
        // What was saved last tells whether it is worth looking. Only the part itself tells how large it is.
        let (part, latest) = (&self.parts[number], self.sealing.entry_bytes());
        if part.slots.capacity() <= LEAST_SLOTS || (latest > 0 && !is_large(part, 2 * latest)) {
            return false;
        }
        let sample = self.sealing.sample(part);
        if !is_large(&self.parts[number], sample) || !self.can_split(number) {
            return false;
        }
        *budget = budget.saturating_sub(self.parts[number].slots.capacity());
        // Without memory it is saved as it is.
        self.split(number, LEAST_SLOTS).is_some()
    }
}
