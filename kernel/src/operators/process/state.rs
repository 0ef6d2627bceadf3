//! The keyed state of one operator in one subtask: handles, and access through them.
//!
//! A handle ([`ValueState`], [`ListState`], [`MapState`]) is `Copy` and names a state, not its content: by its place among the states that the operator has
//! registered in `open`, so that it means something to this operator alone. An access ([`ValueAccess`], [`ListAccess`], [`MapAccess`]) is a handle bound to
//! one key: it reads and changes the state of that key and nothing else (docs/src/semantics.md#k-3). Reading makes no entry.
//!
//! Pure: no clock, no I/O.

use crate::checkpoint::{OperatorState, RESERVED_STATES, SealedState};
use crate::record::{Key, Parts, Record};
use std::task::{Context, Poll};
use thalweg_storage::checkpoint::append_entry;
use thalweg_storage::{
    Encode, HotTable, KeyedStates, ListOf, ListTable, MapOf, MapTable, Sealable, StateId, StateKind, StateSize, ValueOf,
};

/// The handle of a state that was registered in `open`; the default belongs to no state.
macro_rules! state_handle {
    ($(#[$doc:meta])* $name:ident<$($p:ident),+> of $stored:ty) => {
        $(#[$doc])*
        pub struct $name<$($p),+> {
            id: StateId<$stored>,
        }
        impl<$($p),+> Clone for $name<$($p),+> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<$($p),+> Copy for $name<$($p),+> {}
        impl<$($p),+> Default for $name<$($p),+> {
            fn default() -> Self {
                Self { id: StateId::default() }
            }
        }
    };
}

state_handle! {
    /// One value per key.
    ValueState<V> of ValueOf<V>
}
state_handle! {
    /// A list of values per key.
    ListState<V> of ListOf<V>
}
state_handle! {
    /// An ordered map per key.
    MapState<MK, MV> of MapOf<MK, MV>
}

/// The registered states.
pub(super) struct States<K> {
    store: KeyedStates<K>,
    /// Saves the states, in the order of their first registration.
    durable: Vec<Box<dyn Durable<K>>>,
    pub(super) saved: OperatorState,
}

/// Saves one state, whatever its type.
trait Durable<K> {
    /// A barrier has come: the state will be saved as it is now.
    fn seal(&mut self, store: &mut KeyedStates<K>, saved: &OperatorState);

    /// Saves the next slice of what was sealed, about `budget` entries. `false` if nothing is left.
    fn save(&mut self, store: &mut KeyedStates<K>, saved: &OperatorState, budget: usize) -> bool;
}

/// A state of the kind `S`, of which `E` and `V` are the keys and the values of the entries.
struct InTable<S, E, V> {
    id: StateId<S>,
    sealed: SealedState,
    encode: Encode<E, V>,
}

impl<K: Key, S: StateKind<K>, E, V> Durable<K> for InTable<S, E, V>
where
    S::Table: Sealable<E, V>,
{
    fn seal(&mut self, store: &mut KeyedStates<K>, saved: &OperatorState) {
        if let Some(table) = store.table(self.id) {
            self.sealed.seal(saved, table, self.encode);
        }
    }

    fn save(&mut self, store: &mut KeyedStates<K>, saved: &OperatorState, budget: usize) -> bool {
        store.table(self.id).is_some_and(|table| self.sealed.save(saved, table, budget))
    }
}

impl<K: 'static> States<K> {
    pub(super) fn new(saved: OperatorState) -> Self {
        Self { store: saved.tables(), durable: Vec::new(), saved }
    }

    /// The id of the state, and whether it is new.
    fn register<S: StateKind<K>>(&mut self, name: &str) -> (StateId<S>, bool) {
        assert!(!name.starts_with(RESERVED_STATES), "the name of a state may not begin with {RESERVED_STATES}: {name}");
        let is_new = !self.store.contains(name);
        match self.store.register::<S>(name) {
            Ok(id) => (id, is_new),
            Err(error) => panic!("state {} was registered as {} before and is {} now", error.name, error.before, error.now),
        }
    }

    #[inline]
    fn table<S: StateKind<K>>(&mut self, id: StateId<S>) -> &mut S::Table {
        let Self { store, saved, .. } = self;
        store.table(id).unwrap_or_else(|| Self::refuse(&saved.operator()))
    }

    #[cold]
    #[inline(never)]
    fn refuse(operator: &str) -> ! {
        panic!(
            "a state is used that operator {operator} has not registered: call ctx.value_state(..), list_state(..) or map_state(..) in open(), and keep \
             the handle for this operator alone"
        )
    }
}

impl<K: Key> States<K> {
    pub(super) fn register_value<V: Record>(&mut self, name: &str) -> ValueState<V> {
        let (id, is_new) = self.register::<ValueOf<V>>(name);
        if is_new {
            if let Some(table) = self.store.table(id) {
                self.saved.restore_table(name, table);
            }
            let sealed = SealedState::new::<K, V>(&self.saved, name);
            self.durable.push(Box::new(InTable { id, sealed, encode: append_entry::<K, V> }));
        }
        ValueState { id }
    }

    pub(super) fn register_list<V: Record>(&mut self, name: &str) -> ListState<V> {
        let (id, is_new) = self.register::<ListOf<V>>(name);
        if is_new {
            if let Some(table) = self.store.table(id) {
                self.saved.restore_list::<K, V>(name, |hash, saved| {
                    let (key, piece) = saved.key;
                    table.add_piece(hash, key, piece, saved.value);
                });
            }
            let sealed = SealedState::of_parts::<K, u32, Vec<V>>(&self.saved, name, Parts::Pieces);
            self.durable.push(Box::new(InTable { id, sealed, encode: append_entry::<(K, u32), Vec<V>> }));
        }
        ListState { id }
    }

    pub(super) fn register_map<MK: Key, MV: Record>(&mut self, name: &str) -> MapState<MK, MV> {
        let (id, is_new) = self.register::<MapOf<MK, MV>>(name);
        if is_new {
            if let Some(table) = self.store.table(id) {
                self.saved.restore_map::<K, MK, MV>(name, |hash, saved| {
                    let (key, map_key) = saved.key;
                    table.insert_new(hash, key, map_key, saved.value);
                });
            }
            let sealed = SealedState::of_parts::<K, MK, MV>(&self.saved, name, Parts::MapEntries);
            self.durable.push(Box::new(InTable { id, sealed, encode: append_entry::<(K, MK), MV> }));
        }
        MapState { id }
    }

    /// See [`KeyedStates::prefetch`].
    pub(super) fn prefetch(&self, hashes: &[u64]) {
        self.store.prefetch(hashes);
    }

    /// See [`KeyedStates::at_hand`].
    pub(super) fn at_hand(&mut self, hashes: &[u64]) -> usize {
        self.store.at_hand(hashes)
    }

    /// See [`KeyedStates::poll_at_hand`].
    pub(super) fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.store.poll_at_hand(cx)
    }

    /// How much the tables hold: an entry for each value, for each entry of a map, and for every 32 values of a list.
    pub(super) fn size(&self) -> StateSize {
        self.store.size()
    }

    /// A barrier has come: all states will be saved as they are now.
    pub(super) fn seal(&mut self) {
        let Self { store, durable, saved } = self;
        durable.iter_mut().for_each(|state| state.seal(store, saved));
    }

    /// Saves the next slice of what was sealed, about `budget` entries. `false` if nothing is left.
    pub(super) fn save(&mut self, budget: usize) -> bool {
        let Self { store, durable, saved } = self;
        durable.iter_mut().any(|state| state.save(store, saved, budget))
    }

    /// Access to the value of `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn value<'k, V: Record>(&mut self, state: ValueState<V>, key: K::Ref<'k>, hash: u64) -> ValueAccess<'_, 'k, K, V> {
        ValueAccess { table: self.table(state.id), key, hash }
    }

    /// Access to the list of `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn list<'k, V: Record>(&mut self, state: ListState<V>, key: K::Ref<'k>, hash: u64) -> ListAccess<'_, 'k, K, V> {
        ListAccess { table: self.table(state.id), key, hash }
    }

    /// Access to the map of `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn map<'k, MK: Key, MV: Record>(
        &mut self,
        state: MapState<MK, MV>,
        key: K::Ref<'k>,
        hash: u64,
    ) -> MapAccess<'_, 'k, K, MK, MV> {
        MapAccess { table: self.table(state.id), key, hash }
    }
}

