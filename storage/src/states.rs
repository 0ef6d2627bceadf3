//! The named states of one operator in one subtask.

use crate::{StateKind, StateSize, StateTable, TableOwner};
use std::any::{Any, TypeId, type_name};
use std::marker::PhantomData;
use std::task::{Context, Poll};
use thalweg_record::HashRange;

/// Identifies a registered state of the kind `S`. Made by [`KeyedStates::register`]; the default belongs to no state.
pub struct StateId<S> {
    index: u32,
    /// Distinguishes the states of one operator from those of another.
    owner: u32,
    kind: PhantomData<fn(S) -> S>,
}

impl<S> Clone for StateId<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for StateId<S> {}

impl<S> Default for StateId<S> {
    fn default() -> Self {
        Self { index: u32::MAX, owner: 0, kind: PhantomData }
    }
}

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
    /// The type of the table.
    of_table: TypeId,
    table: Box<dyn AnyTable>,
}

/// A table whose type is known by its id.
trait AnyTable: StateTable + Any {}
impl<T: StateTable> AnyTable for T {}

/// Tables by name, for keys of type `K`.
pub struct KeyedStates<K> {
    tables: Vec<Named>,
    operator: String,
    owner: u32,
    /// The range of the keys' hashes.
    hashes: HashRange,
    part_slots: usize,
    /// Invariant: entries stored for one type of key are never read as those of another.
    key: PhantomData<fn(K) -> K>,
}

impl<K: 'static> KeyedStates<K> {
    /// A store without states, for the operator called `operator`.
    #[must_use]
    pub fn of(operator: &str) -> Self {
        Self::spanning(HashRange::ALL, operator)
    }

    /// The same for keys whose hashes lie in `hashes` (see [`HotTable::spanning`](crate::HotTable::spanning)).
    #[must_use]
    pub fn spanning(hashes: HashRange, operator: &str) -> Self {
        let owner = crc32fast::hash(operator.as_bytes());
        Self { tables: Vec::new(), operator: operator.to_owned(), owner, hashes, part_slots: usize::MAX, key: PhantomData }
    }

    /// The same with tables of small parts (see [`HotTable::with_part_slots`](crate::HotTable::with_part_slots)).
    #[must_use]
    pub fn with_part_slots(self, part_slots: usize) -> Self {
        Self { part_slots, ..self }
    }

    /// The state of the kind `S` named `name`, created empty if it does not exist.
    ///
    /// # Errors
    /// If the name belongs to a state of another type.
    pub fn register<S: StateKind<K>>(&mut self, name: &str) -> Result<StateId<S>, StateError> {
        let place = self.tables.iter().position(|named| named.name == name);
        if let Some(named) = place.map(|place| &self.tables[place]).filter(|named| named.of_table != TypeId::of::<S::Table>()) {
            return Err(StateError { name: name.to_owned(), before: named.type_name, now: type_name::<S>() });
        }
        let place = place.unwrap_or_else(|| {
            let table = Box::new(S::Table::spanning(self.hashes, self.part_slots, TableOwner::state(name, &self.operator)));
            self.tables.push(Named { name: name.to_owned(), type_name: type_name::<S>(), of_table: TypeId::of::<S::Table>(), table });
            self.tables.len() - 1
        });
        Ok(StateId { index: place as u32, owner: self.owner, kind: PhantomData })
    }

    /// Whether a state is registered under `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tables.iter().any(|named| named.name == name)
    }

    /// Brings the entries of all states under these hashes into the processor's caches. Costs a call and a table lookup per state and hash.
    pub fn prefetch(&self, hashes: &[u64]) {
        self.tables.iter().for_each(|named| named.table.prefetch(hashes));
    }

    /// How many of `hashes`, from the first on, have their entries of all states at hand (see [`HotTable::at_hand`](crate::HotTable::at_hand)).
    pub fn at_hand(&mut self, hashes: &[u64]) -> usize {
        self.tables.iter_mut().map(|named| named.table.at_hand(hashes)).min().unwrap_or(hashes.len())
    }

    /// Ready when an entry has arrived that was not at hand; otherwise registers for that.
    pub fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut has_come = false;
        for named in &mut self.tables {
            has_come |= named.table.poll_at_hand(cx).is_ready();
        }
        if has_come { Poll::Ready(()) } else { Poll::Pending }
    }

    /// How much the tables of all states hold. Costs a call per state.
    #[must_use]
    pub fn size(&self) -> StateSize {
        self.tables.iter().map(|named| named.table.size()).sum()
    }

    /// The table of a registered state; `None` for an id of another operator (distinguished by a hash of its name) or of another type. Costs an indexed
    /// load and a comparison of the operator and the type.
    #[inline]
    pub fn table<S: StateKind<K>>(&mut self, id: StateId<S>) -> Option<&mut S::Table> {
        let named = self.tables.get_mut(id.index as usize)?;
        if id.owner != self.owner || named.of_table != TypeId::of::<S::Table>() {
            return None;
        }
        let table: *mut dyn AnyTable = &raw mut *named.table;
        // SAFETY: `register` is the only place that makes a `Named`, and puts a table beside the `TypeId` of its type, which is that of this `S::Table`, as was
        // just compared. So the box holds a value of the type that the pointer is cast to. It is borrowed mutably from `self` for as long as the result. This is
        // `downcast_mut` without its call through the vtable, which every access to state would pay.
        Some(unsafe { &mut *table.cast::<S::Table>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ValueOf;

    #[test]
    fn a_state_is_found_again_by_name_and_not_under_another_type() {
        let mut states = KeyedStates::<u64>::of("counter");
        let count = states.register::<ValueOf<u32>>("count").unwrap();
        states.table(count).unwrap().get_or_insert_with(1, |k| *k == 7, || (7, 5));
        let again = states.register::<ValueOf<u32>>("count").unwrap();
        assert_eq!(states.table(again).unwrap().get(1, |k| *k == 7), Some(&5));
        assert_eq!(states.register::<ValueOf<String>>("count").err().map(|e| e.before), Some(type_name::<ValueOf<u32>>()));
    }

    /// Ids are plain numbers, and a user may mix up those of two operators: a table must never be taken for a table of another type.
    #[test]
    fn an_id_of_another_operator_finds_nothing_whatever_the_types() {
        let (mut one, mut other) = (KeyedStates::<u64>::of("one"), KeyedStates::<u64>::of("other"));
        let of_one = one.register::<ValueOf<u32>>("count").unwrap();
        let of_same_type = other.register::<ValueOf<u32>>("count").unwrap();
        assert!(other.table(of_one).is_none() && one.table(of_same_type).is_none(), "the same place and type");
        let of_other = other.register::<ValueOf<String>>("name").unwrap();
        assert!(one.table(of_other).is_none());
        assert!(one.table(StateId::<ValueOf<u32>>::default()).is_none());
        // The same place in a store of the same name, as another subtask has it, and another type there.
        let mut twin = KeyedStates::<u64>::of("one");
        twin.register::<ValueOf<Vec<String>>>("names").unwrap();
        assert!(twin.table(of_one).is_none());
        assert!(one.table(of_one).is_some());
    }
}
