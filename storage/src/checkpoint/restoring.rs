//! Reading a state out of the layers that make it up: each entry as the newest layer that says something of its key has it.
//!
//! Layers are read from the newest back. What is remembered of the newer ones is which ranges they have whole, which namespaces there are, and the keys of their
//! other entries.

use super::entries::take_namespace;
use super::{Entries, Namespace, SavedEntry, Scope, Section};
use crate::HotTable;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
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
        let (mut whole, mut gone, mut namespaces) = (Vec::new(), Vec::new(), None);
        for section in layer {
            let mut bytes = section.bytes;
            let (hashes, superseded) = match section.scope {
                Scope::Hashes(hashes) => (hashes, None),
                Scope::AllHashes(hashes) => (hashes, Some(None)),
                Scope::AllHashesWithin(hashes) => {
                    let within = take_namespace(&mut bytes).ok_or("a section of one namespace ends within that")?;
                    (hashes, Some(Some(within)))
                }
                Scope::Namespaces => {
                    namespaces = Some(read_namespaces(bytes)?);
                    continue;
                }
                Scope::Split(_) | Scope::Subtask => return Err("a section of it is not of keys".to_owned()),
            };
            let within = superseded.flatten();
            whole.extend(superseded.map(|within| (within, hashes)));
            let is_gone = within.is_some_and(|within| newer.is_gone(within));
            if !hashes.overlaps(range) || is_gone || superseded.is_some_and(|within| newer.cover(within, hashes)) {
                continue;
            }
            let mut entries = Entries::new(bytes);
            while let Some(entry) = entries.next(layouts.0, layouts.1) {
                let SavedEntry { namespace, key, value } = entry?;
                if superseded.is_some() && namespace != within {
                    return Err(format!("an entry in {namespace:?} lies among those in {within:?}"));
                }
                let hash = hash_of(&key);
                if !wanted(hash, &key) || newer.supersede(hash, namespace, &key) {
                    continue;
                }
                match value {
                    Some(value) => {
                        if older > 0 && superseded.is_none() {
                            newer.keys.insert_new(filed_under(hash, namespace), (namespace, key.clone()), ());
                        }
                        take(RestoredEntry { hash, namespace, key, value });
                    }
                    None => gone.push((hash, namespace, key)),
                }
            }
        }
        newer.add(whole, namespaces);
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

fn read_namespaces(mut bytes: &[u8]) -> Result<BTreeSet<Namespace>, String> {
    let mut namespaces = BTreeSet::new();
    while !bytes.is_empty() {
        namespaces.insert(take_namespace(&mut bytes).ok_or("a list of namespaces ends within one")?);
    }
    Ok(namespaces)
}

/// What newer layers say something of.
struct Newer<K> {
    /// By namespace; those of states without namespaces under `None`.
    whole: BTreeMap<Option<Namespace>, Ranges>,
    /// The namespaces that have been there all the time, if any layer says which.
    namespaces: Option<BTreeSet<Namespace>>,
    keys: HotTable<(Option<Namespace>, K), ()>,
}

impl<K> Default for Newer<K> {
    fn default() -> Self {
        Self { whole: BTreeMap::new(), namespaces: None, keys: HotTable::default() }
    }
}

impl<K: Key> Newer<K> {
    fn cover(&self, namespace: Option<Namespace>, hashes: HashRange) -> bool {
        self.whole.get(&namespace).is_some_and(|ranges| ranges.cover(hashes))
    }

    fn supersede(&self, hash: u64, namespace: Option<Namespace>, key: &K) -> bool {
        namespace.is_some_and(|namespace| self.is_gone(namespace))
            || self.cover(namespace, HashRange { first: hash as u32, last: hash as u32 })
            || !self.keys.is_empty() && self.keys.get(filed_under(hash, namespace), |of| of.0 == namespace && of.1 == *key).is_some()
    }

    fn is_gone(&self, namespace: Namespace) -> bool {
        self.namespaces.as_ref().is_some_and(|namespaces| !namespaces.contains(&namespace))
    }

    /// A layer has all of these ranges, and these namespaces, if it says which.
    fn add(&mut self, whole: Vec<(Option<Namespace>, HashRange)>, namespaces: Option<BTreeSet<Namespace>>) {
        let mut by_namespace = BTreeMap::<_, Vec<_>>::new();
        whole.into_iter().for_each(|(namespace, range)| by_namespace.entry(namespace).or_default().push(range));
        by_namespace.into_iter().for_each(|(namespace, ranges)| self.whole.entry(namespace).or_default().add(ranges));
        if let Some(namespaces) = namespaces {
            match &mut self.namespaces {
                Some(before) => before.retain(|namespace| namespaces.contains(namespace)),
                None => self.namespaces = Some(namespaces),
            }
        }
    }
}

/// A set of hashes.
#[derive(Default)]
struct Ranges {
    /// In order, and no two of them touch.
    ranges: Vec<HashRange>,
}

impl Ranges {
    /// Whether all of `range` is in the set.
    fn cover(&self, range: HashRange) -> bool {
        let after = self.ranges.partition_point(|of| of.first <= range.first);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|of| range.last <= of.last)
    }

    fn add(&mut self, mut ranges: Vec<HashRange>) {
        ranges.append(&mut self.ranges);
        ranges.sort_unstable_by_key(|range| range.first);
        for range in mem::take(&mut ranges) {
            match self.ranges.last_mut() {
                Some(last) if u64::from(range.first) <= u64::from(last.last) + 1 => last.last = last.last.max(range.last),
                _ => self.ranges.push(range),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_covers_what_is_in_one_of_them(added in proptest::collection::vec((0..60u32, 0..20u32), 0..12), first in 0..80u32, length in 0..8u32) {
            let mut set = Ranges::default();
            for some in added.chunks(3) {
                set.add(some.iter().map(|(first, length)| HashRange { first: *first, last: first + length }).collect());
            }
            let has = |hash: u32| added.iter().any(|(first, length)| (*first..=first + length).contains(&hash));
            prop_assert_eq!(set.cover(HashRange { first, last: first + length }), (first..=first + length).all(has));
            prop_assert!(set.ranges.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        }
    }
}
