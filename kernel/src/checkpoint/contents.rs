//! The contents of a checkpoint as plain data, and their comparison with a job.

use super::difference::{CheckpointDifference, ComparedPart, PartFate, PartKind};
use super::operator_state::{OperatorState, WantedState};
use super::reader::read_on_a_core;
use super::restored::Restored;
use super::snapshots::WATERMARK_STATE;
use crate::checkpoint::CheckpointId;
use crate::error::JobError;
use crate::graph::{Job, OperatorMeta};
use crate::record::Layout;
use crate::subtask::panics::panic_text;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use thalweg_io::Cores;
use thalweg_storage::checkpoint::{Metadata, Snapshot, StateLayout};

/// The contents of a checkpoint, by uid: without the owners of the bytes, and without their meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointContents {
    checkpoint: CheckpointId,
    key_groups: u32,
    /// The names of all operators.
    names: BTreeMap<String, String>,
    /// The layout of each source's positions, and whether there are splits to be read on.
    positions: BTreeMap<String, (StateLayout, bool)>,
    transactions: BTreeMap<String, Vec<StateLayout>>,
    /// The states of each operator, by name; without the engine's own states of a whole task.
    states: BTreeMap<String, BTreeMap<String, StateLayout>>,
}

/// The layout of something without keys.
fn unkeyed(layout: &Layout) -> StateLayout {
    StateLayout { key: Layout::none(), value: layout.clone() }
}

impl CheckpointContents {
    /// Reads the whole checkpoint at `path` on one of `cores`: if `path` is a checkpoint folder, its latest one; if it is a metadata file, that one.
    /// Nothing is written. Waits on the current thread, which must not be one of a job's cores.
    ///
    /// # Errors
    /// If the core cannot be started, or anything about the checkpoint is missing or not as it was written.
    pub fn read(cores: &dyn Cores, path: impl Into<PathBuf>) -> Result<Self, JobError> {
        read_on_a_core(cores, path.into(), |loaded| Self::of(&loaded.metadata, loaded.snapshots.iter().map(|(_, state)| state.newest())))
    }

    /// The contents of a checkpoint that was read for an attempt.
    pub(crate) fn of_restored(metadata: &Metadata, restored: &Restored) -> Self {
        Self::of(metadata, restored.newest())
    }

    fn of<'a>(metadata: &Metadata, snapshots: impl Iterator<Item = &'a Snapshot>) -> Self {
        let mut states: BTreeMap<String, BTreeMap<String, StateLayout>> = BTreeMap::new();
        for state in snapshots.flat_map(Snapshot::states).filter(|state| state.state != WATERMARK_STATE) {
            states.entry(state.operator).or_default().entry(state.state).or_insert(state.layout);
        }
        let mut transactions: BTreeMap<String, Vec<StateLayout>> = BTreeMap::new();
        for transaction in &metadata.transactions {
            let (layouts, layout) = (transactions.entry(transaction.sink_uid.clone()).or_default(), unkeyed(&transaction.layout));
            if !layouts.contains(&layout) {
                layouts.push(layout);
            }
        }
        let positions = metadata.sources.iter().map(|source| (source.uid.clone(), (unkeyed(&source.layout), !source.splits.is_empty())));
        Self {
            checkpoint: metadata.id,
            key_groups: metadata.key_groups,
            names: metadata.operators.iter().map(|operator| (operator.uid.clone(), operator.name.clone())).collect(),
            positions: positions.collect(),
            transactions,
            states,
        }
    }

    /// The contents of a checkpoint with one state.
    #[cfg(test)]
    pub(crate) fn with_state(uid: &str, name: &str, layout: StateLayout) -> Self {
        let states = BTreeMap::from([(uid.to_owned(), BTreeMap::from([(name.to_owned(), layout)]))]);
        let (names, positions, transactions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { checkpoint: CheckpointId(7), key_groups: 128, names, positions, transactions, states }
    }

    /// The checkpoint's number.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointId {
        self.checkpoint
    }
}

