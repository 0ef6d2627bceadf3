//! Contents that are added to earlier ones, saved, lost, stored and read back as a checkpoint's files are.

use super::super::HotTable;
use super::super::turns::AFTER_ALL;
use super::*;
use crate::Sealable;
use crate::checkpoint::{Layers, Snapshot, SnapshotWriter, StateIndex, StateLayout, append_entry, restore};
use crate::{SideBytes, Stored};
use proptest::prelude::*;
use std::collections::BTreeMap;
use thalweg_record::HashRange;
use thalweg_record::record::{Key, RecordLayout};

type Content = BTreeMap<u64, String>;

fn hash(key: u64) -> u64 {
    u64::hash(key)
}

/// A table with the images that were made of it.
struct Saved {
    table: HotTable<u64, String>,
    stored: Rc<Stored>,
    /// The content that is sealed, its checkpoint, and what there is of its image.
    sealed: Option<(Content, CheckpointId, SnapshotWriter)>,
    /// An image that is whole: its checkpoint, what it builds on, its content.
    whole: Option<(CheckpointId, Option<CheckpointId>, Snapshot)>,
    /// The images that are stored, the oldest first.
    files: Vec<(CheckpointId, Snapshot)>,
    last: CheckpointId,
    /// How many images had not all of the table; and the most files that a content lay in.
    added: usize,
    files_most: usize,
    written: Vec<usize>,
    whole_bytes_max: usize,
    changes_percent_max: usize,
}

fn state(writer: &mut SnapshotWriter) -> StateIndex {
    writer.state("operator", "state", &StateLayout::default())
}

impl Saved {
    fn of(table: HotTable<u64, String>) -> Self {
        Self {
            table,
            stored: Rc::default(),
            sealed: None,
            whole: None,
            files: vec![],
            last: CheckpointId(0),
            added: 0,
            files_most: 0,
            written: vec![],
            whole_bytes_max: 0,
            changes_percent_max: 50,
        }
    }

    fn set(&mut self, key: u64, value: String) {
        *self.table.get_or_insert_with(hash(key), |k| *k == key, || (key, String::new())) = value;
    }

    fn remove(&mut self, key: u64) {
        self.table.remove(hash(key), |k| *k == key);
    }

    /// Begins another content; the image of an earlier one is given up, if it is not whole yet.
    fn seal(&mut self) {
        self.last = self.last.next();
        let side = SideBytes::at_most(usize::MAX);
        let saving = Saving {
            checkpoint: self.last,
            side,
            stored: Rc::clone(&self.stored),
            whole_bytes_max: self.whole_bytes_max,
            changes_percent_max: self.changes_percent_max,
        };
        self.table.seal(append_entry, &saving);
        let mut writer = SnapshotWriter::new();
        state(&mut writer);
        let content = self.table.iter().map(|(key, value)| (*key, value.clone())).collect();
        self.sealed = Some((content, self.last, writer));
    }

    /// Saves the next slice. When that is the last one, the image and those that it builds on are read back.
    fn save(&mut self, mut budget: usize) {
        let Some((content, checkpoint, mut writer)) = self.sealed.take() else { return };
        let state = state(&mut writer);
        let is_all = self.table.save(&mut budget, &mut |saved| {
            writer.append(state, saved.scope(), saved.entries, &saved.bytes);
        });
        if !is_all.unwrap() {
            self.sealed = Some((content, checkpoint, writer));
            return;
        }
        let builds_on = self.table.builds_on();
        if builds_on.is_some() {
            writer.builds_on_earlier(state);
            self.added += 1;
        }
        let image = writer.finish();
        self.written.push(image.rest.len());
        let image = Snapshot::parse("image", image.rest).unwrap();
        let mut images: Vec<Snapshot> = self.needed(builds_on).map(|(_, image)| image.clone()).collect();
        images.push(image.clone());
        self.files_most = self.files_most.max(images.len());
        assert_eq!(read_back(images), content, "{checkpoint}, which builds on {builds_on:?}");
        self.whole = Some((checkpoint, builds_on, image));
    }

