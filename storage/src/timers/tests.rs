use super::*;
use crate::Sealable;
use crate::checkpoint::{Entries, append_entry};
use crate::expected::Expected;
use crate::saved::SavedEntries;
use crate::saving::Saving;
use crate::side_bytes::SideBytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use thalweg_record::record::RecordLayout;

#[test]
fn timers_come_due_in_order_of_time_then_key_and_once() {
    let mut timers = TimerQueue::new(TableOwner::default(), usize::MAX);
    for (time, key) in [(5, "b"), (3, "z"), (5, "a"), (5, "b"), (9, "c")] {
        timers.insert(time, key.to_owned());
    }
    assert!(timers.remove(9, "c".to_owned()));
    assert_eq!(timers.pop_due(2), None);
    let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(5)).map(|(time, key)| format!("{time}{key}")).collect();
    assert_eq!(due, ["3z", "5a", "5b"]);
    assert!(timers.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Set(i64, u16),
    Delete(i64, u16),
    Fire(i64),
    Seal,
    Save(usize),
    GiveUp,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        30 => (0..40i64, 0..4u16).prop_map(|(time, key)| Act::Set(time, key)),
        15 => (0..40i64, 0..4u16).prop_map(|(time, key)| Act::Delete(time, key)),
        5 => (0..40i64).prop_map(Act::Fire),
        3 => Just(Act::Seal),
        10 => (1..30usize).prop_map(Act::Save),
        1 => Just(Act::GiveUp),
    ];
    proptest::collection::vec(act, 0..600)
}

fn decode(saved: &SavedEntries) -> Vec<(i64, u16)> {
    let (mut entries, mut timers) = (Entries::new(&saved.bytes), vec![]);
    while let Some(entry) = entries.next(&RecordLayout::<(u16, i64)>::default(), &RecordLayout::<()>::default()) {
        let (key, time) = entry.unwrap().key;
        let hash = map_entry_hash::<u16, i64>(key, &time) as u32;
        assert!((saved.hashes.first..=saved.hashes.last).contains(&hash), "{hash} is not in {:?}", saved.hashes);
        timers.push((time, key));
    }
    assert_eq!(timers.len() as u64, saved.entries);
    timers
}

proptest! {
    /// Each sealed content is saved once per timer, as the set was at that moment, whatever is set, deleted and fired meanwhile.
    #[test]
    fn the_timers_that_were_sealed_are_saved(acts in acts(), part_slots in 4..64usize) {
        let mut timers = TimerQueue::<u16>::new(TableOwner::default(), part_slots);
        let (mut model, mut expected) = (BTreeSet::new(), Expected::nothing());
        let side = SideBytes::at_most(usize::MAX);
        for act in acts.into_iter().chain([Act::Save(usize::MAX)]) {
            match act {
                Act::Set(time, key) => prop_assert_eq!(timers.insert(time, key), model.insert((time, key))),
                Act::Delete(time, key) => prop_assert_eq!(timers.remove(time, key), model.remove(&(time, key))),
                Act::Fire(now) => {
                    prop_assert!(timers.due(now).eq(model.iter().take_while(|(time, _)| *time <= now)));
                    while let Some(timer) = timers.pop_due(now) {
                        prop_assert_eq!(model.pop_first(), Some(timer));
                    }
                    prop_assert!(model.first().is_none_or(|(time, _)| *time > now));
                }
                Act::Seal => {
                    timers.seal(append_entry, &Saving::alone(&side));
                    expected.seal(model.iter().map(|timer| (*timer, ())).collect());
                }
                Act::Save(budget) => {
                    let mut saved = vec![];
                    let is_all = timers.save(&mut { budget }, &mut |entries| saved.extend(decode(entries).into_iter().map(|timer| (timer, ()))));
                    if expected.save(is_all, saved)? {
                        prop_assert_eq!(side.fill(1_000_000), 0);
                    }
                }
                Act::GiveUp => {
                    timers.unseal();
                    expected.give_up();
                }
            }
            prop_assert_eq!((timers.len(), timers.size().entries), (model.len(), model.len()));
        }
    }
}
