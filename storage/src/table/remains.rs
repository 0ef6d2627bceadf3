//! What is left of a table that nobody uses any more: its entries and its memory, freed step by step, since freeing millions of entries at once takes long.

use super::HotTable;
use super::part::Part;
use super::regions::Regions;

/// Entries that freeing a region counts for: the system takes back thousands of pages.
const REGION_STEPS: usize = 4096;

/// See the module's documentation.
pub struct Remains<K, V> {
    parts: Vec<Part<K, V>>,
    /// Behind the parts, whose slots may lie there.
    regions: Regions,
}

impl<K, V> From<HotTable<K, V>> for Remains<K, V> {
    fn from(table: HotTable<K, V>) -> Self {
        let HotTable { parts, regions, .. } = table;
        Self { parts, regions }
    }
}

impl<K, V> Remains<K, V> {
    /// Frees about `budget` entries, or more: those of a part at least; and takes them off `budget`. `true` when nothing is left.
    pub fn free(&mut self, budget: &mut usize) -> bool {
        while *budget > 0 {
            let freed = if let Some(part) = self.parts.pop() {
                if std::mem::needs_drop::<(K, V)>() { part.slots.len().max(1) } else { 1 }
            // SAFETY: slots lie in parts, and the last part has gone.
            } else if unsafe { self.regions.unmap_one() } {
                REGION_STEPS
            } else {
                return true;
            };
            *budget = budget.saturating_sub(freed);
        }
        self.parts.is_empty() && self.regions.is_unmapped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_table_is_freed_in_steps_and_each_entry_dropped_once() {
        let (mut table, counted) = (HotTable::default().with_part_slots(16), Rc::new(()));
        for key in 0..1_000u64 {
            table.insert_new(key << 40 | key << 22, Rc::clone(&counted), [key; 100]);
        }
        let mut remains = Remains::from(table);
        let mut steps = 0;
        while !remains.free(&mut 100) {
            steps += 1;
            assert!(Rc::strong_count(&counted) > 1, "freed in one go");
        }
        assert!(steps >= 5, "{steps} steps");
        assert_eq!(Rc::strong_count(&counted), 1);
        let mut budget = 1;
        assert!(remains.free(&mut budget) && budget == 1, "nothing is left");
    }

    #[test]
    fn what_is_not_freed_in_steps_goes_with_the_remains() {
        let (mut table, counted) = (HotTable::default(), Rc::new(()));
        (0..100u64).for_each(|key| table.insert_new(key << 40, Rc::clone(&counted), ()));
        drop(Remains::from(table));
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
