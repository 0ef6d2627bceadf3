//! Saving panes: all are sealed at once, and saved one after the other, in the order of their time, those that are over first.
//!
//! A pane that comes after a seal is passed over: nothing in it is sealed. What is saved of a pane may be added to what was saved of it earlier, and so a list of the
//! panes that there are is saved first: what was saved of others is gone.

use super::{Panes, order};
use crate::checkpoint::CheckpointId;
use thalweg_storage::{Encode, HotTable, Remains, SaveError, SavedEntries, Saving, Sealable};

impl<K, V> Panes<K, V> {
    /// Saves the next of what was sealed, first that of panes that are over.
    fn save_next(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError> {
        if let Some(sealed) = self.sealed.take() {
            take(&SavedEntries::namespaces(sealed.into_iter()));
        }
        while *budget > 0 {
            if let Some(table) = self.unsaved.last_mut() {
                if !save_within(budget, table, take, &mut self.builds_on)? {
                    return Ok(false);
                }
                self.retired.extend(self.unsaved.pop().map(Remains::from));
                continue;
            }
            let Some(from) = self.save_next else { return Ok(true) };
            let place = self.panes.partition_point(|(window, _)| order(*window) < from);
            let Some((window, pane)) = self.panes.get_mut(place) else {
                self.save_next = None;
                return Ok(true);
            };
            self.save_next = Some(order(*window));
            if !save_within(budget, &mut pane.table, take, &mut self.builds_on)? {
                return Ok(false);
            }
            self.save_next = Some((window.end, window.start + 1));
        }
        Ok(false)
    }
}

/// Saves the next of what is sealed of one pane. One without entries costs something, too. Notes what it builds on.
fn save_within<K, V>(
    budget: &mut usize,
    table: &mut HotTable<K, V>,
    take: &mut dyn FnMut(&SavedEntries),
    builds_on: &mut Option<CheckpointId>,
) -> Result<bool, SaveError> {
    let was_sealed = table.is_sealed();
    let is_all = table.save(budget, take);
    *budget = budget.saturating_sub(1);
    if was_sealed {
        *builds_on = [*builds_on, table.builds_on()].into_iter().flatten().min();
    }
    is_all
}

impl<K, V> Sealable<K, V> for Panes<K, V> {
    fn seal(&mut self, encode: Encode<K, V>, saving: &Saving) {
        self.retired.extend(self.unsaved.drain(..).map(Remains::from));
        for (window, pane) in &mut self.panes {
            pane.table.seal_in(Some((window.start, window.end)), encode, saving);
        }
        self.sealed = Some(self.panes.iter().map(|(window, _)| (window.start, window.end)).collect());
        self.builds_on = None;
        self.save_next = Some((i64::MIN, i64::MIN));
    }

    fn save(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError> {
        let saved = self.save_next(budget, take);
        if saved.is_err() {
            self.unseal();
        }
        saved
    }

    fn builds_on(&self) -> Option<CheckpointId> {
        self.builds_on
    }

    fn unseal(&mut self) {
        self.retired.extend(self.unsaved.drain(..).map(Remains::from));
        self.panes.iter_mut().for_each(|(_, pane)| pane.table.unseal());
        (self.save_next, self.sealed) = (None, None);
    }

    fn table_bytes(&self) -> usize {
        self.panes.iter().map(|(_, pane)| pane.table.table_bytes()).sum()
    }
}
