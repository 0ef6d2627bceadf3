//! The end of an epoch: its files are durable; now their names become durable, or visible at once if results are shown at least once.
//!
//! If there is no room for a visible name, showing is retried after a pause; files already shown stay shown (docs/src/semantics.md#o-7).

use super::delivery::DeliveryGuarantee;
use super::file_folder::{FileTransaction, Folder, PreparedFile, Refused};
use super::file_tenure::ensure_owned_by;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{IoError, LocalBoxFuture};
use thalweg_kernel::checkpoint::JobId;

/// The owner of the epoch.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) job: JobId,
    /// The process that coordinates the job.
    pub(super) owner: u64,
    /// Whether there is a transaction even without files.
    pub(super) announces: bool,
}

/// See the module's documentation.
pub(super) struct EpochEnd {
    folder: Folder,
    files: Rc<[PreparedFile]>,
    ending: Ending,
    doing: Option<LocalBoxFuture<Result<(), Refused>>>,
    /// Why the epoch has not ended: set from the first time there was no room.
    no_room: Option<IoError>,
    /// The pause before the next try.
    pause: Option<LocalBoxFuture<()>>,
}

impl EpochEnd {
    pub(super) fn new(folder: Folder, files: Vec<PreparedFile>, ending: Ending) -> Self {
        Self { folder, files: files.into(), ending, doing: None, no_room: None, pause: None }
    }

    /// The error it waits out, if there was no room.
    pub(super) fn no_room(&self) -> Option<&IoError> {
        self.no_room.as_ref()
    }

    fn start(&self) -> LocalBoxFuture<Result<(), Refused>> {
        let (folder, files, owner) = (self.folder.clone(), Rc::clone(&self.files), self.ending.owner);
        Box::pin(async move {
            if files.is_empty() {
                return Ok(());
            }
            if folder.delivery == DeliveryGuarantee::AtLeastOnce {
                ensure_owned_by(&folder, owner).await?;
                return folder.publish(&files).await;
            }
            Ok(folder.sync().await?)
        })
    }

    /// Ready once, with the transaction that remains to be committed.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FileTransaction>, IoError>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let mut doing = self.doing.take().unwrap_or_else(|| self.start());
            let Poll::Ready(done) = doing.as_mut().poll(cx) else {
                self.doing = Some(doing);
                return Poll::Pending;
            };
            match done {
                Ok(()) => break,
                Err(Refused::Failed(error)) => return Poll::Ready(Err(error)),
                Err(Refused::NoRoom(error)) => {
                    self.no_room = Some(error);
                    self.pause = Some(self.folder.pause());
                }
            }
        }
        let is_shown = self.folder.delivery == DeliveryGuarantee::AtLeastOnce;
        let files = if is_shown { Vec::new() } else { self.files.to_vec() };
        let Ending { job, announces, .. } = self.ending;
        Poll::Ready(Ok((announces || !files.is_empty()).then_some(FileTransaction { job: job.0, files })))
    }

    /// Waits for the operation under way and starts none again.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pause = None;
        if let Some(doing) = &mut self.doing {
            drop(ready!(doing.as_mut().poll(cx)));
            self.doing = None;
        }
        Poll::Ready(())
    }
}
