use super::*;
use crate::checkpoint::CheckpointId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;
use thalweg_record::HashRange;
use thalweg_record::record::RecordLayout;
use thalweg_storage::checkpoint::{Entries, Layers, Snapshot, SnapshotWriter, StateLayout, append_entry, restore, take_namespace};
use thalweg_storage::{SaveError, SavedEntries, SavedPart, Saving, Sealable, SideBytes, Stored};

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
    let mut bytes = &*saved.bytes;
    match saved.part {
        SavedPart::Namespaces => return vec![],
        SavedPart::RangeWithin => assert!(take_namespace(&mut bytes).is_some()),
        SavedPart::Some | SavedPart::Range => {}
    }
    let (mut entries, mut decoded) = (Entries::new(bytes), vec![]);
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

#[derive(Clone, Copy, Debug)]
enum Change {
    Add(i64, i64, u64),
    /// Time goes on, and windows are over.
    Pass(i64),
    Seal,
    Save(usize),
    /// The latest content is stored, or lost.
    End(bool),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        30 => (0..8i64, 1..3i64, 0..60u64).prop_map(|(from, length, key)| Change::Add(from, 4 * length, key)),
        2 => (0..6i64).prop_map(Change::Pass),
        3 => Just(Change::Seal),
        6 => prop_oneof![1..40usize, Just(usize::MAX)].prop_map(Change::Save),
        4 => any::<bool>().prop_map(Change::End),
    ];
    proptest::collection::vec(change, 0..500)
}

/// The images that make a content up, with their checkpoints, the oldest first.
type Images = Vec<(CheckpointId, Snapshot)>;

fn read_back(images: &Images) -> Contents {
    let layers = Layers::new(images.iter().map(|(_, image)| image.clone()).collect());
    let mut contents = Contents::new();
    let layouts = (&RecordLayout::<u64>::default(), &RecordLayout::<u64>::default());
    let of_state = layers.of_state("window", "contents").collect();
    restore(
        of_state,
        layouts,
        HashRange::ALL,
        |key| u64::hash(*key),
        |_, _| true,
        |entry| {
            let (start, end) = entry.namespace.unwrap();
            assert_eq!(contents.insert((end, start, entry.key), entry.value), None, "{} comes twice", entry.key);
        },
    )
    .unwrap();
    contents
}

/// Runs the changes, and returns how many contents were added to earlier ones. Small panes take up to `whole_bytes_max`.
fn run_layered(changes: &[Change], whole_bytes_max: usize) -> usize {
    let mut panes = Panes::<u64, u64>::new(HotTable::default().with_part_slots(8));
    let (mut model, mut now, mut checkpoint, mut added) = (Contents::new(), 0, CheckpointId(0), 0);
    let stored: Rc<Stored> = Rc::default();
    let mut sealed: Option<(Contents, SnapshotWriter)> = None;
    // A content may turn out to be stored when the next one is sealed, and parts of it are saved.
    let (mut whole, mut files): (Option<(CheckpointId, Images)>, Images) = (None, vec![]);
    for (number, change) in (0..).zip(changes) {
        match *change {
            Change::Add(from, length, key) => {
                let window = window((now + from) / 4 * 4, (now + from) / 4 * 4 + length);
                *panes.find_or_insert(window, u64::hash(key), key, || 0, |_, _| ()).1 = number;
                model.insert((window.end, window.start, key), number);
            }
            Change::Pass(by) => {
                now += by;
                panes.retire(|window| window.end <= now);
                model = model.split_off(&(now + 1, i64::MIN, 0));
                panes.free(10);
            }
            Change::Seal => {
                checkpoint = checkpoint.next();
                let side = SideBytes::at_most(usize::MAX);
                let saving = Saving { checkpoint, side, stored: Rc::clone(&stored), whole_bytes_max, changes_percent_max: 50 };
                panes.seal(append_entry, &saving);
                sealed = Some((model.clone(), SnapshotWriter::new()));
            }
            Change::Save(budget) => {
                let Some((before, mut writer)) = sealed.take() else { continue };
                let state = writer.state("window", "contents", &StateLayout::default());
                let is_all =
                    panes.save(&mut { budget }, &mut |saved| writer.append(state, saved.scope(), saved.entries, &saved.bytes)).unwrap();
                if !is_all {
                    sealed = Some((before, writer));
                    continue;
                }
                let builds_on = panes.builds_on();
                let mut images: Images = files.iter().filter(|(of, _)| builds_on.is_some_and(|on| *of >= on)).cloned().collect();
                if builds_on.is_some() {
                    writer.builds_on_earlier(state);
                    added += 1;
                }
                images.push((checkpoint, Snapshot::parse("image", writer.finish().rest).unwrap()));
                assert_eq!(read_back(&images), before, "{checkpoint}, which builds on {builds_on:?}");
                whole = Some((checkpoint, images));
            }
            Change::End(is_stored) => {
                let Some((of, images)) = whole.take().filter(|_| is_stored) else { continue };
                stored.note(of);
                files = images;
            }
        }
    }
    added
}

proptest! {
    /// A content that is added to earlier ones is the one that was sealed: nothing of panes that were over comes back.
    #[test]
    fn windows_that_were_sealed_are_read_back_from_all_that_was_stored(changes in changes(), whole_bytes_max in prop_oneof![Just(0), Just(700)]) {
        run_layered(&changes, whole_bytes_max);
    }
}

/// The test above would prove nothing if that were rare.
#[test]
fn windows_are_added_to_what_was_stored_of_them() {
    let fill: Vec<Change> = (0..60).flat_map(|key| [Change::Add(0, 400, key), Change::Add(4, 400, key)]).collect();
    let round =
        [Change::Add(0, 400, 1), Change::Seal, Change::Add(0, 400, 2), Change::Save(usize::MAX), Change::End(true), Change::Pass(4)];
    assert!(run_layered(&[fill, round.repeat(20)].concat(), 0) >= 18);
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

/// A window that is being fired is saved meanwhile, and its entries are large: none of them moves, so each fires once.
#[test]
fn saving_moves_no_entry_of_a_window_that_is_being_fired() {
    let mut panes = Panes::<u64, String>::new(HotTable::default());
    let all = window(0, 20);
    for key in 0..2_000 {
        panes.find_or_insert(all, u64::hash(key), key, || "much ".repeat(400), |_, _| ());
    }
    let saving = Saving { whole_bytes_max: 0, ..alone(&SideBytes::at_most(usize::MAX)) };
    panes.seal(append_entry, &saving);
    let (mut fired, mut is_saved) = (vec![], false);
    loop {
        let before = fired.len();
        let is_done = panes.fire_due(all, |key, _| {
            let has_room = fired.len() < before + 100;
            fired.extend(has_room.then_some(*key));
            has_room
        });
        is_saved |= panes.save(&mut 300, &mut |_| ()).unwrap();
        if is_done {
            break;
        }
    }
    fired.sort_unstable();
    assert!(is_saved && fired.into_iter().eq(0..2_000));
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
