//! Saving what lies in one table, with other things beside it that follow from its entries: that table is sealed and saved, and nothing else.

use crate::saved::{Encode, SavedEntries};
use crate::saving::Saving;
use crate::{HotTable, SaveError, Sealable};
use thalweg_record::CheckpointId;

/// What keeps all that is saved of it in one table.
pub trait InOneTable {
    /// The keys of the table.
    type Key;
    /// Its values.
    type Value;

    /// The table.
    fn table(&self) -> &HotTable<Self::Key, Self::Value>;

    /// The same, to be sealed and saved.
    fn table_mut(&mut self) -> &mut HotTable<Self::Key, Self::Value>;
}

impl<T: InOneTable> Sealable<T::Key, T::Value> for T {
    fn seal(&mut self, encode: Encode<T::Key, T::Value>, saving: &Saving) {
        self.table_mut().seal(encode, saving);
    }

    fn save(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError> {
        self.table_mut().save(budget, take)
    }

    fn builds_on(&self) -> Option<CheckpointId> {
        self.table().builds_on()
    }

    fn unseal(&mut self) {
        self.table_mut().unseal();
    }

    fn table_bytes(&self) -> usize {
        self.table().table_bytes()
    }
}
