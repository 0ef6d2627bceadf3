//! The state of one operator in one subtask: what it is called, how it is laid out, and what a checkpoint holds of it.
//!
//! Restoring takes the entries of the subtask's own key groups (docs/src/semantics.md#c-6) out of every snapshot there is. Saving is the affair of
//! `sealed_state.rs`.

use super::difference::{PartFate, state_refusal};
use super::given_layouts::GivenLayouts;
use super::restored::Restored;
use super::snapshots::Snapshots;
use crate::graph_ids::TaskName;
use crate::metrics::{Samples, Subject};
use crate::record::{Key, Parts, Record, RecordLayout};
use crate::subtask::operator_info::OperatorInfo;
use crate::time::Watermark;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use thalweg_record::{HashRange, KeyGroups};
use thalweg_storage::checkpoint::{Namespace, RestoredEntry, Scope, Section, StateLayout, restore};
use thalweg_storage::{HotTable, KeyedStates, StateSize, TableOwner, TimerQueue, list_piece_hash, map_entry_hash};

/// A state that an operator keeps: its name and its layout.
pub(crate) type WantedState = (String, StateLayout);

/// Finds out which states an operator keeps, without running it.
pub(crate) type WantedStates = Arc<dyn Fn(OperatorState) -> Vec<WantedState> + Send + Sync>;

/// An entry of a restored state.
pub(crate) struct Saved<K, V> {
    pub(crate) namespace: Option<Namespace>,
    pub(crate) key: K,
    pub(crate) value: V,
    /// The watermark of the subtask that saved it.
    pub(crate) watermark: Watermark,
}

/// Saves and restores the states of one operator in one subtask.
pub(crate) struct OperatorState {
    pub(crate) uid: String,
    pub(crate) snapshots: Rc<Snapshots>,
    /// Kept until all states have been asked for: it is as large as the state of the whole job.
    pub(crate) restored: RefCell<Option<Arc<Restored>>>,
    pub(crate) key_groups: KeyGroups,
    /// The key groups of this subtask.
    pub(crate) owned: Range<u32>,
    pub(crate) info: Rc<OperatorInfo>,
    /// The layouts given where the job was described.
    pub(crate) layouts: GivenLayouts,
    /// Slots of a part of a table at most.
    pub(crate) part_slots: usize,
    /// The states that were asked for.
    pub(crate) claimed: RefCell<Vec<WantedState>>,
}

impl OperatorState {
    /// The operator in words, where there is no place for more: its name, and its uid if that differs.
    pub(crate) fn operator(&self) -> String {
        let name = &self.info.name;
        if *name == self.uid { name.clone() } else { format!("{name} (uid {})", self.uid) }
    }

    /// The layouts of keys and values of the state `name`.
    fn layouts_of<K: Key, V: Record>(&self, name: &str) -> (RecordLayout<K>, RecordLayout<V>) {
        let value = self.layouts.value(name).unwrap_or_else(|| {
            self.info.refuse(format!("the layout that is given for the state {name} is one of another type than the state's"));
            RecordLayout::default()
        });
        (self.layouts.key(), value)
    }

    /// The same without their types.
    pub(super) fn layout_of<K: Key, V: Record>(&self, name: &str) -> StateLayout {
        let (key, value) = self.layouts_of::<K, V>(name);
        StateLayout { key: key.layout().clone(), value: value.layout().clone() }
    }

    /// The same of a state whose keys have several parts each.
    pub(super) fn layout_of_parts<K: Key, P: Key, V: Record>(&self, name: &str, parts: Parts) -> StateLayout {
        let (key, value) = self.layouts_of::<K, V>(name);
        StateLayout { key: RecordLayout::<(K, P)>::part(parts, &key).layout().clone(), value: value.layout().clone() }
    }

    /// The hashes of the keys of this subtask.
    pub(crate) fn owned_hashes(&self) -> HashRange {
        self.key_groups.hashes_of(self.owned.clone())
    }

    /// Whether a key with this hash belongs to this subtask.
    fn owns(&self, hash: u64) -> bool {
        self.owned.contains(&self.key_groups.of_hash(hash))
    }

    /// The owner of the table of the state `name`.
    pub(crate) fn owner_of(&self, name: &str) -> TableOwner {
        TableOwner::state(name, &self.operator())
    }

