//! The named states of one operator in one subtask.

use crate::{HotTable, TableOwner};
use std::any::{Any, type_name};
use std::marker::PhantomData;

/// Finds a registered state again. Of the type of its table, so that a mix-up does not compile.
pub struct StateId<T> {
    index: usize,
    table: PhantomData<fn() -> T>,
}

impl<T> Clone for StateId<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StateId<T> {}

/// Why a state could not be registered.
#[derive(Debug, PartialEq, Eq)]
pub struct StateError {
    /// The state's name.
    pub name: String,
    /// The type it was registered with before.
    pub before: &'static str,
    /// The type it is asked for with now.
    pub now: &'static str,
}

struct Named {
    name: String,
    type_name: &'static str,
    table: Box<dyn Any>,
}

/// Tables by name, for keys of type `K`.
pub struct KeyedStates<K> {
    tables: Vec<Named>,
    /// What their operator is called.
    operator: String,
    key: PhantomData<K>,
}

impl<K: 'static> KeyedStates<K> {
    /// None yet, of the operator that is called `operator`.
    #[must_use]
    pub fn of(operator: &str) -> Self {
        Self { tables: Vec::new(), operator: operator.to_owned(), key: PhantomData }
    }

    /// The state of values `V` named `name`, made empty if there is none yet.
    ///
    /// # Errors
    /// If the name belongs to a state of another type.
    pub fn register<V: 'static>(&mut self, name: &str) -> Result<StateId<HotTable<K, V>>, StateError> {
        if let Some(index) = self.tables.iter().position(|named| named.name == name) {
            let named = &self.tables[index];
            if named.table.is::<HotTable<K, V>>() {
                return Ok(StateId { index, table: PhantomData });
            }
            return Err(StateError { name: name.to_owned(), before: named.type_name, now: type_name::<V>() });
        }
        let table = Box::new(HotTable::<K, V>::of(TableOwner::state(name, &self.operator)));
        self.tables.push(Named { name: name.to_owned(), type_name: type_name::<V>(), table });
        Ok(StateId { index: self.tables.len() - 1, table: PhantomData })
    }

    /// Whether a state is registered under `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tables.iter().any(|named| named.name == name)
    }

    /// The table of a registered state; `None` for an id of another store.
    #[inline]
    pub fn table<V: 'static>(&mut self, id: StateId<HotTable<K, V>>) -> Option<&mut HotTable<K, V>> {
        self.tables.get_mut(id.index)?.table.downcast_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_again_by_name_and_not_under_another_type() {
        let mut states = KeyedStates::<u64>::of("counter");
        let count = states.register::<u32>("count").unwrap();
        states.table(count).unwrap().get_or_insert_with(1, |k| *k == 7, || (7, 5));
        let again = states.register::<u32>("count").unwrap();
        assert_eq!(states.table(again).unwrap().get(1, |k| *k == 7), Some(&5));
        assert_eq!(states.register::<String>("count").err().map(|e| e.before), Some("u32"));
    }
}
