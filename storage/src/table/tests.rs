use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;
use thalweg_record::KeyGroups;

/// Spread as the engine's hashes are.
fn spread(key: u64) -> u64 {
    let mixed = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Hashes that collide, in full and in each part that the table looks at.
const HASHES: [fn(u64) -> u64; 5] =
    [spread, |key| (key % 7).wrapping_mul(0x0101_0101_0101_0101), |key| spread(key) & 0xffff_ffff, |key| spread(key) & !0xffff_ffff, |_| 0];

#[derive(Clone, Copy, Debug)]
enum Act {
    Add(u16),
    Remove(u16),
    Get(u16),
}

fn acts(keys: u16) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..keys).prop_map(Act::Add),
        2 => (0..keys).prop_map(Act::Remove),
        1 => (0..keys).prop_map(Act::Get),
    ];
    proptest::collection::vec(act, 0..3000)
}

/// So large that parts are of 16 slots: a few hundred keys split them again and again, into regions.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
struct Wide([u64; 2 << 10]);

impl From<u64> for Wide {
    fn from(number: u64) -> Self {
        Self([number; 2 << 10])
    }
}

proptest! {
    #[test]
    fn it_behaves_like_a_map_however_hashes_collide(acts in acts(400), which in 0..HASHES.len()) {
        behaves_like_a_map::<u64>(&acts, HASHES[which])?;
    }

    #[test]
    fn it_behaves_like_a_map_when_it_splits_all_the_time(acts in acts(400), which in 0..HASHES.len()) {
        behaves_like_a_map::<Wide>(&acts, HASHES[which])?;
    }
}

fn behaves_like_a_map<V: From<u64> + Copy + PartialEq + Debug>(acts: &[Act], hash_of: fn(u64) -> u64) -> Result<(), TestCaseError> {
    let hash = |key: u16| hash_of(u64::from(key));
    let mut table = HotTable::<u16, V>::default();
    let mut model = BTreeMap::new();
    for (number, act) in (0..).zip(acts) {
        match *act {
            Act::Add(key) => {
                *table.get_or_insert_with(hash(key), |k| *k == key, || (key, V::from(0))) = V::from(number);
                model.insert(key, V::from(number));
            }
            Act::Remove(key) => prop_assert_eq!(table.remove(hash(key), |k| *k == key), model.remove(&key)),
            Act::Get(key) => {
                prop_assert_eq!(table.get(hash(key), |k| *k == key), model.get(&key));
                prop_assert_eq!(table.get_mut(hash(key), |k| *k == key).copied(), model.get(&key).copied());
            }
        }
        prop_assert_eq!(table.len(), model.len());
    }
    let entries: BTreeMap<_, _> = table.iter().map(|(k, v)| (*k, *v)).collect();
    prop_assert_eq!((entries.len(), table.iter().count()), (model.len(), model.len()));
    prop_assert!(entries == model);
    Ok(())
}

/// As after a restore, which brings one key group after the other.
#[test]
fn entries_that_come_in_the_order_of_their_hashes_make_parts_of_the_usual_size() {
    let mut hashes: Vec<u64> = (0..300_000).map(spread).collect();
    hashes.sort_unstable_by_key(|hash| *hash as u32);
    let mut table = HotTable::default();
    hashes.iter().for_each(|hash| table.insert_new(*hash, *hash, 0u64));
    assert!(table.parts.iter().all(|part| part.slots.capacity() <= PART_SLOTS));
    assert!(table.directory.len() <= 4 * table.parts.len(), "{} places for {} parts", table.directory.len(), table.parts.len());
    assert!(hashes.iter().all(|hash| table.get(*hash, |key| key == hash).is_some()));
}

#[test]
fn a_part_that_has_become_empty_gives_its_memory_back() {
    let mut table = HotTable::default();
    for key in 0..100_000u64 {
        table.insert_new(spread(key), key, key);
    }
    let full = table.table_bytes();
    for key in 0..100_000u64 {
        assert_eq!(table.remove(spread(key), |k| *k == key), Some(key));
    }
    assert!(table.is_empty() && table.table_bytes() < full / 20, "{} of {full}", table.table_bytes());
    table.insert_new(spread(7), 7, 8);
    assert_eq!(table.get(spread(7), |k| *k == 7), Some(&8));
}

