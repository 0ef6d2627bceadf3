use super::super::{HotTable, PART_SLOTS};
use super::*;
use crate::expected::Expected;
use crate::{Sealable, SideBytes};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use thalweg_record::record::{Appending, ArchiveError};

fn spread(key: u64) -> u64 {
    let mixed = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Hashes as the engine's, and others that collide: in the bits by which parts are cut, in those by which slots are found, in all.
const HASHES: [fn(u64) -> u64; 4] = [spread, |key| spread(key) & 0xffff_ffff, |key| spread(key) & !0xffff_ffff, |_| 0];

const NO_BOUND: usize = usize::MAX;

fn no_bound() -> Saving {
    Saving::alone(&SideBytes::at_most(NO_BOUND))
}

#[allow(clippy::unnecessary_wraps, reason = "it is an `Encode`")]
fn encode(out: &mut Appending<'_>, _: Option<Namespace>, key: &u16, value: Option<&u64>) -> Result<(), ArchiveError> {
    out.bytes(&u64::from(*key).to_le_bytes());
    out.bytes(&value.expect("all is saved").to_le_bytes());
    Ok(())
}

fn decode(saved: &SavedEntries) -> Vec<(u16, u64)> {
    let numbers: Vec<u64> = saved.bytes.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(numbers.len() as u64, 2 * saved.entries);
    numbers.chunks(2).map(|pair| (pair[0] as u16, pair[1])).collect()
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Set(u16),
    Remove(u16),
    Read(u16),
    Seal,
    Save(usize),
    GiveUp,
}

fn acts(most: usize) -> impl Strategy<Value = Vec<Act>> {
    let keys = 0..400u16;
    let act = prop_oneof![
        60 => keys.clone().prop_map(Act::Set),
        30 => keys.clone().prop_map(Act::Remove),
        10 => keys.prop_map(Act::Read),
        3 => Just(Act::Seal),
        8 => (0..200usize).prop_map(Act::Save),
        1 => Just(Act::GiveUp),
    ];
    proptest::collection::vec(act, 0..most)
}

proptest! {
    #[test]
    fn what_was_sealed_is_saved_whatever_changes_meanwhile(acts in acts(1200), which in 0..HASHES.len()) {
        saves_what_was_sealed(&acts, HASHES[which], PART_SLOTS)?;
    }

    #[test]
    fn what_was_sealed_is_saved_when_parts_split_all_the_time(acts in acts(1200), which in 0..HASHES.len()) {
        saves_what_was_sealed(&acts, HASHES[which], 4)?;
    }
}

/// Each sealed content is saved once per entry, as a map was at that moment; reading changes nothing.
fn saves_what_was_sealed(acts: &[Act], hash_of: fn(u64) -> u64, part_slots: usize) -> Result<(), TestCaseError> {
    let hash = |key: u16| hash_of(u64::from(key));
    let (mut table, mut model) = (HotTable::<u16, u64>::default().with_part_slots(part_slots), BTreeMap::new());
    let mut expected = Expected::nothing();
    for (number, act) in (0..).zip(acts.iter().chain([&Act::Save(NO_BOUND)])) {
        match *act {
            Act::Set(key) => {
                *table.get_or_insert_with(hash(key), |k| *k == key, || (key, 0)) = number;
                model.insert(key, number);
            }
            Act::Remove(key) => {
                prop_assert_eq!(table.remove(hash(key), |k| *k == key), model.remove(&key));
            }
            Act::Read(key) => prop_assert_eq!(table.get(hash(key), |k| *k == key), model.get(&key)),
            Act::Seal => {
                table.seal(encode, &no_bound());
                expected.seal(model.clone());
            }
            Act::Save(budget) => {
                let mut saved = vec![];
                let is_all = table.save(&mut { budget }, &mut |entries| {
                    for (key, value) in decode(entries) {
                        let hash = hash(key) as u32;
                        assert!((entries.hashes.first..=entries.hashes.last).contains(&hash), "{hash} is not in {:?}", entries.hashes);
                        saved.push((key, value));
                    }
                });
                if expected.save(is_all, saved)? {
                    prop_assert!(!table.sealing.is_sealed());
                }
            }
            Act::GiveUp => {
                table.unseal();
                expected.give_up();
            }
        }
    }
    Ok(())
}

fn table_of(keys: u16) -> HotTable<u16, u64> {
    let mut table = HotTable::default();
    (0..keys).for_each(|key| table.insert_new(spread(key.into()), key, 0));
    table
}

fn set(table: &mut HotTable<u16, u64>, key: u16, value: u64) {
    *table.get_mut(spread(key.into()), |k| *k == key).unwrap() = value;
}

fn save_all(table: &mut HotTable<u16, u64>) -> BTreeMap<u16, u64> {
    let mut saved = BTreeMap::new();
    while !table.save(&mut 500, &mut |entries| saved.extend(decode(entries))).unwrap() {}
    saved
}

/// Checkpoint after checkpoint is given up before anything is saved, until tags come round, once and more often: no entry is taken for one that has changed
/// since.
#[test]
fn contents_given_up_in_a_row_leave_the_next_one_whole_when_tags_come_round() {
    for epochs in [1, 253, 254, 255, 507, 508, 509, 600, 762] {
        let mut table = table_of(4_000);
        (0..epochs).for_each(|_| table.seal(encode, &no_bound()));
        assert_eq!(save_all(&mut table).len(), 4_000, "after {epochs}");
    }
}

/// The same where each is saved in part, and where the table grows while parts are swept: those that it gets have to be swept in time, too.
#[test]
fn parts_are_swept_in_time_also_if_the_table_grows_meanwhile() {
    for (grows_at, epochs) in [(190, 253), (190, 254), (199, 254), (0, 254), (100, 255), (190, 300), (230, 508)] {
        let mut table = HotTable::default().with_part_slots(16);
        let add = |table: &mut HotTable<u16, u64>, keys: std::ops::Range<u16>| {
            keys.for_each(|key| table.insert_new(spread(key.into()), key, 0));
        };
        add(&mut table, 0..1_000);
        for epoch in 0..epochs {
            table.seal(encode, &no_bound());
            if epoch >= grows_at && table.len() < 8_000 {
                let from = table.len() as u16;
                add(&mut table, from..from + 1_000);
            }
            if epoch % 10 == 3 {
                assert!(!table.save(&mut 1, &mut |_| {}).unwrap());
            }
        }
        table.seal(encode, &no_bound());
        assert_eq!(save_all(&mut table).len(), table.len(), "grown from {grows_at} on, after {epochs}");
    }
}

/// Parts split in numbers while a content waits to be saved: what is kept for it is what has changed, and no more.
#[test]
fn a_table_that_grows_while_it_is_sealed_keeps_nothing_aside() {
    let mut table = HotTable::default().with_part_slots(16);
    (0..1_000).for_each(|key| table.insert_new(spread(key), key as u16, 0));
    let side = SideBytes::at_most(16 * 10);
    table.seal(encode, &Saving::alone(&side));
    (1_000..8_000).for_each(|key| table.insert_new(spread(key), key as u16, 0));
    (0..5).for_each(|key| set(&mut table, key, 9));
    assert_eq!(side.fill(10), 5);
    let saved = save_all(&mut table);
    assert_eq!((saved.len(), saved.values().max()), (1_000, Some(&0)));
}

#[test]
fn side_buffers_have_a_bound_and_leave_nothing_behind() {
    let mut table = table_of(20_000);
    let side = SideBytes::at_most(16 * 100);
    table.seal(encode, &Saving::alone(&side));
    (0..200).for_each(|key| set(&mut table, key, 1));
    assert!(matches!(table.save(&mut 1, &mut |_| {}), Err(SaveError::SideBuffersFull { bytes }) if bytes > 16 * 100 && bytes < 16 * 110));
    assert!(!table.sealing.is_sealed());
    assert_eq!(side.fill(1_000), 0);
    table.seal(encode, &Saving::alone(&side));
    (0..50).for_each(|key| set(&mut table, key, 2));
    assert_eq!(save_all(&mut table).len(), 20_000);
}

/// However much is kept aside in a slice, each slice saves a part: what is kept aside has an end.
#[test]
fn parts_are_saved_while_much_is_kept_aside() {
    fn encode_100(out: &mut Appending<'_>, _: Option<Namespace>, key: &u16, _: Option<&u64>) -> Result<(), ArchiveError> {
        out.bytes(&[7; 98]);
        out.bytes(&key.to_le_bytes());
        Ok(())
    }
    let mut table = table_of(20_000);
    let parts = table.parts.len();
    let side = SideBytes::at_most(usize::MAX);
    table.seal(encode_100, &Saving::alone(&side));
    let (mut keys, mut saved, mut slices) = ((0..20_000u16).map(|n| n.wrapping_mul(7_919) % 20_000), BTreeSet::new(), 0);
    let mut is_all = false;
    while !is_all {
        keys.by_ref().take(2_000).for_each(|key| set(&mut table, key, 1));
        slices += 1;
        is_all = table
            .save(&mut 1_536, &mut |entries| {
                entries.bytes.chunks(100).for_each(|entry| assert!(saved.insert([entry[98], entry[99]]), "an entry is saved twice"));
            })
            .unwrap();
    }
    assert_eq!(saved.len(), 20_000);
    assert!(slices <= parts + 4, "{slices} slices for {parts} parts");
}

#[test]
fn an_entry_that_cannot_be_encoded_ends_the_saving() {
    fn refuse(_: &mut Appending<'_>, _: Option<Namespace>, _: &u16, _: Option<&u64>) -> Result<(), ArchiveError> {
        thalweg_record::record::access::<u64>(&[]).map(drop)
    }
    let mut table = table_of(10);
    table.seal(refuse, &no_bound());
    assert!(matches!(table.save(&mut 100, &mut |_| panic!("nothing was encoded")), Err(SaveError::Archive(_))));
    assert!(!table.sealing.is_sealed());
    assert!(table.save(&mut 100, &mut |_| {}).unwrap(), "there is nothing to save any more");
    // Also if it is found out by a change.
    table.seal(refuse, &no_bound());
    set(&mut table, 3, 1);
    assert!(matches!(table.save(&mut 100, &mut |_| panic!("nothing was encoded")), Err(SaveError::Archive(_))));
}

/// Parts of large entries are halved before they are saved, so that a slice saves about a megabyte and not all that has room in 4,096 slots.
#[test]
fn what_is_saved_at_once_is_bounded_in_bytes() {
    fn encode_large(out: &mut Appending<'_>, _: Option<Namespace>, _: &u16, _: Option<&u64>) -> Result<(), ArchiveError> {
        out.bytes(&[7; 4_000]);
        Ok(())
    }
    let mut table = table_of(6_000);
    for changed in [0, 100] {
        table.seal(encode_large, &no_bound());
        (0..changed).for_each(|key| set(&mut table, key, 1));
        let (mut largest, mut entries, mut is_all) = (0, 0, false);
        while !is_all {
            let mut bytes = 0;
            is_all = table
                .save(&mut 100, &mut |saved| {
                    bytes += saved.bytes.len();
                    entries += saved.entries;
                })
                .unwrap();
            largest = largest.max(bytes);
        }
        assert_eq!(entries, 6_000);
        assert!(largest <= table.saved_bytes_most + 100 * 4_000, "{largest} bytes at once");
    }
    assert!(table.parts.iter().all(|part| part.slots.len() <= 262), "1 MiB has room for 262 entries");
}
