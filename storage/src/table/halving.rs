//! Parts that would be too much to save at once are halved before.
//!
//! Slots are counted when a part grows, and an entry may own much outside of its slot. How much shows when it is encoded: so a part that is saved whole is
//! looked at when its turn comes. Tables that have a namespace are left as they are: whoever walks through one remembers positions, which a split would move.

use super::part::Part;
use super::{HotTable, LEAST_SLOTS};

impl<K, V> HotTable<K, V> {
    /// Halves the part that is saved next if it is too large, and takes what that costs off `budget`. `false` if it is saved as it is.
    pub(super) fn halve_next(&mut self, budget: &mut usize) -> bool {
        let Self { sealing, parts, saved_bytes_most: most, .. } = self;
        let Some(number) = sealing.next_to_save_whole(parts) else { return false };
        let is_large = |part: &Part<K, V>, entry_bytes: usize| part.slots.len().saturating_mul(entry_bytes) > *most;
        // What was saved last tells whether it is worth looking. Only the part itself tells how large it is.
        let (part, latest) = (&parts[number], sealing.entry_bytes());
        if part.slots.capacity() <= LEAST_SLOTS || (latest > 0 && !is_large(part, 2 * latest)) {
            return false;
        }
        let sample = sealing.sample(part, budget);
        if !is_large(part, sample) || !self.can_split(number) {
            return false;
        }
        *budget = budget.saturating_sub(self.parts[number].slots.capacity());
        // Without memory it is saved as it is.
        self.split(number, LEAST_SLOTS).is_some()
    }
}
