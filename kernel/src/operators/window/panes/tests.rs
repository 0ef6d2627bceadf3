use super::*;
use crate::checkpoint::CheckpointId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;
use thalweg_record::record::RecordLayout;
use thalweg_storage::checkpoint::{Entries, append_entry};
use thalweg_storage::{SaveError, SavedEntries, Saving, Sealable, SideBytes};

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

/// A record for a key in a window from now on, of some length; time that goes on, and how many entries there is room for at a time; a barrier; a slice of
/// saving.
#[derive(Clone, Copy, Debug)]
enum Act {
    Add(i64, i64, u64),
    Fire(i64, usize),
    Seal,
    Save(usize),
    GiveUp,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        60 => (0..12i64, 1..4i64, 0..60u64).prop_map(|(start, length, key)| Act::Add(start, 3 * length, key)),
        3 => (1..3i64, 1..20usize).prop_map(|(by, most)| Act::Fire(by, most)),
        3 => Just(Act::Seal),
        12 => (1..40usize).prop_map(Act::Save),
        1 => Just(Act::GiveUp),
    ];
    proptest::collection::vec(act, 0..600)
}

/// The contents of windows: of each end, start and key, a number.
type Contents = BTreeMap<(i64, i64, u64), u64>;

/// For a checkpoint that no other one builds on, nor it on any.
fn alone(side: &Rc<SideBytes>) -> Saving {
    Saving {
        checkpoint: CheckpointId(1),
        side: Rc::clone(side),
        stored: Rc::default(),
        whole_bytes_max: usize::MAX,
        changes_percent_max: 0,
    }
}

fn decode(saved: &SavedEntries) -> Vec<((i64, i64, u64), u64)> {
    let (mut entries, mut decoded) = (Entries::new(&saved.bytes), vec![]);
    while let Some(entry) = entries.next(&RecordLayout::<u64>::default(), &RecordLayout::<u64>::default()) {
        let entry = entry.unwrap();
        let (start, end) = entry.namespace.unwrap();
        decoded.push(((end, start, entry.key), entry.value.unwrap()));
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
        let mut sealed: Option<(Contents, Vec<((i64, i64, u64), u64)>)> = None;
        for (number, act) in (0..).zip(acts.into_iter().chain([Act::Save(usize::MAX)])) {
            match act {
                Act::Add(from, length, key) => {
                    let window = window(now + from, now + from + length);
                    let (position, value) = panes.find_or_insert(window, u64::hash(key), key, || 0, |_, _| ());
                    *value = number;
                    prop_assert_eq!(panes.entry(Place { window, position }), Some((&key, &number)));
                    model.insert((window.end, window.start, key), number);
                }
                Act::Fire(by, most) => {
                    now += by;
                    let (mut fired, watermark) = (Contents::new(), Watermark(now + 4));
                    while let Some(window) = panes.first_due(watermark) {
                        let mut room = most;
                        panes.fire_due(window, |key, value| {
                            let fires = room > 0;
                            room -= usize::from(fires);
                            assert!(!fires || fired.insert((window.end, window.start, *key), *value).is_none(), "{key} fires twice");
                            fires
                        });
                    }
                    panes.retire(|window| window.max_timestamp() <= watermark.0);
                    let later = model.split_off(&(watermark.0 + 2, i64::MIN, 0));
                    prop_assert_eq!(fired, std::mem::replace(&mut model, later));
                    panes.free(10);
                }
                Act::Seal => {
                    panes.seal(append_entry, &alone(&side));
                    sealed = Some((model.clone(), vec![]));
                }
                Act::Save(budget) => {
                    let mut saved = vec![];
                    let is_all = panes.save(&mut { budget }, &mut |entries| saved.extend(decode(entries)));
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
                    prop_assert_eq!(side.fill(1_000_000), 0);
                    prop_assert!(panes.unsaved.is_empty());
                }
            }
        }
    }
}

/// What is kept aside is counted over all panes, and a pane that is over while it waits for its turn is freed when the content is given up.
#[test]
fn a_content_is_given_up_in_all_panes_when_too_much_changes() {
    let mut panes = Panes::<u64, u64>::new(HotTable::default());
    let change_all = |panes: &mut Panes<u64, u64>| {
        for key in 0..100 {
            *panes.find_or_insert(window(key as i64 % 10, 20), u64::hash(key), key, || 0, |_, _| ()).1 += 1;
        }
    };
    change_all(&mut panes);
    let side = SideBytes::at_most(2_500);
    panes.seal(append_entry, &alone(&side));
    panes.retire(|window| window.start == 0);
    assert_eq!(panes.unsaved.len(), 1);
    change_all(&mut panes);
    assert_eq!(side.fill(9), 9);
    let saved = std::iter::repeat_with(|| panes.save(&mut 20, &mut |_| ())).find(|saved| !matches!(saved, Ok(false)));
    assert!(matches!(saved, Some(Err(SaveError::SideBuffersFull { .. }))), "{saved:?}");
    assert_eq!((side.fill(1_000_000), panes.unsaved.len(), panes.retired.len()), (0, 0, 1));
    assert!(panes.panes.iter().all(|(_, pane)| !pane.table.is_sealed()));
    panes.free(1_000);
    assert!(panes.retired.is_empty());
}

/// However small a slice is, it gets further.
#[test]
fn panes_are_saved_by_slices_of_one_entry() {
    let mut panes = Panes::<u64, u64>::new(HotTable::default().with_part_slots(4));
    for key in 0..100 {
        panes.find_or_insert(window(key as i64 % 10, 20), u64::hash(key), key, || 0, |_, _| ());
    }
    panes.seal(append_entry, &alone(&SideBytes::at_most(usize::MAX)));
    panes.retire(|window| window.start < 3);
    let mut saved = 0;
    let slices = (0..1_000).take_while(|_| !panes.save(&mut 1, &mut |entries| saved += entries.entries).unwrap()).count();
    assert!(slices < 1_000 && saved == 100, "{saved} entries in {slices} slices");
}
