//! Reads the content of a checkpoint from outside of a job, in the manner of Flink's State Processor API.
//!
//! What it shows is what a job that resumed from the checkpoint at any parallelism would begin with: it restores by the same code, [`OperatorState`] and
//! [`Restored`], so a fault in that code shows here. It promises no more than that: operators make of the restored state what they will. Nothing is
//! written, and no operator runs.

use super::operator_state::OperatorState;
use super::restored::Restored;
use crate::attempt::splits::aligned;
use crate::checkpoint::{CheckpointId, GivenLayouts};
use crate::error::JobError;
use crate::record::{Key, Record, RecordLayout};
use crate::time::Watermark;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_io::{CoreMain, Cores, Disk, block_on, mailbox};
use thalweg_record::KeyGroups;
use thalweg_storage::checkpoint::{Checkpoint, Metadata, load_path};

/// A checkpoint that was read and checked as a whole, and is now asked for its parts.
///
/// ```no_run
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::io::uring::UringCores;
/// use thalweg::{CheckpointReader, KeyedEntry};
///
/// # fn main() -> Result<(), thalweg::JobError> {
/// // Of a job with `.reduce(|a, b| a + b).uid("sums")`; as the only subtask of one, which owns all keys.
/// let checkpoint = CheckpointReader::read(&UringCores::new(), "checkpoints")?;
/// checkpoint.keyed_state("sums", "value", 0, 1, |entry: KeyedEntry<String, Option<u64>>| {
///     println!("{}: {:?}", entry.key, entry.value);
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct CheckpointReader {
    metadata: Metadata,
    restored: Arc<Restored>,
    key_groups: KeyGroups,
}

/// Reads the checkpoint at `path` on one of `cores`, and gives back what `of` makes of it. Waits on the current thread.
pub(super) fn read_on_a_core<T: Send + 'static>(
    cores: &dyn Cores,
    path: PathBuf,
    of: impl FnOnce(Checkpoint) -> T + Send + 'static,
) -> Result<T, JobError> {
    let place = path.display().to_string();
    let (sender, mut receiver) = mailbox();
    let main: CoreMain = Box::new(move |_, io| {
        Box::pin(async move {
            let loaded = load_path(&*io.disk(), &path).await;
            drop(sender.send(loaded.map(of)));
        })
    });
    let group = cores.start(vec![main])?;
    let read = block_on(receiver.recv());
    group.join();
    let read =
        read.ok_or_else(|| JobError::Internal { place: "a core".to_owned(), message: "it has ended without a result".to_owned() })?;
    read.map_err(|source| JobError::Checkpoint { place, source })
}

/// An entry of keyed state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyedEntry<K, V> {
    /// Tells apart the entries of one key: first and end of a window's span. `None` where a key has one entry.
    pub namespace: Option<(i64, i64)>,
    /// The key.
    pub key: K,
    /// The value kept for the key.
    pub value: V,
    /// The watermark of the subtask that saved the entry.
    pub watermark: Watermark,
}

impl CheckpointReader {
    /// Reads the whole checkpoint at `path` on one of `cores`: if `path` is a checkpoint folder, its latest one; if it is a metadata file, that one. Waits on
    /// the current thread, which must not be one of a job's cores.
    ///
    /// # Errors
    /// If the core cannot be started, or anything about the checkpoint is missing or not as it was written.
    pub fn read(cores: &dyn Cores, path: impl Into<PathBuf>) -> Result<Self, JobError> {
        read_on_a_core(cores, path.into(), Self::of)
    }

    /// The same where there is a disk: on a core, or in a simulated world. It reads the checkpoint at `path`: if `path` is a checkpoint folder, its latest one; if it is a metadata file, that one.
    ///
    /// # Errors
    /// If anything about the checkpoint is missing or not as it was written, or the disk fails.
    pub async fn open(disk: &dyn Disk, path: impl AsRef<Path>) -> Result<Self, JobError> {
        let path = path.as_ref();
        let failed = |source| JobError::Checkpoint { place: path.display().to_string(), source };
        load_path(disk, path).await.map(Self::of).map_err(failed)
    }

    fn of(checkpoint: Checkpoint) -> Self {
        let metadata = checkpoint.metadata.clone();
        let key_groups = KeyGroups::new(metadata.key_groups);
        Self { metadata, restored: Arc::new(Restored::new(checkpoint, false)), key_groups }
    }