    /// Hands the entries of the state `name` that this subtask owns to `take`, with the hashes of their keys. An entry that cannot be read fails the
    /// subtask, and one that was written with another layout is refused with both layouts (docs/src/semantics.md#c-7).
    pub(crate) fn restore<K: Key, V: Record>(&self, name: &str, take: impl FnMut(u64, Saved<K, V>)) {
        let wanted = |hash, _: &K| self.owns(hash);
        self.restore_as(name, self.layouts_of::<K, V>(name), self.owned_hashes(), |key| K::hash(key.view()), wanted, take);
    }

    /// The same of lists: hands over their pieces, with the numbers of these beside the keys.
    pub(crate) fn restore_list<K: Key, V: Record>(&self, name: &str, take: impl FnMut(u64, Saved<(K, u32), Vec<V>>)) {
        self.restore_parts(name, Parts::Pieces, |hash, (key, piece): &(K, u32)| list_piece_hash::<K>(hash, key.view(), *piece), take);
    }

    /// The same of maps: hands over their entries, with the map keys beside the keys.
    pub(crate) fn restore_map<K: Key, MK: Key, MV: Record>(&self, name: &str, take: impl FnMut(u64, Saved<(K, MK), MV>)) {
        self.restore_parts(name, Parts::MapEntries, |_, (key, map_key): &(K, MK)| map_entry_hash::<K, MK>(key.view(), map_key), take);
    }

    /// The same of timers, with their times beside the keys.
    pub(crate) fn restore_timers<K: Key>(&self, name: &str, take: impl FnMut(u64, Saved<(K, i64), ()>)) {
        self.restore_parts(name, Parts::Timers, |_, (key, time): &(K, i64)| map_entry_hash::<K, i64>(key.view(), time), take);
    }

    /// The same of a state whose keys have several parts each, which lie under hashes of their own: `hash_of` gives that of a part, whose key has the given hash.
    fn restore_parts<K: Key, P: Key, V: Record>(
        &self,
        name: &str,
        parts: Parts,
        hash_of: impl Fn(u64, &(K, P)) -> u64,
        mut take: impl FnMut(u64, Saved<(K, P), V>),
    ) {
        let (key, value) = self.layouts_of::<K, V>(name);
        let of_key = |part: &(K, P)| K::hash(part.0.view());
        let wanted = |_, part: &(K, P)| self.owns(of_key(part));
        let take = |_, saved: Saved<(K, P), V>| take(of_key(&saved.key), saved);
        let layouts = (RecordLayout::part(parts, &key), value);
        self.restore_as(name, layouts, HashRange::ALL, |part| hash_of(of_key(part), part), wanted, take);
    }

    /// Hands the entries of a state that are `wanted`, whose hashes lie in `range`, to `take`.
    fn restore_as<K: Key, V: Record>(
        &self,
        name: &str,
        (key, value): (RecordLayout<K>, RecordLayout<V>),
        range: HashRange,
        hash_of: impl Fn(&K) -> u64,
        wanted: impl Fn(u64, &K) -> bool,
        mut take: impl FnMut(u64, Saved<K, V>),
    ) {
        let now = StateLayout { key: key.layout().clone(), value: value.layout().clone() };
        self.claim(name, &now);
        let Some(restored) = self.restored.borrow().clone() else { return };
        for (by, layers) in restored.layers(&self.uid, name) {
            if !by.has_keys_of(&self.owned, self.key_groups) {
                continue;
            }
            let layers: Vec<Vec<Section<'_>>> = layers.collect();
            for section in layers.iter().flatten() {
                let fate = PartFate::of(Some(section.layout), Some(&now));
                if let Some(refusal) = state_refusal(restored.checkpoint, name, &fate, restored.allow_non_restored_state) {
                    self.info.refuse(refusal);
                    return;
                }
            }
            let hand_over = |entry: RestoredEntry<K, V>| {
                let RestoredEntry { hash, namespace, key, value } = entry;
                take(hash, Saved { namespace, key, value, watermark: by.watermark });
            };
            if let Err(reason) = restore(layers, (&key, &value), range, &hash_of, &wanted, hand_over) {
                self.info.refuse(format!("checkpoint {}, state {name}: {reason}", restored.checkpoint));
                return;
            }
        }
    }

    fn claim(&self, name: &str, layout: &StateLayout) {
        self.claimed.borrow_mut().push((name.to_owned(), layout.clone()));
    }

    /// The states that were asked for.
    pub(crate) fn into_claimed(self) -> Vec<WantedState> {
        self.claimed.into_inner()
    }

