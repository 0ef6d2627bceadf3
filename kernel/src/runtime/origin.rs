//! What an attempt goes on from (docs/src/semantics.md#c-6).

use super::error::JobError;
use crate::checkpoint::{CheckpointId, Restore, Restored};
use crate::graph::{Job, OperatorMeta};
use crate::record::Layout;
use std::path::{Path, PathBuf};
use thalweg_io::Io;
use thalweg_storage::checkpoint::{Checkpoint, CheckpointError, CheckpointStore, History, Metadata, Origin, load_metadata, load_path};

/// What was found in a checkpoint folder; nothing in it has changed yet.
pub(crate) struct Found {
    pub(crate) store: CheckpointStore,
    pub(crate) history: History,
    pub(crate) origin: Origin,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// Opens the folder and reads the checkpoint that `restore` means, if it means one.
pub(crate) async fn find(io: Io, dir: PathBuf, restore: Restore) -> Result<Found, CheckpointError> {
    let (store, history) = CheckpointStore::open(io.disk(), &dir, io.rng("checkpoint-store")).await?;
    let (origin, checkpoint) = choose(&io, &store, &history, &restore).await?;
    Ok(Found { store, history, origin, checkpoint })
}

async fn choose(
    io: &Io,
    store: &CheckpointStore,
    history: &History,
    restore: &Restore,
) -> Result<(Origin, Option<Checkpoint>), CheckpointError> {
    match restore {
        Restore::None => Ok((Origin::Fresh, None)),
        Restore::From(path) => elsewhere(io, history, path).await,
        Restore::Latest => {
            if let Some(latest) = history.restorable().next() {
                return Ok((Origin::Checkpoint(latest.id), Some(store.load(latest).await?)));
            }
            match history.unfinished_origin() {
                Some(Origin::Elsewhere { path, .. }) => elsewhere(io, history, Path::new(path)).await,
                _ => Ok((Origin::Fresh, None)),
            }
        }
    }
}

async fn elsewhere(io: &Io, history: &History, path: &Path) -> Result<(Origin, Option<Checkpoint>), CheckpointError> {
    let checkpoint = load_path(&*io.disk(), path).await?;
    let id = checkpoint.metadata.id;
    let same = |retained: &&thalweg_storage::checkpoint::Retained| (retained.id, retained.attempt) == (id, checkpoint.metadata.attempt);
    // Whatever the path looks like.
    let is_ours = history.job() == Some(checkpoint.metadata.job);
    let origin = match history.restorable().find(same) {
        Some(_) if is_ours => Origin::Checkpoint(id),
        _ => Origin::Elsewhere { id, path: path.display().to_string() },
    };
    Ok((origin, Some(checkpoint)))
}

/// The metadata of the latest complete checkpoint in `dir`.
pub(crate) async fn latest(io: &Io, dir: &Path) -> Result<(History, Option<Metadata>), CheckpointError> {
    let (_, history) = CheckpointStore::open(io.disk(), dir, io.rng("checkpoint-store")).await?;
    let latest = match history.restorable().next() {
        Some(latest) => Some(load_metadata(&*io.disk(), dir, latest).await?),
        None => None,
    };
    Ok((history, latest))
}

impl Job {
    /// Refuses a checkpoint that this job cannot go on from as a whole; what concerns a single state its operator sees
    /// (docs/src/semantics.md#c-7).
    pub(crate) fn check_restorable(&self, metadata: &Metadata, restored: &Restored) -> Result<(), JobError> {
        let id = metadata.id;
        if metadata.key_groups != self.key_groups.count() {
            let (then, now) = (metadata.key_groups, self.key_groups.count());
            return Err(JobError::Invalid(format!(
                "checkpoint {id} was taken with {then} key groups and the job has {now}: they cannot change in a job's life; \
                 set them back with set_max_parallelism({then})"
            )));
        }
        for (source, _) in &self.sources {
            let meta = &self.operators[source.operator.0];
            let saved = metadata.sources.iter().find(|entry| entry.uid == meta.uid);
            if let Some(then) = saved.map(|entry| &entry.layout).filter(|then| **then != source.layout) {
                return Err(other_layout(id, &meta.name, "positions", then, &source.layout));
            }
        }
        for transaction in &metadata.transactions {
            let sink = self.sinks.iter().find(|sink| self.operators[sink.operator.0].uid == transaction.sink_uid);
            let Some(sink) = sink else {
                // Results that are prepared and cannot be shown would be lost: no option allows that.
                return Err(JobError::Invalid(format!(
                    "checkpoint {id} holds results of a sink with the uid {} that the job does not have any more: \
                     bring the sink back to have them committed, or restore nothing (`--restore none`)",
                    transaction.sink_uid
                )));
            };
            if sink.layout != transaction.layout {
                return Err(other_layout(id, &self.operators[sink.operator.0].name, "transactions", &transaction.layout, &sink.layout));
            }
        }
        let is_run = |uid: &str, has_part: &dyn Fn(&OperatorMeta) -> bool| {
            self.operators.iter().any(|operator| operator.uid == uid && operator.task.is_some() && has_part(operator))
        };
        let with_state = restored.operators().into_iter().filter(|uid| !is_run(uid, &|operator| operator.has_state));
        let is_source = |uid: &str| self.sources.iter().any(|(source, _)| self.operators[source.operator.0].uid == uid);
        let with_splits = metadata.sources.iter().filter(|source| !source.splits.is_empty() && !is_source(&source.uid));
        let left = with_state.chain(with_splits.map(|source| source.uid.clone())).next();
        match left.filter(|_| !restored.allow_non_restored_state) {
            None => Ok(()),
            Some(uid) => {
                let name = metadata.operators.iter().find(|operator| operator.uid == uid).map_or(uid.as_str(), |operator| &operator.name);
                Err(JobError::Invalid(format!(
                    "checkpoint {id} holds state of the operator {name} (uid {uid}) that the job does not have any more: \
                     leave it behind with `--allow-non-restored-state`, or restore nothing (`--restore none`)"
                )))
            }
        }
    }
}

fn other_layout(id: CheckpointId, operator: &str, what: &str, then: &Layout, now: &Layout) -> JobError {
    JobError::Invalid(format!(
        "the {what} of {operator} have another layout than in checkpoint {id}: {then} then, {now} now; restore nothing (`--restore none`)"
    ))
}