    fn needed(&self, builds_on: Option<CheckpointId>) -> impl Iterator<Item = &(CheckpointId, Snapshot)> {
        self.files.iter().filter(move |(of, _)| builds_on.is_some_and(|earliest| *of >= earliest))
    }

    /// The image that is whole becomes durable, and what it does not build on goes.
    fn store(&mut self) {
        let Some((checkpoint, builds_on, image)) = self.whole.take() else { return };
        self.stored.note(checkpoint);
        self.files = self.needed(builds_on).cloned().collect();
        self.files.push((checkpoint, image));
    }

    /// The image that is whole is lost, or, if it stands alone, kept where nothing can be added to it, and what was stored goes.
    fn lose(&mut self, may_be_inline: bool) {
        if let Some((checkpoint, None, _)) = self.whole.take()
            && may_be_inline
        {
            self.files.clear();
            self.stored.forget_before(checkpoint);
        }
    }
}

fn read_back(images: Vec<Snapshot>) -> Content {
    let layers = Layers::new(images);
    let (key, value) = (RecordLayout::<u64>::default(), RecordLayout::<String>::default());
    let mut content = Content::new();
    // Each half of the hashes for itself, as two subtasks would.
    for half in [0, 1] {
        let range = HashRange { first: half << 31, last: (half << 31) + (u32::MAX >> 1) };
        let wanted = |hash: u64| (range.first..=range.last).contains(&(hash as u32));
        let of_state = layers.of_state("operator", "state").collect();
        restore(
            of_state,
            (&key, &value),
            range,
            |key| hash(*key),
            |hash, _| wanted(hash),
            |entry| {
                let before = content.insert(entry.key, entry.value);
                assert!(before.is_none(), "{} came twice", entry.key);
            },
        )
        .unwrap();
    }
    content
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Set(u64),
    Remove(u64),
    Seal,
    Save(usize),
    Store,
    Lose { may_be_inline: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let keys = 0..300u64;
    let act = prop_oneof![
        30 => keys.clone().prop_map(Act::Set),
        15 => keys.prop_map(Act::Remove),
        6 => Just(Act::Seal),
        10 => (0..200usize).prop_map(Act::Save),
        5 => Just(Act::Save(usize::MAX)),
        9 => Just(Act::Store),
        1 => Just(Act::Lose { may_be_inline: false }),
        1 => Just(Act::Lose { may_be_inline: true }),
    ];
    proptest::collection::vec(act, 0..800)
}

/// Returns how many images had not all of the table.
fn run(acts: &[Act], part_slots: usize, entries: u64, changes_percent_max: usize) -> usize {
    let mut saved = Saved { changes_percent_max, ..Saved::of(HotTable::default().with_part_slots(part_slots)) };
    (0..entries).for_each(|key| saved.set(key, "at first".to_owned()));
    for (number, act) in acts.iter().enumerate() {
        match *act {
            Act::Set(key) => saved.set(key, format!("{number}")),
            Act::Remove(key) => saved.remove(key),
            Act::Seal => saved.seal(),
            Act::Save(budget) => saved.save(budget),
            Act::Store => saved.store(),
            Act::Lose { may_be_inline } => saved.lose(may_be_inline),
        }
    }
    saved.added
}

proptest! {
    #[test]
    fn what_was_sealed_is_read_back_whatever_became_of_earlier_contents(acts in acts(), part_slots in 4..200usize) {
        run(&acts, part_slots, 300, 50);
    }

    #[test]
    fn what_was_sealed_is_read_back_when_parts_split_all_the_time(acts in acts()) {
        run(&acts, 4, 0, 1_000);
    }
}

/// The tests above would prove nothing of what is added if that were rare.
#[test]
fn contents_are_added_to_earlier_ones() {
    let round = [Act::Seal, Act::Set(1), Act::Remove(2), Act::Save(usize::MAX), Act::Store, Act::Set(2), Act::Set(3)];
    assert_eq!(run(&round.repeat(40), 64, 300, 50), 39);
}

/// Nor are tables of one part written whole each time.
#[test]
fn contents_of_one_part_are_added_to_earlier_ones() {
    let round = [Act::Set(1), Act::Seal, Act::Save(usize::MAX), Act::Store];
    assert!(run(&round.repeat(60), 4096, 300, 50) >= 57);
}

/// Saves all, and stores it.
fn checkpoint(saved: &mut Saved) {
    saved.seal();
    saved.save(usize::MAX);
    saved.store();
}

#[test]
fn what_is_written_is_as_much_as_has_changed_and_a_turn() {
    let mut saved = Saved::of(HotTable::default().with_part_slots(32));
    // Parts are small here, and what a part takes in the index should not count.
    (0..6_000).for_each(|key| saved.set(key, "a value of some length ".repeat(4)));
    for epoch in 0..140u64 {
        checkpoint(&mut saved);
        // One in a hundred.
        (0..60).for_each(|n| saved.set((epoch * 7919 + n * 104_729) % 6_000, format!("the value of {epoch:8} ").repeat(4)));
    }
    let full = saved.written[0];
    let later = &saved.written[1..];
    let mean = later.iter().sum::<usize>() / later.len();
    assert!(mean * 20 <= full, "{mean} of {full} bytes in the mean");
    assert!(later.iter().all(|bytes| bytes * 8 <= full), "{:?} of {full} bytes at most", later.iter().max());
    assert!(saved.files_most <= 70, "{} files", saved.files_most);
    // What comes beside the first while that is needed.
    let first_needed: usize = saved.written[1..=AFTER_ALL as usize].iter().sum();
    assert!(first_needed * 10 <= full * 12, "{first_needed} of {full} bytes beside the first");
}

/// A state that changes as a whole is written as a whole, and lies in one file.
#[test]
fn what_has_changed_as_a_whole_is_saved_whole() {
    let mut saved = Saved::of(HotTable::default().with_part_slots(64));
    for epoch in 0..5 {
        (0..2_000).for_each(|key| saved.set(key, format!("{epoch}")));
        checkpoint(&mut saved);
    }
    assert_eq!((saved.added, saved.files_most), (0, 1));
}

/// Six hundred checkpoints in a row are given up, each after it was saved, and what was changed and removed meanwhile is in the next that is not.
#[test]
fn nothing_is_lost_when_many_contents_in_a_row_are() {
    for lost in [1, 49, 52, 100, 253, 254, 255, 600] {
        let mut saved = Saved::of(HotTable::default().with_part_slots(64));
        (0..1_000).for_each(|key| saved.set(key, "at first".to_owned()));
        checkpoint(&mut saved);
        for epoch in 0..lost {
            saved.set(epoch % 1_000, format!("in {epoch}"));
            saved.remove(999 - epoch % 300);
            saved.seal();
            if epoch % 3 > 0 {
                saved.save(usize::MAX);
            }
            saved.lose(false);
        }
        checkpoint(&mut saved);
        checkpoint(&mut saved);
    }
}

/// More entries are removed, before they are saved, than are remembered; that content is given up, and so is the next one.
#[test]
fn what_was_removed_and_not_remembered_does_not_come_back() {
    for percent in [50, 1_000] {
        let mut saved = Saved { changes_percent_max: percent, ..Saved::of(HotTable::default().with_part_slots(256)) };
        (0..2_000).for_each(|key| saved.set(key, "at first".to_owned()));
        checkpoint(&mut saved);
        saved.seal();
        (0..1_990).for_each(|key| saved.remove(key));
        for _ in 0..3 {
            saved.seal();
            saved.set(1_999, "touched".to_owned());
            saved.save(usize::MAX);
            saved.lose(false);
        }
        checkpoint(&mut saved);
    }
}

/// Entries that come and go for ever take no memory for ever.
#[test]
fn tombstones_have_a_bound() {
    let mut saved = Saved::of(HotTable::default());
    (0..100).for_each(|key| saved.set(key, String::new()));
    checkpoint(&mut saved);
    for key in 1_000..50_000 {
        saved.set(key, String::new());
        saved.remove(key);
    }
    assert!(saved.table.parts.iter().map(|part| part.removed.len()).sum::<usize>() <= 200);
    checkpoint(&mut saved);
}