/// One value of the current key.
pub struct ValueAccess<'s, 'k, K: Key, V> {
    table: &'s mut HotTable<K, V>,
    key: K::Ref<'k>,
    hash: u64,
}

impl<'s, K: Key, V: Record> ValueAccess<'s, '_, K, V> {
    /// The value, if there is one.
    #[inline]
    pub fn get(self) -> Option<&'s V> {
        let key = self.key;
        self.table.get(self.hash, |stored| stored.matches(key))
    }

    /// The value, to be changed; `make` makes it if there is none.
    #[inline]
    pub fn get_or_insert_with(self, make: impl FnOnce() -> V) -> &'s mut V {
        let key = self.key;
        self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), make()))
    }

    /// Replaces the value.
    #[inline]
    pub fn set(self, value: V) {
        let key = self.key;
        match self.table.get_mut(self.hash, |stored| stored.matches(key)) {
            Some(old) => *old = value,
            None => {
                self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), value));
            }
        }
    }

    /// Removes the value and returns it.
    pub fn take(self) -> Option<V> {
        let key = self.key;
        self.table.remove(self.hash, |stored| stored.matches(key))
    }

    /// Removes the value.
    pub fn clear(self) {
        self.take();
    }
}

/// The list of the current key.
pub struct ListAccess<'s, 'k, K: Key, V> {
    table: &'s mut ListTable<K, V>,
    key: K::Ref<'k>,
    hash: u64,
}

