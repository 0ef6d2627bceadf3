//! The kinds of keyed state, and what keeps each of them.

use crate::{HotTable, ListTable, MapTable, StateTable};
use std::marker::PhantomData;
use thalweg_record::record::Key;

/// A kind of state, with the types of what each key has: one value, a list, a map.
pub trait StateKind<K>: 'static {
    /// What keeps it, for keys of type `K`.
    type Table: StateTable;
}

/// One `V` per key.
pub struct ValueOf<V>(PhantomData<fn(V) -> V>);

/// A list of `V` per key.
pub struct ListOf<V>(PhantomData<fn(V) -> V>);

/// An ordered map from `MK` to `MV` per key.
pub struct MapOf<MK, MV>(PhantomData<fn(MK, MV) -> (MK, MV)>);

impl<K: 'static, V: 'static> StateKind<K> for ValueOf<V> {
    type Table = HotTable<K, V>;
}

impl<K: Key, V: 'static> StateKind<K> for ListOf<V> {
    type Table = ListTable<K, V>;
}

impl<K: Key, MK: Key, MV: 'static> StateKind<K> for MapOf<MK, MV> {
    type Table = MapTable<K, MK, MV>;
}