    /// The checkpoint's number.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointId {
        self.metadata.id
    }

    /// What the checkpoint says of itself: its operators, the positions of its sources, its transactions (docs/src/formats.md#metadata).
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The positions from which the source with this uid reads its splits on, by the numbers of the splits. Splits that were read to their end are not
    /// among them.
    ///
    /// # Errors
    /// If positions have another layout than that of `S`, or cannot be read as one.
    pub fn positions<S: Record>(&self, source_uid: &str) -> Result<BTreeMap<u32, S>, JobError> {
        let layout = RecordLayout::<S>::default();
        let checkpoint = self.metadata.id;
        let mut positions = BTreeMap::new();
        for source in self.metadata.sources.iter().filter(|source| source.uid == source_uid) {
            if source.layout != *layout.layout() {
                let reason =
                    format!("checkpoint {checkpoint} holds positions of {source_uid} as {}, not as {}", source.layout, layout.layout());
                return Err(JobError::invalid(reason));
            }
            for split in &source.splits {
                let unreadable =
                    |error| JobError::invalid(format!("checkpoint {checkpoint}, split {} of {source_uid}: {error}", split.number));
                positions.insert(split.number, layout.read_owned(&aligned(&split.position)).map_err(unreadable)?);
            }
        }
        Ok(positions)
    }

    /// The watermark behind which subtask `subtask` of `parallelism` begins, of the task whose first operator has this uid: what it had been told, or, at
    /// another parallelism, the highest of those whose keys it takes over (docs/src/semantics.md#c-5). [`Watermark::MIN`] if none of these was saved.
    #[must_use]
    pub fn watermark(&self, task_uid: &str, subtask: usize, parallelism: usize) -> Watermark {
        self.restored.watermark(task_uid, subtask, parallelism, self.key_groups)
    }

    /// Hands every entry of the state `name` of the operator `uid` that subtask `subtask` of `parallelism` would restore to `take`, in no order that is
    /// promised. Costs one walk over the state of that name, whatever the parallelism.
    ///
    /// The names and types are the operator's own: a `reduce` keeps an `Option` of its result as `value`, an `aggregate` its accumulator, a window
    /// accumulators as `window-contents`, process functions the values that they register. For their lists, maps and timers there are
    /// [`list_state`](Self::list_state), [`map_state`](Self::map_state) and [`timers`](Self::timers).
    ///
    /// # Errors
    /// If the state is not keyed, has another layout than that of `K` and `V`, or an entry cannot be read. Entries before it may have been handed over.
    pub fn keyed_state<K: Key, V: Record>(
        &self,
        uid: &str,
        name: &str,
        subtask: usize,
        parallelism: usize,
        mut take: impl FnMut(KeyedEntry<K, V>),
    ) -> Result<(), JobError> {
        let state = self.state_of(uid, subtask, parallelism);
        state.restore::<K, V>(name, |_, saved| {
            take(KeyedEntry { namespace: saved.namespace, key: saved.key, value: saved.value, watermark: saved.watermark });
        });
        state.info.failure.take().map_or(Ok(()), Err)
    }

    /// The same for the lists that a process function keeps: each key with its whole list. Takes memory for all lists of the subtask.
    ///
    /// # Errors
    /// As [`keyed_state`](Self::keyed_state).
    pub fn list_state<K: Key, V: Record>(
        &self,
        uid: &str,
        name: &str,
        subtask: usize,
        parallelism: usize,
        mut take: impl FnMut(KeyedEntry<K, Vec<V>>),
    ) -> Result<(), JobError> {
        let state = self.state_of(uid, subtask, parallelism);
        let mut pieces = BTreeMap::new();
        state.restore_list::<K, V>(name, |_, saved| {
            pieces.insert(saved.key, (saved.value, saved.watermark));
        });
        state.info.failure.take().map_or(Ok(()), Err)?;
        let mut list: Option<KeyedEntry<K, Vec<V>>> = None;
        for ((key, _), (mut values, watermark)) in pieces {
            match list.as_mut().filter(|list| list.key == key) {
                Some(list) => list.value.append(&mut values),
                None => {
                    let next = KeyedEntry { namespace: None, key, value: values, watermark };
                    list.replace(next).into_iter().for_each(&mut take);
                }
            }
        }
        list.into_iter().for_each(take);
        Ok(())
    }

    /// The same for the maps that a process function keeps: each of their entries, with the map key beside the key.
    ///
    /// # Errors
    /// As [`keyed_state`](Self::keyed_state).
    pub fn map_state<K: Key, MK: Key, MV: Record>(
        &self,
        uid: &str,
        name: &str,
        subtask: usize,
        parallelism: usize,
        mut take: impl FnMut(KeyedEntry<(K, MK), MV>),
    ) -> Result<(), JobError> {
        let state = self.state_of(uid, subtask, parallelism);
        state.restore_map::<K, MK, MV>(name, |_, saved| {
            take(KeyedEntry { namespace: None, key: saved.key, value: saved.value, watermark: saved.watermark });
        });
        state.info.failure.take().map_or(Ok(()), Err)
    }

    /// The same for timers, with their times, in milliseconds, beside the keys. Those of event time are called `thalweg/event-time-timers`, those of processing
    /// time `thalweg/processing-time-timers`.
    ///
    /// # Errors
    /// As [`keyed_state`](Self::keyed_state).
    pub fn timers<K: Key>(
        &self,
        uid: &str,
        name: &str,
        subtask: usize,
        parallelism: usize,
        mut take: impl FnMut(KeyedEntry<(K, i64), ()>),
    ) -> Result<(), JobError> {
        let state = self.state_of(uid, subtask, parallelism);
        state.restore_timers::<K>(name, |_, saved| {
            take(KeyedEntry { namespace: None, key: saved.key, value: saved.value, watermark: saved.watermark });
        });
        state.info.failure.take().map_or(Ok(()), Err)
    }

    /// The state `name` that the operator `uid` has saved for each split, or for each of its subtasks, by their numbers: bytes of a form of its own.
    #[must_use]
    pub fn split_state(&self, uid: &str, name: &str) -> BTreeMap<u32, Vec<u8>> {
        self.state_of(uid, 0, 1).restore_splits(name)
    }

    /// The state of an operator as subtask `subtask` of `parallelism` would restore it.
    fn state_of(&self, uid: &str, subtask: usize, parallelism: usize) -> OperatorState {
        let name = self.metadata.operators.iter().find(|operator| operator.uid == uid).map_or(uid, |operator| &operator.name);
        let state = OperatorState::without_checkpoint(name, uid, GivenLayouts::default(), self.key_groups);
        let owned = self.key_groups.owned_by(subtask, parallelism);
        OperatorState { restored: RefCell::new(Some(Arc::clone(&self.restored))), owned, ..state }
    }
}
