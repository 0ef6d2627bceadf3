//! Sections of entries with types: written into an image, read from it, and restored over all images.

use rkyv::util::AlignedVec;
use std::collections::BTreeMap;
use thalweg_record::HashRange;
use thalweg_record::record::{Archiver, Key, Layout, Record, RecordLayout};
use thalweg_storage::checkpoint::*;

/// Its namespace, its key, and its value unless it is a tombstone.
pub type Entry<K, V> = (Option<Namespace>, K, Option<V>);

pub type Sections<K, V> = Vec<(Scope, Vec<Entry<K, V>>)>;

pub type Restored<K, V> = BTreeMap<(Option<Namespace>, K), V>;

fn layout<K: Key, V: Record>() -> StateLayout {
    StateLayout { key: Layout::of::<K>(), value: Layout::of::<V>() }
}

/// Appends sections of entries to a state, which builds on earlier images or does not.
pub fn append<K: Key, V: Record>(writer: &mut SnapshotWriter, (operator, name): (&str, &str), builds: bool, sections: &Sections<K, V>) {
    let state = writer.state(operator, name, &layout::<K, V>());
    if builds {
        writer.builds_on_earlier(state);
    }
    for (scope, entries) in sections {
        let mut archiver = Archiver::new();
        let mut section = archiver.open(AlignedVec::<16>::new(), 0);
        for (namespace, key, value) in entries {
            let (Scope::Hashes(range) | Scope::AllHashes(range)) = *scope else { panic!("entries have keys") };
            let hash = K::hash(key.view()) as u32;
            assert!(range.first <= hash && hash <= range.last, "a key of hash {hash:#x} in {scope:x?}");
            append_entry(&mut section, *namespace, key, value.as_ref()).unwrap();
        }
        writer.append(state, *scope, entries.len() as u64, &section.close::<AlignedVec>());
    }
}

/// The sections of a state in one image.
pub fn read<K: Key, V: Record>(snapshot: &Snapshot, (operator, name): (&str, &str)) -> Sections<K, V> {
    let (key, value) = (RecordLayout::default(), RecordLayout::default());
    let sections = snapshot.sections(operator, name).map(|section| {
        assert_eq!(section.layout, &layout::<K, V>());
        let mut entries = Entries::new(section.bytes);
        let entries: Vec<Entry<K, V>> = std::iter::from_fn(|| entries.next(&key, &value))
            .map(|entry| entry.map(|SavedEntry { namespace, key, value }| (namespace, key, value)).unwrap())
            .collect();
        assert_eq!(section.entries, entries.len() as u64);
        (section.scope, entries)
    });
    sections.collect()
}

/// A state over all images that make it up.
pub fn restored<K: Key, V: Record>(layers: &Layers, (operator, name): (&str, &str)) -> Result<Restored<K, V>, String> {
    let (mut entries, mut is_twice) = (BTreeMap::new(), false);
    let (key, value) = (RecordLayout::default(), RecordLayout::default());
    let take = |entry: RestoredEntry<K, V>| is_twice |= entries.insert((entry.namespace, entry.key), entry.value).is_some();
    restore(layers.of_state(operator, name).collect(), (&key, &value), HashRange::ALL, |key| K::hash(key.view()), |_, _| true, take)?;
    if is_twice { Err("an entry of state is there twice".to_owned()) } else { Ok(entries) }
}