#[test]
fn a_large_table_splits_into_parts_that_stay_small_and_finds_every_key() {
    let keys = 300_000u64;
    let mut table = HotTable::default();
    for key in 0..keys {
        table.insert_new(spread(key), key, [key; 3]);
    }
    assert!(table.parts.len() > 100 && table.directory.len() <= 8 * table.parts.len(), "{} parts", table.parts.len());
    assert!(table.parts.iter().all(|part| part.slots.capacity() <= PART_SLOTS));
    for key in 0..keys {
        table.prefetch(spread(key));
        assert_eq!(table.get(spread(key), |k| *k == key), Some(&[key; 3]));
        assert_eq!(table.get(spread(key), |_| false), None);
    }
    assert_eq!(table.iter().count(), table.len());
    let slot_bytes = |table: &HotTable<u64, [u64; 3]>| table.parts.iter().map(|part| part.slots.bytes()).sum::<usize>();
    assert_eq!(table.slot_bytes, slot_bytes(&table));
    for key in (0..keys).step_by(3) {
        assert_eq!(table.remove(spread(key), |k| *k == key), Some([key; 3]));
    }
    assert_eq!(table.slot_bytes, slot_bytes(&table));
    assert!((0..keys).all(|key| table.get(spread(key), |k| *k == key).is_some() != key.is_multiple_of(3)));
}

/// A subtask of 128 owns a 128th of the hashes: its table is laid out as if there were no others.
#[test]
fn a_table_of_a_few_key_groups_splits_as_one_of_all() {
    for parallelism in [1usize, 2, 3, 128] {
        let groups = KeyGroups::DEFAULT;
        let owned = groups.owned_by(parallelism - 1, parallelism);
        let mut table = HotTable::spanning(groups.hashes_of(owned.clone()), TableOwner::default());
        let keys: Vec<u64> = (0..).filter(|key| owned.contains(&groups.of_hash(spread(*key)))).take(60_000).collect();
        keys.iter().for_each(|key| table.insert_new(spread(*key), *key, ()));
        assert!(
            table.directory.len() <= 4 * table.parts.len() && table.parts.len() > 16,
            "{} parts of {}",
            table.parts.len(),
            table.directory.len()
        );
        assert!(keys.iter().all(|key| table.get(spread(*key), |k| k == key).is_some()));
        // A key of another subtask has no business here, and is found all the same.
        table.insert_new(spread(7).wrapping_neg(), u64::MAX, ());
        assert!(table.get(spread(7).wrapping_neg(), |k| *k == u64::MAX).is_some());
    }
}

#[test]
fn equal_hashes_make_a_part_grow_beyond_its_bound_and_not_the_directory() {
    let mut table = HotTable::default();
    for key in 0..6_000u32 {
        // Equal in the low 32 bits, by which parts are cut.
        table.insert_new(u64::from(key) << 40, key, ());
    }
    assert!(table.directory.len() == 1, "no directory tells them apart");
    assert!((0..6_000).all(|key| table.get(u64::from(key) << 40, |k| *k == key).is_some()));
}

/// Every key and value is dropped once: those removed, those overwritten by a move, those left.
#[test]
fn what_a_table_owns_is_dropped_once() {
    let owner = Rc::new(());
    let mut table = HotTable::default();
    for key in 0..40_000u64 {
        table.insert_new(spread(key), (key, Rc::clone(&owner)), Rc::clone(&owner));
    }
    for key in (0..40_000).step_by(2) {
        table.remove(spread(key), |(k, _)| *k == key);
    }
    assert_eq!(Rc::strong_count(&owner), 1 + 2 * table.len());
    drop(table);
    assert_eq!(Rc::strong_count(&owner), 1);
}

#[test]
fn a_key_that_could_not_be_made_leaves_the_table_as_it_was() {
    let mut table = HotTable::<u64, String>::default();
    table.insert_new(spread(1), 1, "one".to_owned());
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.get_or_insert_with(spread(2), |k| *k == 2, || panic!("no"));
    }));
    assert!(made.is_err() && table.len() == 1 && table.get(spread(2), |k| *k == 2).is_none());
}

#[test]
fn an_empty_table_takes_no_memory_for_entries() {
    let table = HotTable::<String, [u64; 8]>::default();
    assert!(table.table_bytes() < 64 && table.is_empty() && table.get(7, |_| true).is_none());
    table.prefetch(7);
}