    /// The state of an operator that is not run, to find out which states it asks for.
    pub(crate) fn without_checkpoint(name: &str, uid: &str, layouts: GivenLayouts, key_groups: KeyGroups) -> Self {
        let task = TaskName { operators: name.to_owned(), subtask: 0, parallelism: 1 };
        Self {
            uid: uid.to_owned(),
            snapshots: Rc::new(Snapshots::new(uid.to_owned(), usize::MAX, usize::MAX, 0)),
            restored: RefCell::default(),
            key_groups,
            owned: key_groups.owned_by(0, 1),
            info: Rc::new(OperatorInfo { name: name.to_owned(), task: Rc::new(task), failure: Rc::default() }),
            layouts,
            part_slots: usize::MAX,
            claimed: RefCell::default(),
        }
    }

    /// Saves the state of a split.
    pub(crate) fn save_split(&self, name: &str, number: u32, bytes: &[u8]) {
        self.snapshots.write(|writer| {
            let state = writer.state(&self.uid, name, &StateLayout::default());
            writer.append(state, Scope::Split(number), 1, bytes);
        });
    }

    /// The saved state of each split, whichever subtask read it.
    pub(crate) fn restore_splits(&self, name: &str) -> BTreeMap<u32, Vec<u8>> {
        self.claim(name, &StateLayout::default());
        let restored = self.restored.borrow();
        let sections = restored.iter().flat_map(|restored| restored.sections(&self.uid, name));
        let of_split = |section: Section<'_>| match section.scope {
            Scope::Split(number) => Some((number, section.bytes.to_vec())),
            Scope::Hashes(_) | Scope::AllHashes(_) | Scope::AllHashesWithin(_) | Scope::Namespaces | Scope::Subtask => None,
        };
        sections.filter_map(of_split).collect()
    }

    /// An empty table for the keys of this subtask and the state `name`.
    pub(crate) fn table<K, V>(&self, name: &str) -> HotTable<K, V> {
        HotTable::spanning(self.owned_hashes(), self.owner_of(name)).with_part_slots(self.part_slots)
    }

    /// No timers, for the state `name`.
    pub(crate) fn timers<K: Key>(&self, name: &str) -> TimerQueue<K> {
        TimerQueue::new(self.owner_of(name), self.part_slots)
    }

    /// Empty tables for the keys of this subtask.
    pub(crate) fn tables<K: 'static>(&self) -> KeyedStates<K> {
        KeyedStates::spanning(self.owned_hashes(), &self.operator()).with_part_slots(self.part_slots)
    }

    /// Restores a table.
    pub(crate) fn restore_table<K: Key, V: Record>(&self, name: &str, table: &mut HotTable<K, V>) {
        self.restore::<K, V>(name, |hash, saved| {
            // Key groups are disjoint: no key comes twice.
            table.insert_new(hash, saved.key, saved.value);
        });
    }

    /// Adds the metrics of its tables, which are as large as this.
    pub(crate) fn sample(&self, size: StateSize, samples: &mut Samples<'_>) {
        let of = Subject::operator(&self.info.name, &self.uid);
        samples.gauge_of(of, "numStateEntries", i64::try_from(size.entries).unwrap_or(i64::MAX));
        samples.gauge_of(of, "stateTableBytes", i64::try_from(size.table_bytes).unwrap_or(i64::MAX));
    }

    /// All states have been asked for: state of this operator that was not is refused, unless it may be left behind (docs/src/semantics.md#c-7).
    pub(crate) fn all_claimed(&self) {
        if let Some(name) = self.layouts.names().find(|name| !self.claimed.borrow().iter().any(|(claimed, _)| claimed == name)) {
            self.info.refuse(format!("a layout is given for a state {name}, and this operator has none of that name"));
        }
        let Some(restored) = self.restored.take().filter(|restored| !restored.allow_non_restored_state) else { return };
        let claimed = self.claimed.borrow();
        let is_claimed = |name: &String| claimed.iter().any(|(claimed, _)| claimed == name);
        let left = restored.states_of(&self.uid).into_iter().find(|name| !is_claimed(name));
        let missing = PartFate::Missing { has_operator: true };
        if let Some(refusal) = left.and_then(|name| state_refusal(restored.checkpoint, &name, &missing, false)) {
            self.info.refuse(refusal);
        }
    }
}
