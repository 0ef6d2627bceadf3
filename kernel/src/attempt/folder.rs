//! The checkpoint folder of an attempt.
//!
//! Completing a checkpoint takes the store until it is done: one checkpoint at a time, in the background. Then the files that it has made superfluous are
//! removed, while the results that it names are shown already; the next checkpoint waits for that. Files that become superfluous meanwhile are left for the
//! next cleaning.

use crate::attempt::collecting::CheckpointSize;
use crate::attempt::stored_files::StoredFiles;
use crate::checkpoint::{CheckpointConfig, CheckpointId};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{Io, LocalBoxFuture, MonotonicNs, TaskClass};
use thalweg_storage::checkpoint::{CheckpointError, CheckpointStore, Metadata, Retained, TaskSnapshot};

/// A checkpoint folder in use.
pub(crate) struct Storage {
    pub(crate) store: CheckpointStore,
    pub(crate) config: CheckpointConfig,
}

/// The result of completing a checkpoint.
pub(crate) struct Persisted {
    pub(crate) checkpoint: CheckpointId,
    /// When the checkpoint was triggered.
    pub(crate) since: MonotonicNs,
    pub(crate) size: CheckpointSize,
    /// How long it took from the last acknowledgement.
    pub(crate) commit: Duration,
    pub(crate) result: Result<Retained, CheckpointError>,
}

/// A checkpoint that is to be completed.
pub(crate) struct Complete {
    pub(crate) metadata: Metadata,
    pub(crate) snapshots: Vec<TaskSnapshot>,
    /// When the checkpoint was triggered.
    pub(crate) since: MonotonicNs,
    pub(crate) size: CheckpointSize,
}

/// The folder, if the job has one, and the work under way in it.
pub(crate) struct CheckpointFolder {
    at_rest: Option<Storage>,
    completing: Option<LocalBoxFuture<(Storage, Box<Persisted>)>>,
    cleaning: Option<LocalBoxFuture<Storage>>,
}

impl CheckpointFolder {
    pub(crate) fn new(storage: Option<Storage>) -> Self {
        Self { at_rest: storage, completing: None, cleaning: None }
    }

    /// Whether the job has a folder.
    pub(crate) fn exists(&self) -> bool {
        self.at_rest.is_some() || self.is_busy()
    }

    /// Whether a checkpoint is being completed, or superfluous files are being removed.
    pub(crate) fn is_busy(&self) -> bool {
        self.completing.is_some() || self.cleaning.is_some()
    }

    /// `None` also while the folder is busy.
    pub(crate) fn storage(&self) -> Option<&Storage> {
        self.at_rest.as_ref()
    }

    pub(crate) fn into_storage(self) -> Option<Storage> {
        self.at_rest
    }

    /// Begins to make a checkpoint durable; returns whether there is a folder for it.
    pub(crate) fn complete(&mut self, checkpoint: Complete, io: &Io) -> bool {
        let storage = match (self.at_rest.take(), self.cleaning.take()) {
            (Some(storage), _) => Box::pin(std::future::ready(storage)),
            (None, Some(cleaning)) => cleaning,
            (None, None) => return false,
        };
        let Complete { metadata, snapshots, since, size } = checkpoint;
        let checkpoint = metadata.id;
        let (io, begun) = (io.clone(), io.clock().now());
        self.completing = Some(Box::pin(async move {
            let Storage { mut store, config } = storage.await;
            let result = store.complete(metadata, snapshots, config.retained).await;
            let commit = io.clock().now().since(begun);
            (Storage { store, config }, Box::new(Persisted { checkpoint, since, size, commit, result }))
        }));
        true
    }

    /// The result of the checkpoint that is being completed.
    pub(crate) fn poll_persisted(&mut self, cx: &mut Context<'_>) -> Poll<Box<Persisted>> {
        let Some(Poll::Ready((storage, persisted))) = self.completing.as_mut().map(|future| future.as_mut().poll(cx)) else {
            return Poll::Pending;
        };
        self.completing = None;
        let persisted_well = persisted.result.is_ok();
        self.cleaning = Some(Box::pin(async move {
            let Storage { mut store, config } = storage;
            // After a failure nothing is known to be superfluous.
            if persisted_well {
                store.clean_up().await;
            }
            if let Some(error) = &store.last_cleanup().error {
                tracing::warn!(%error, "files of earlier checkpoints cannot be removed");
            }
            Storage { store, config }
        }));
        Poll::Ready(persisted)
    }

    /// Ready when a cleaning has ended; pending if there is none.
    pub(crate) fn poll_cleaned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Poll::Ready(storage)) = self.cleaning.as_mut().map(|future| future.as_mut().poll(cx)) else { return Poll::Pending };
        (self.cleaning, self.at_rest) = (None, Some(storage));
        Poll::Ready(())
    }

    /// Removes what subtasks have stored and name no more, unless a retained checkpoint names it. While the folder is busy that waits: then a checkpoint is
    /// complete, and its cleaning does the same, or there was no room for it.
    pub(crate) fn discard(&self, io: &Io, stored: &mut StoredFiles) {
        let Some(storage) = &self.at_rest else { return };
        let mut files = stored.take_superseded();
        files.retain(|file| !storage.store.is_named(file));
        if files.is_empty() {
            return;
        }
        let (disk, dir) = (io.disk(), storage.store.dir().to_owned());
        let remove = async move {
            if let Err(error) = thalweg_storage::checkpoint::discard(&*disk, &dir, files.iter().map(String::as_str)).await {
                tracing::warn!(%error, "files of checkpoints that were given up cannot be removed");
            }
        };
        io.spawner().spawn(TaskClass::Background, "discard", Box::pin(remove));
    }
}
