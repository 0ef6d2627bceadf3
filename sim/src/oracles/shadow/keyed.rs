//! The keyed state of one operator in a checkpoint, opened at several parallelisms.
//!
//! At each of them every entry comes once, at the subtask that owns its key, and each subtask begins with the highest watermark of those whose keys it
//! takes over (docs/src/semantics.md#k-1, #c-5, #c-6). Owners are computed here by the words of the documentation.

use std::fmt::Debug;
use thalweg::{CheckpointReader, JobError, Key, KeyedEntry, Record};

/// Parallelisms at which state is opened besides the one it was taken with.
const OPENED_AT: [usize; 3] = [1, 2, 3];

/// Takes the entries of a state.
type Take<'t, E, V> = &'t mut dyn FnMut(KeyedEntry<E, V>);

/// Reads what a subtask has of a state at a parallelism.
type Read<'r, E, V> = &'r dyn Fn(usize, usize, Take<'_, E, V>) -> Result<(), JobError>;

/// An operator that begins a task, and the watermarks that the subtasks of this task had been told.
pub(super) struct Keyed<'a> {
    reader: &'a CheckpointReader,
    uid: &'static str,
    parallelism: usize,
    /// By subtask: the watermark at the cut; `i64::MAX` for one that had ended.
    told: Vec<i64>,
    has_ended: Vec<bool>,
}

impl<'a> Keyed<'a> {
    /// The operator `uid`, at the head of its task.
    pub(super) fn of(reader: &'a CheckpointReader, uid: &'static str) -> Result<Self, String> {
        let metadata = reader.metadata();
        let operator = metadata.operators.iter().find(|operator| operator.uid == uid).ok_or_else(|| format!("it has no operator {uid}"))?;
        let parallelism = operator.parallelism as usize;
        let has_ended = |subtask: usize| metadata.finished_subtasks.iter().any(|of| of.task == uid && of.subtask as usize == subtask);
        let has_ended: Vec<bool> = (0..parallelism).map(has_ended).collect();
        let told = |(subtask, ended): (usize, &bool)| if *ended { i64::MAX } else { reader.watermark(uid, subtask, parallelism).0 };
        let told = has_ended.iter().enumerate().map(told).collect();
        let keyed = Self { reader, uid, parallelism, told, has_ended };
        OPENED_AT.into_iter().try_for_each(|parallelism| keyed.begins_behind(parallelism))?;
        Ok(keyed)
    }

    /// Checks that no subtask has saved a higher watermark than `most`.
    pub(super) fn watermarks_up_to(&self, most: i64) -> Result<(), String> {
        let too_high = self.told.iter().zip(&self.has_ended).position(|(told, ended)| !ended && *told > most);
        too_high.map_or(Ok(()), |subtask| {
            let (uid, told) = (self.uid, self.told[subtask]);
            Err(format!("subtask {subtask} of {uid} has saved the watermark {told}, and the records before the cut allow {most}"))
        })
    }

    /// The watermark that the owner of `key` had been told.
    pub(super) fn watermark_of(&self, key: &str) -> i64 {
        self.told[self.owner(key, self.parallelism)]
    }

    /// Whether the owner of `key` had ended: then it has no state, and needs none.
    pub(super) fn has_ended(&self, key: &str) -> bool {
        self.has_ended[self.owner(key, self.parallelism)]
    }

