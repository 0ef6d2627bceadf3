//! The end of an epoch: its files are durable, and now their names become so, or visible at once where results are shown at least once.
//!
//! If there is no room for a visible name the files are shown anew in a while; those that are shown stay so (docs/src/semantics.md#o-7).

use super::delivery::DeliveryGuarantee;
use super::file_folder::{FileTransaction, Folder, PreparedFile, Refused};
use super::file_tenure::ensure_owned_by;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{IoError, LocalBoxFuture};
use thalweg_kernel::checkpoint::JobId;

/// Whose epoch it is.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) job: JobId,
    /// The process that coordinates the job.
    pub(super) owner: u64,
    /// There is a transaction even if there are no files.
    pub(super) announces: bool,
}

/// See the module.
pub(super) struct EpochEnd {
    folder: Folder,
    files: Rc<[PreparedFile]>,
    ending: Ending,
    doing: Option<LocalBoxFuture<Result<(), Refused>>>,
    /// Why it is not over, from the first time there was no room.
    no_room: Option<IoError>,
    /// Until when it rests.
    pause: Option<LocalBoxFuture<()>>,
}

impl EpochEnd {
    pub(super) fn new(folder: Folder, files: Vec<PreparedFile>, ending: Ending) -> Self {
        Self { folder, files: files.into(), ending, doing: None, no_room: None, pause: None }
    }

    /// What it waits for, if there was no room.
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

    /// Ready once, with what is left to be committed.
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

    /// Waits for what is under way and does nothing again.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pause = None;
        if let Some(doing) = &mut self.doing {
            drop(ready!(doing.as_mut().poll(cx)));
            self.doing = None;
        }
        Poll::Ready(())
    }
}
