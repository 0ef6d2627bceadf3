use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use thalweg_record::record::RecordLayout;
use thalweg_storage::checkpoint::{Entries, append_entry};
use thalweg_storage::{SavedEntries, Sealable, SideBytes};

fn window(start: i64, end: i64) -> TimeWindow {
    TimeWindow { start, end }
}

fn add(panes: &mut Panes<u64, ()>, window: TimeWindow) {
    panes.find_or_insert(window, 7, 7, || (), |(), ()| ());
}

fn due(panes: &mut Panes<u64, ()>, watermark: i64) -> Vec<TimeWindow> {
    std::iter::from_fn(|| {
        let window = panes.first_due(Watermark(watermark))?;
        assert!(panes.fire_due(window, |_, ()| true));
        Some(window)
    })
    .collect()
}

#[test]
fn windows_of_several_lengths_are_due_and_over_by_their_ends() {
    let mut panes = Panes::new(HotTable::default());
    for (start, end) in [(0, 100), (30, 40), (20, 40), (0, 10), (35, 45)] {
        add(&mut panes, window(start, end));
    }
    assert_eq!(due(&mut panes, 39), [window(0, 10), window(20, 40), window(30, 40)]);
    panes.retire(|window| window.end <= 40);
    assert!(panes.get(window(20, 40)).is_none() && panes.get(window(0, 100)).is_some());
    assert_eq!(due(&mut panes, 99), [window(35, 45), window(0, 100)]);
}

fn brought_near(panes: &mut Panes<u64, ()>) -> Vec<TimeWindow> {
    let windows = panes.in_use.iter().map(|place| panes.panes[*place].0).collect();
    panes.prefetch(&[7]);
    windows
}

/// Keys are prefetched in each pane that records go to, whichever came last, and in no other.
#[test]
fn keys_are_brought_near_in_the_panes_that_records_go_to() {
    let windows: Vec<_> = (0..20).map(|i| window(i, i + 5)).collect();
    let mut panes = Panes::new(HotTable::default());
    windows.iter().for_each(|window| add(&mut panes, *window));
    brought_near(&mut panes);
    for _ in 0..2 {
        windows[3..8].iter().for_each(|window| add(&mut panes, *window));
    }
    let mut near = brought_near(&mut panes);
    near.sort_unstable();
    assert_eq!(near, [&windows[3..8], &windows[19..]].concat());
    add(&mut panes, windows[7]);
    assert_eq!(brought_near(&mut panes), [windows[7]], "the last one stays");
    panes.retire(|window| window.start < 6);
    add(&mut panes, windows[7]);
    add(&mut panes, windows[8]);
    assert_eq!(brought_near(&mut panes), [windows[7], windows[8]], "places have changed and are noted anew");
}

#[test]
fn no_more_than_eight_panes_are_brought_near() {
    let mut panes = Panes::new(HotTable::default());
    for _ in 0..2 {
        brought_near(&mut panes);
        (0..20).for_each(|i| add(&mut panes, window(i, i + 5)));
    }
    assert_eq!(brought_near(&mut panes).len(), PREFETCH_PANES);
}

/// A record for a key in a window, time that goes on, a barrier, a slice of saving.
#[derive(Clone, Copy, Debug)]
enum Act {
    Add(i64, u64),
    Fire(i64),
    Seal,
    Save(usize),
    GiveUp,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        60 => (0..12i64, 0..60u64).prop_map(|(span, key)| Act::Add(span, key)),
        3 => (1..3i64).prop_map(Act::Fire),
        3 => Just(Act::Seal),
        12 => (1..40usize).prop_map(Act::Save),
        1 => Just(Act::GiveUp),
    ];
    proptest::collection::vec(act, 0..600)
}

/// The contents of windows: of each span and key, a number.
type Contents = BTreeMap<(i64, u64), u64>;

fn decode(saved: &SavedEntries) -> Vec<((i64, u64), u64)> {
    let (mut entries, mut decoded) = (Entries::new(&saved.bytes), vec![]);
    while let Some(entry) = entries.next(&RecordLayout::<u64>::default(), &RecordLayout::<u64>::default()) {
        let entry = entry.unwrap();
        decoded.push(((entry.namespace.unwrap().0, entry.key), entry.value));
    }
    decoded
}

proptest! {
    /// Each sealed content is saved once per entry, as the windows were at that moment, whatever is added, fires, is over and is freed meanwhile.
    #[test]
    fn the_windows_that_were_sealed_are_saved(acts in acts()) {
        let mut panes = Panes::<u64, u64>::new(HotTable::default().with_part_slots(8));
        let (mut model, mut now) = (Contents::new(), 0);
        let side = SideBytes::at_most(usize::MAX);
        let mut sealed: Option<(Contents, Vec<((i64, u64), u64)>)> = None;
        for (number, act) in (0..).zip(acts.into_iter().chain([Act::Save(usize::MAX)])) {
            match act {
                Act::Add(span, key) => {
                    let start = now + span;
                    let (place, value) = panes.find_or_insert(window(start, start + 5), u64::hash(key), key, || 0, |_, _| ());
                    *value = number;
                    prop_assert_eq!(panes.entry(Place { window: window(start, start + 5), position: place }), Some((&key, &number)));
                    model.insert((start, key), number);
                }
                Act::Fire(by) => {
                    now += by;
                    let mut fired = Contents::new();
                    while let Some(window) = panes.first_due(Watermark(now + 4)) {
                        prop_assert!(panes.fire_due(window, |key, value| fired.insert((window.start, *key), *value).is_none()));
                    }
                    panes.retire(|window| window.end <= now + 5);
                    let later = model.split_off(&(now + 1, 0));
                    prop_assert_eq!(fired, std::mem::replace(&mut model, later));
                    while !panes.free(10) {}
                }
                Act::Seal => {
                    panes.seal(append_entry, &side);
                    sealed = Some((model.clone(), vec![]));
                }
                Act::Save(budget) => {
                    let mut saved = vec![];
                    let is_all = panes.save(budget, &mut |entries| saved.extend(decode(entries)));
                    let is_all = is_all.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                    match &mut sealed {
                        Some((_, so_far)) => so_far.extend(saved),
                        None => prop_assert!(saved.is_empty()),
                    }
                    if let Some((before, so_far)) = sealed.take_if(|_| is_all) {
                        prop_assert_eq!(so_far.len(), before.len());
                        prop_assert_eq!(so_far.into_iter().collect::<Contents>(), before);
                        prop_assert_eq!(side.fill(1_000_000), 0);
                        prop_assert!(panes.unsaved.is_empty());
                    }
                }
                Act::GiveUp => {
                    panes.unseal();
                    sealed = None;
                    prop_assert!(panes.unsaved.is_empty());
                }
            }
        }
    }
}