    /// The entries of the state `name`, in order.
    pub(super) fn entries<V: Record + Ord + Debug>(&self, name: &str) -> Result<Vec<KeyedEntry<String, V>>, String> {
        let read = |subtask: usize, parallelism: usize, take: Take<'_, String, V>| {
            self.reader.keyed_state(self.uid, name, subtask, parallelism, take)
        };
        self.read(name, String::as_str, &read)
    }

    /// The lists of the state `name`, in the order of their keys.
    pub(super) fn lists<V: Record + Ord + Debug>(&self, name: &str) -> Result<Vec<KeyedEntry<String, Vec<V>>>, String> {
        let read = |subtask: usize, parallelism: usize, take: Take<'_, String, Vec<V>>| {
            self.reader.list_state(self.uid, name, subtask, parallelism, take)
        };
        self.read(name, String::as_str, &read)
    }

    /// The entries of the maps of the state `name`, in the order of their keys and map keys.
    pub(super) fn maps<MK: Key + Debug, MV: Record + Ord + Debug>(&self, name: &str) -> Result<Vec<KeyedEntry<(String, MK), MV>>, String> {
        let read = |subtask: usize, parallelism: usize, take: Take<'_, (String, MK), MV>| {
            self.reader.map_state(self.uid, name, subtask, parallelism, take)
        };
        self.read(name, |(key, _)| key.as_str(), &read)
    }

    /// The timers of the state `name`, in the order of their keys and times.
    pub(super) fn timers(&self, name: &str) -> Result<Vec<KeyedEntry<(String, i64), ()>>, String> {
        let read = |subtask: usize, parallelism: usize, take: Take<'_, (String, i64), ()>| {
            self.reader.timers(self.uid, name, subtask, parallelism, take)
        };
        self.read(name, |(key, _)| key.as_str(), &read)
    }

    /// The entries of a state, in order; `key_of` is the part of an entry's key that decides who owns it.
    fn read<E: Ord + Debug, V: Ord + Debug>(
        &self,
        name: &str,
        key_of: impl Fn(&E) -> &str,
        read: Read<'_, E, V>,
    ) -> Result<Vec<KeyedEntry<E, V>>, String> {
        let entries = self.opened(name, self.parallelism, &key_of, read)?;
        let by_owner = |entry: &&KeyedEntry<E, V>| entry.watermark.0 != self.told[self.owner(key_of(&entry.key), self.parallelism)];
        if let Some(entry) = entries.iter().find(by_owner) {
            return Err(format!("the state {name} of {} has an entry that was not saved by the owner of its key: {entry:?}", self.uid));
        }
        for parallelism in OPENED_AT.into_iter().filter(|parallelism| *parallelism != self.parallelism) {
            let others = self.opened(name, parallelism, &key_of, read)?;
            if let Some(difference) = crate::reference::difference(&references(&entries), &references(&others)) {
                let (uid, then) = (self.uid, self.parallelism);
                return Err(format!("the state {name} of {uid}, taken by {then} subtasks and opened by {parallelism}: {difference}"));
            }
        }
        Ok(entries)
    }

    /// The entries of all subtasks, in order, if it is opened at `parallelism`.
    fn opened<E: Ord + Debug, V: Ord + Debug>(
        &self,
        name: &str,
        parallelism: usize,
        key_of: impl Fn(&E) -> &str,
        read: Read<'_, E, V>,
    ) -> Result<Vec<KeyedEntry<E, V>>, String> {
        let (mut entries, mut stray) = (vec![], None);
        for subtask in 0..parallelism {
            let mut take = |entry: KeyedEntry<E, V>| {
                if self.owner(key_of(&entry.key), parallelism) != subtask {
                    stray = Some((subtask, key_of(&entry.key).to_owned()));
                }
                entries.push(entry);
            };
            read(subtask, parallelism, &mut take).map_err(|error| error.to_string())?;
        }
        if let Some((subtask, key)) = stray {
            let uid = self.uid;
            return Err(format!(
                "the state {name} of {uid}: subtask {subtask} of {parallelism} restores the key {key}, which it does not own"
            ));
        }
        entries.sort_unstable();
        let is_twice = |pair: &[KeyedEntry<E, V>]| (pair[0].namespace, &pair[0].key) == (pair[1].namespace, &pair[1].key);
        match entries.windows(2).find(|pair| is_twice(pair)) {
            Some(pair) => Err(format!("the state {name} of {} has an entry twice if opened by {parallelism}: {pair:?}", self.uid)),
            None => Ok(entries),
        }
    }

    /// Checks the watermarks behind which subtasks begin at another parallelism.
    fn begins_behind(&self, parallelism: usize) -> Result<(), String> {
        for subtask in (0..parallelism).filter(|_| parallelism != self.parallelism) {
            let takes_over = |before: &usize| {
                let groups = 0..self.reader.metadata().key_groups as usize;
                groups.into_iter().any(|group| self.at(group, self.parallelism) == *before && self.at(group, parallelism) == subtask)
            };
            // A subtask that had ended has saved nothing.
            let saved = (0..self.parallelism).filter(|before| !self.has_ended[*before]).filter(takes_over).map(|before| self.told[before]);
            let expected = saved.max().unwrap_or(i64::MIN);
            let found = self.reader.watermark(self.uid, subtask, parallelism).0;
            if found != expected {
                let uid = self.uid;
                return Err(format!(
                    "subtask {subtask} of {parallelism} of {uid} begins behind {found}, and those before it were told {expected}"
                ));
            }
        }
        Ok(())
    }

    /// The subtask, of `parallelism`, that owns `key`.
    fn owner(&self, key: &str, parallelism: usize) -> usize {
        let groups = u64::from(self.reader.metadata().key_groups);
        let low = <String as Key>::hash(key) & u64::from(u32::MAX);
        self.at(((low * groups) >> 32) as usize, parallelism)
    }

    /// The subtask, of `parallelism`, that owns a key group.
    fn at(&self, group: usize, parallelism: usize) -> usize {
        group * parallelism / self.reader.metadata().key_groups as usize
    }
}

fn references<T>(values: &[T]) -> Vec<&T> {
    values.iter().collect()
}
