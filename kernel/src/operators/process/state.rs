//! The keyed state of one operator in one subtask: handles, and access through them.
//!
//! A handle ([`ValueState`], [`ListState`], [`MapState`]) is `Copy` and names a state, not its content: by its place among the states that the operator has
//! registered in `open`, so that it means something to this operator alone. An access ([`ValueAccess`], [`ListAccess`], [`MapAccess`]) is a handle bound to
//! one key: it reads and changes the state of that key and nothing else (docs/src/semantics.md#k-3). Reading makes no entry.
//!
//! Pure: no clock, no I/O.

use crate::checkpoint::{OperatorState, RESERVED_STATES, SealedState};
use crate::record::{Appending, ArchiveError, Key, Record};
use std::collections::BTreeMap;
use std::task::{Context, Poll};
use thalweg_storage::checkpoint::{Namespace, append_entry};
use thalweg_storage::{Encode, HotTable, KeyedStates, StateId, StateSize};

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
    ValueState<V> of V
}
state_handle! {
    /// A list of values per key.
    ListState<V> of Vec<V>
}
state_handle! {
    /// An ordered map per key.
    MapState<MK, MV> of BTreeMap<MK, MV>
}

type ValueTable<K, V> = HotTable<K, V>;
type ListTable<K, V> = HotTable<K, Vec<V>>;
type MapTable<K, MK, MV> = HotTable<K, BTreeMap<MK, MV>>;

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

/// A state in a table with values `V`.
struct InTable<K, V> {
    id: StateId<V>,
    sealed: SealedState,
    encode: Encode<K, V>,
}

impl<K: Key, V: 'static> Durable<K> for InTable<K, V> {
    fn seal(&mut self, store: &mut KeyedStates<K>, saved: &OperatorState) {
        if let Some(table) = store.table(self.id) {
            self.sealed.seal(saved, table, self.encode);
        }
    }

    fn save(&mut self, store: &mut KeyedStates<K>, saved: &OperatorState, budget: usize) -> bool {
        store.table(self.id).is_some_and(|table| self.sealed.save(saved, table, budget))
    }
}

/// Encodes a map: it is saved as a list of pairs.
fn append_map<K: Key, MK: Key, MV: Record>(
    section: &mut Appending<'_>,
    namespace: Option<Namespace>,
    key: &K,
    map: Option<&BTreeMap<MK, MV>>,
) -> Result<(), ArchiveError> {
    let pairs: Option<Vec<(MK, MV)>> = map.map(|map| map.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    append_entry(section, namespace, key, pairs.as_ref())
}

impl<K: 'static> States<K> {
    pub(super) fn new(saved: OperatorState) -> Self {
        Self { store: saved.tables(), durable: Vec::new(), saved }
    }

    /// The id of the state, and whether it is new.
    fn register<V: 'static>(&mut self, name: &str) -> (StateId<V>, bool) {
        assert!(!name.starts_with(RESERVED_STATES), "the name of a state may not begin with {RESERVED_STATES}: {name}");
        let is_new = !self.store.contains(name);
        match self.store.register::<V>(name) {
            Ok(id) => (id, is_new),
            Err(error) => panic!("state {} was registered as {} before and is {} now", error.name, error.before, error.now),
        }
    }

    #[inline]
    fn table<V: 'static>(&mut self, id: StateId<V>) -> &mut HotTable<K, V> {
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
        ValueState { id: self.register_plain::<V>(name) }
    }

    pub(super) fn register_list<V: Record>(&mut self, name: &str) -> ListState<V> {
        ListState { id: self.register_plain::<Vec<V>>(name) }
    }

    pub(super) fn register_map<MK: Key, MV: Record>(&mut self, name: &str) -> MapState<MK, MV> {
        let (id, is_new) = self.register::<BTreeMap<MK, MV>>(name);
        if is_new {
            if let Some(table) = self.store.table(id) {
                self.saved.restore::<K, Vec<(MK, MV)>>(name, |hash, saved| {
                    table.insert_new(hash, saved.key, saved.value.into_iter().collect());
                });
            }
            let sealed = SealedState::new::<K, Vec<(MK, MV)>>(&self.saved, name);
            self.durable.push(Box::new(InTable { id, sealed, encode: append_map::<K, MK, MV> }));
        }
        MapState { id }
    }

    fn register_plain<V: Record>(&mut self, name: &str) -> StateId<V> {
        let (id, is_new) = self.register::<V>(name);
        if is_new {
            if let Some(table) = self.store.table(id) {
                self.saved.restore_table(name, table);
            }
            let sealed = SealedState::new::<K, V>(&self.saved, name);
            self.durable.push(Box::new(InTable { id, sealed, encode: append_entry::<K, V> }));
        }
        id
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

    /// How much the tables hold. A list and a map are one entry of their key.
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
    table: &'s mut ValueTable<K, V>,
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

impl<'s, K: Key, V: Record> ListAccess<'s, '_, K, V> {
    /// Views of the values, in the order in which they were added.
    pub fn get(self) -> impl Iterator<Item = V::Ref<'s>> {
        let key = self.key;
        self.table.get(self.hash, |stored| stored.matches(key)).into_iter().flatten().map(V::view)
    }

    /// Adds a value at the end.
    pub fn add(self, value: V) {
        let key = self.key;
        self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), Vec::new())).push(value);
    }

    /// Replaces the list.
    pub fn update(self, values: Vec<V>) {
        let key = self.key;
        *self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), Vec::new())) = values;
    }

    /// Removes the list and returns it.
    pub fn take(self) -> Vec<V> {
        let key = self.key;
        self.table.remove(self.hash, |stored| stored.matches(key)).unwrap_or_default()
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

impl<'s, K: Key, MK: Key, MV: Record> MapAccess<'s, '_, K, MK, MV> {
    /// The whole map, to be read.
    fn whole(self) -> Option<&'s BTreeMap<MK, MV>> {
        let key = self.key;
        self.table.get(self.hash, |stored| stored.matches(key))
    }

    /// The value under `map_key`.
    pub fn get(self, map_key: &MK) -> Option<&'s MV> {
        self.whole()?.get(map_key)
    }

    /// Puts `value` under `map_key` and returns the previous value.
    pub fn put(self, map_key: MK, value: MV) -> Option<MV> {
        let key = self.key;
        let make = || (K::from_view(key), BTreeMap::new());
        self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), make).insert(map_key, value)
    }

    /// Removes the value under `map_key` and returns it.
    pub fn remove(self, map_key: &MK) -> Option<MV> {
        let key = self.key;
        self.table.get_mut(self.hash, |stored| stored.matches(key))?.remove(map_key)
    }

    /// Views of the entries, in the order of their keys.
    pub fn iter(self) -> impl Iterator<Item = (MK::Ref<'s>, MV::Ref<'s>)> {
        self.whole().into_iter().flat_map(|map| map.iter()).map(|(key, value)| (key.view(), value.view()))
    }

    /// Whether there are no entries.
    pub fn is_empty(self) -> bool {
        self.whole().is_none_or(|map| map.is_empty())
    }

    /// Removes the map.
    pub fn clear(self) {
        let key = self.key;
        self.table.remove(self.hash, |stored| stored.matches(key));
    }
}