impl Job {
    /// Compares a checkpoint with the job. Nothing is started and no file is read, but `open` of functions with state is called, on clones, to find out
    /// which states they have.
    ///
    /// ```no_run
    /// # extern crate thalweg_kernel as thalweg;
    /// use thalweg::io::uring::UringCores;
    /// use thalweg::{CheckpointContents, StreamExecutionEnvironment};
    ///
    /// # fn main() -> Result<(), thalweg::JobError> {
    /// let env = StreamExecutionEnvironment::new();
    /// env.from_collection(vec![1u64]).key_by::<u64>(|n| *n).reduce(|a, b| a + b).uid("sums").for_each(|_| {});
    /// let difference = env.build("sums")?.compare_with(&CheckpointContents::read(&UringCores::new(), "checkpoints")?);
    /// match difference.refusal(false) {
    ///     Some(reason) => println!("{reason}\n{difference}"),
    ///     None => println!("the job goes on from checkpoint {}", difference.checkpoint),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn compare_with(&self, held: &CheckpointContents) -> CheckpointDifference {
        let mut difference = self.compare_whole(held);
        for operator in self.operators.iter().filter(|operator| operator.has_state && operator.task.is_some()) {
            let of_operator = held.states.get(&operator.uid);
            let part =
                |kind, fate| ComparedPart { uid: operator.uid.clone(), operator: operator.name.clone(), kind: PartKind::State(kind), fate };
            match self.wanted_states(operator) {
                Ok(wanted) => {
                    let now = |name: &str| wanted.iter().find(|(wanted, _)| wanted == name).map(|(_, layout)| layout);
                    let names: BTreeSet<&String> =
                        of_operator.into_iter().flat_map(BTreeMap::keys).chain(wanted.iter().map(|(name, _)| name)).collect();
                    let of_state = |name: &String| PartFate::of(of_operator.and_then(|held| held.get(name)), now(name));
                    difference.parts.extend(names.into_iter().map(|name| part(name.clone(), of_state(name))));
                }
                Err(reason) => {
                    let names = of_operator.into_iter().flat_map(BTreeMap::keys);
                    difference.parts.extend(names.map(|name| part(name.clone(), PartFate::Unknown(reason.clone()))));
                }
            }
        }
        difference
    }

    /// Refuses a checkpoint that this job as a whole cannot resume from; each operator checks its own states (docs/src/semantics.md#c-7).
    pub(crate) fn check_restorable(&self, metadata: &Metadata, restored: &Restored) -> Result<(), JobError> {
        let difference = self.compare_whole(&CheckpointContents::of_restored(metadata, restored));
        difference.refusal(restored.allow_non_restored_state).map_or(Ok(()), |refusal| Err(JobError::Invalid(refusal)))
    }

    /// The same, without the states of operators that the job has.
    fn compare_whole(&self, held: &CheckpointContents) -> CheckpointDifference {
        let mut parts = Vec::new();
        let part = |uid: &str, kind, fate| {
            let own = self.operators.iter().find(|operator| operator.uid == uid).map(|operator| &operator.name);
            let operator = own.or_else(|| held.names.get(uid)).map_or_else(|| uid.to_owned(), Clone::clone);
            ComparedPart { uid: uid.to_owned(), operator, kind, fate }
        };
        let gone = PartFate::Missing { has_operator: false };
        let mut sources = BTreeSet::new();
        for (source, _) in &self.sources {
            let uid = &self.operators[source.operator.0].uid;
            sources.insert(uid);
            let fate = PartFate::of(held.positions.get(uid).map(|(layout, _)| layout), Some(&unkeyed(&source.layout)));
            parts.push(part(uid, PartKind::Positions, fate));
        }
        for (uid, layouts) in &held.transactions {
            let sink = self.sinks.iter().find(|sink| self.operators[sink.operator.0].uid == *uid);
            for then in layouts {
                let fate = sink.map_or_else(|| gone.clone(), |sink| PartFate::of(Some(then), Some(&unkeyed(&sink.layout))));
                parts.push(part(uid, PartKind::Transactions, fate));
            }
        }
        let is_run = |uid: &str| self.operators.iter().any(|operator| operator.uid == uid && operator.task.is_some() && operator.has_state);
        for (uid, states) in held.states.iter().filter(|(uid, _)| !is_run(uid)) {
            parts.extend(states.keys().map(|name| part(uid, PartKind::State(name.clone()), gone.clone())));
        }
        let with_splits = held.positions.iter().filter(|(uid, (_, has_splits))| *has_splits && !sources.contains(uid));
        parts.extend(with_splits.map(|(uid, _)| part(uid, PartKind::Positions, gone.clone())));
        CheckpointDifference {
            checkpoint: held.checkpoint,
            key_groups_then: held.key_groups,
            key_groups_now: self.key_groups.count(),
            parts,
        }
    }

    /// The states that `operator` keeps.
    fn wanted_states(&self, operator: &OperatorMeta) -> Result<Vec<WantedState>, String> {
        let Some(wanted) = &operator.wanted_states else { return Err("the operator does not say".to_owned()) };
        let state = OperatorState::without_checkpoint(&operator.name, &operator.uid, operator.layouts.clone(), self.key_groups);
        catch_unwind(AssertUnwindSafe(|| wanted(state))).map_err(|payload| format!("open() panicked: {}", panic_text(&*payload)))
    }
}