impl<'s, 'k, K: Key, V: Record> ListAccess<'s, 'k, K, V> {
    /// Views of the values, in the order in which they were added.
    pub fn get(self) -> impl Iterator<Item = V::Ref<'s>> {
        let table: &'s ListTable<K, V> = self.table;
        table.get(self.hash, self.key).map(V::view)
    }

    /// Adds a value at the end. However long the list is, that costs a lookup or two, and the first time after a barrier to encode the 32 values at its end.
    pub fn add(self, value: V) {
        self.table.add(self.hash, self.key, value);
    }

    /// Replaces the list.
    pub fn update(self, values: Vec<V>) {
        self.table.update(self.hash, self.key, values);
    }

    /// Removes the list and returns it.
    pub fn take(self) -> Vec<V> {
        self.table.take(self.hash, self.key)
    }

    /// Removes the list.
    pub fn clear(self) {
        self.take();
    }
}

/// The map of the current key.
pub struct MapAccess<'s, 'k, K: Key, MK, MV> {
    table: &'s mut MapTable<K, MK, MV>,
    key: K::Ref<'k>,
    hash: u64,
}

impl<'s, 'k, K: Key, MK: Key, MV: Record> MapAccess<'s, 'k, K, MK, MV> {
    /// The value under `map_key`. Costs a lookup, however large the map is.
    pub fn get(self, map_key: &MK) -> Option<&'s MV> {
        let table: &'s MapTable<K, MK, MV> = self.table;
        table.get(self.key, map_key)
    }

    /// Puts `value` under `map_key` and returns the previous value.
    pub fn put(self, map_key: MK, value: MV) -> Option<MV> {
        self.table.put(self.hash, self.key, map_key, value)
    }

    /// Removes the value under `map_key` and returns it.
    pub fn remove(self, map_key: &MK) -> Option<MV> {
        self.table.remove(self.hash, self.key, map_key)
    }

    /// Views of the entries, in the order of their keys. Costs a lookup for each.
    pub fn iter(self) -> impl Iterator<Item = (MK::Ref<'s>, MV::Ref<'s>)> {
        let table: &'s MapTable<K, MK, MV> = self.table;
        table.iter(self.hash, self.key).map(|(key, value)| (key.view(), value.view()))
    }

    /// Whether there are no entries.
    pub fn is_empty(self) -> bool {
        self.table.is_empty(self.hash, self.key)
    }

    /// Removes all entries. Costs a lookup for each.
    pub fn clear(self) {
        self.table.clear(self.hash, self.key);
    }
}
