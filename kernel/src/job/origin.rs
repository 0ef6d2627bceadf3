//! Finds the checkpoint that an attempt resumes from (docs/src/semantics.md#c-6).

use crate::checkpoint::Restore;
use std::path::{Path, PathBuf};
use thalweg_io::Io;
use thalweg_storage::checkpoint::{Checkpoint, CheckpointError, CheckpointStore, History, Metadata, Origin, load_metadata, load_path};

/// The contents of a checkpoint folder; nothing in it has changed yet.
pub(crate) struct Found {
    pub(crate) store: CheckpointStore,
    pub(crate) history: History,
    pub(crate) origin: Origin,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// Opens the folder and reads the checkpoint that `restore` means, if any.
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
    // Decided by the job, whatever the path looks like.
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
