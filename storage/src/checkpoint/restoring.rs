//! Reading a state out of the layers that make it up: each entry as the newest layer that says something of its key has it.
//!
//! Layers are read from the newest back. What is remembered of the newer ones is which ranges they have whole, which namespaces there are, and the keys of their
//! other entries.

use super::extent::{Content, Extent};
use super::{Entries, Namespace, SavedEntry, Section};
use crate::HotTable;
use thalweg_record::HashRange;
use thalweg_record::record::{Key, Record, RecordLayout};

/// An entry as it was restored.
pub struct RestoredEntry<K, V> {
    /// The hash of its key.
    pub hash: u64,
    /// Distinguishes the entry from others of its key.
    pub namespace: Option<Namespace>,
    /// The key.
    pub key: K,
    /// The value kept for the key.
    pub value: V,
}

/// Hands the entries of a state that are `wanted`, whose hashes lie in `range`, to `take`, each once and in no order that is promised. `hash_of` gives the hash
/// under which an entry lay in its table, `layers` are as [`Layers::of_state`](super::Layers::of_state) has them.
///
/// # Errors
/// If an entry cannot be read, or a section is not one of keys; says how. Entries before it may have been handed over.
pub fn restore<K: Key, V: Record>(
    layers: Vec<Vec<Section<'_>>>,
    layouts: (&RecordLayout<K>, &RecordLayout<V>),
    range: HashRange,
    hash_of: impl Fn(&K) -> u64,
    wanted: impl Fn(u64, &K) -> bool,
    mut take: impl FnMut(RestoredEntry<K, V>),
) -> Result<(), String> {
    let mut newer = Newer::default();
    let mut older = layers.len();
    for layer in layers {
        older -= 1;
        let mut gone = Vec::new();
        let layer = Content::of_layer(&layer)?;
        for content in &layer {
            let Content::Entries { hashes, is_whole, within, bytes } = *content else { continue };
            let is_gone = within.is_some_and(|within| newer.extent.is_gone(within));
            if !hashes.overlaps(range) || is_gone || (is_whole && newer.extent.has_whole(within, hashes)) {
                continue;
            }
            let mut entries = Entries::new(bytes);
            while let Some(entry) = entries.next(layouts.0, layouts.1) {
                let SavedEntry { namespace, key, value } = entry?;
                if is_whole && namespace != within {
                    return Err(format!("an entry in {namespace:?} lies among those in {within:?}"));
                }
                let hash = hash_of(&key);
                if !wanted(hash, &key) || newer.supersede(hash, namespace, &key) {
                    continue;
                }
                match value {
                    Some(value) => {
                        if older > 0 && !is_whole {
                            newer.keys.insert_new(filed_under(hash, namespace), (namespace, key.clone()), ());
                        }
                        take(RestoredEntry { hash, namespace, key, value });
                    }
                    None => gone.push((hash, namespace, key)),
                }
            }
        }
        newer.extent.add_layer(layer);
        // Not before: beside an entry of the same layer a tombstone says something of older ones alone.
        for (hash, namespace, key) in gone {
            let filed = filed_under(hash, namespace);
            newer.keys.get_or_insert_with(filed, |of| of.0 == namespace && of.1 == key, || ((namespace, key.clone()), ()));
        }
    }
    Ok(())
}

/// Where an entry is remembered: a key may have one in each of many namespaces, and equal hashes would lie behind one another.
fn filed_under(hash: u64, namespace: Option<Namespace>) -> u64 {
    let Some((first, second)) = namespace else { return hash };
    let mixed = first.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
        ^ second.cast_unsigned().wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    hash ^ mixed ^ (mixed >> 32)
}

/// What newer layers say something of.
struct Newer<K> {
    extent: Extent,
    keys: HotTable<(Option<Namespace>, K), ()>,
}

impl<K> Default for Newer<K> {
    fn default() -> Self {
        Self { extent: Extent::default(), keys: HotTable::default() }
    }
}

impl<K: Key> Newer<K> {
    fn supersede(&self, hash: u64, namespace: Option<Namespace>, key: &K) -> bool {
        namespace.is_some_and(|namespace| self.extent.is_gone(namespace))
            || self.extent.has_whole(namespace, HashRange { first: hash as u32, last: hash as u32 })
            || !self.keys.is_empty() && self.keys.get(filed_under(hash, namespace), |of| of.0 == namespace && of.1 == *key).is_some()
    }
}
