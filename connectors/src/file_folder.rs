//! The folder of a [`FileSink`](super::FileSink): how hidden files become visible in it.
//!
//! A file is shown by an exclusive link, never by overwriting. All links of a commit become durable with one sync of the folder, and only then are the
//! hidden names removed: whenever the power fails, each file has at least one of its two names. So a commit that was interrupted, or that is repeated,
//! learns from the names alone what is left to do: both are there, the visible one alone, or the hidden one alone. Files show one after the other, not all
//! at one instant (docs/src/semantics.md#o-3).

use super::delivery::DeliveryGuarantee;
use super::part_name::{PartName, is_result};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::{Disk, EntryKind, Io, IoError, LocalBoxFuture};
use thalweg_kernel::checkpoint::JobId;
use thalweg_kernel::sink::SinkError;
use thalweg_record::record::Record;

/// The time until an operation that found no room is retried: seldom enough to cost nothing, and soon enough for whoever makes room.
const DO_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A file that is durable under its hidden name.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub struct PreparedFile {
    /// The file's hidden name in the folder.
    pub hidden: String,
    /// The name under which the file will be shown.
    pub visible: String,
}

/// The result files that one subtask has written in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub struct FileTransaction {
    /// The number of the job.
    pub job: u64,
    /// The files, in the order in which they were written.
    pub files: Vec<PreparedFile>,
}

/// A folder on a disk, and the delivery guarantee of the results in it.
#[derive(Clone)]
pub(super) struct Folder {
    pub(super) disk: Rc<dyn Disk>,
    pub(super) dir: PathBuf,
    /// The I/O of the process that works in the folder.
    pub(super) io: Io,
    pub(super) delivery: DeliveryGuarantee,
}

/// Why results are not shown, or their folder is not made ready.
pub(super) enum Refused {
    /// The disk is full. Nothing has failed: the operation can be retried from the beginning when there is room.
    NoRoom(IoError),
    Failed(IoError),
}

impl Refused {
    /// The error of an operation that takes disk space. Not for syncs: a failed sync is not retried (law 9).
    pub(super) fn room(error: IoError) -> Self {
        if error.is_storage_full() { Self::NoRoom(error) } else { Self::Failed(error) }
    }
}

impl From<IoError> for Refused {
    fn from(error: IoError) -> Self {
        Self::Failed(error)
    }
}

impl From<Refused> for SinkError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoRoom(error) => Self::NoRoom(error),
            Refused::Failed(error) => Self::Io(error),
        }
    }
}

/// Distinguishes errors of the folder from errors of the disk.
pub(super) fn unfit(error: IoError) -> SinkError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::ReadOnlyFilesystem => {
            SinkError::invalid(format!("{error}; choose another output folder or give this user the right to write there"))
        }
        _ => SinkError::Io(error),
    }
}

/// The same for an operation that may find no room.
pub(super) fn refused(refused: Refused) -> SinkError {
    match refused {
        Refused::NoRoom(error) => SinkError::NoRoom(error),
        Refused::Failed(error) => unfit(error),
    }
}

impl Folder {
    /// The path of the file `name`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The pause before an operation that found no room is retried.
    pub(super) fn pause(&self) -> LocalBoxFuture<()> {
        let clock = self.io.clock();
        clock.sleep_until(clock.now().after(DO_AGAIN_AFTER))
    }

    /// The names of the files in the folder.
    pub(super) async fn names(&self) -> Result<Vec<String>, IoError> {
        let entries = self.disk.list(&self.dir).await?;
        Ok(entries.into_iter().filter(|entry| entry.kind != EntryKind::Directory).map(|entry| entry.name).collect())
    }

    /// Makes the folder's names durable.
    pub(super) async fn sync(&self) -> Result<(), IoError> {
        self.disk.sync_dir(&self.dir).await
    }

    /// Removes a name, if it exists.
    pub(super) async fn remove(&self, name: &str) -> Result<(), IoError> {
        match self.disk.unlink(&self.path(name)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Shows the files of `transactions`, all of one job; before that, removes the earlier results of other jobs in `others`.
    ///
    /// # Errors
    /// A failed operation, or a file that has neither of its names any more, unless a recovery may have dropped it. If there is no room for a name, files
    /// already shown stay shown, and the others remain hidden.
    pub(super) async fn commit(&self, transactions: &[FileTransaction], others: &[String]) -> Result<(), Refused> {
        let Some(FileTransaction { job, .. }) = transactions.first() else { return Ok(()) };
        let job = JobId(*job);
        if let Some(FileTransaction { job: other, .. }) = transactions.iter().find(|transaction| transaction.job != job.0) {
            let reason = format!("transactions of two jobs, {job} and {}; the checkpoint is damaged", JobId(*other));
            return Err(IoError::at("show results in", &self.dir, Error::new(ErrorKind::InvalidData, reason)).into());
        }
        for name in others {
            self.remove(name).await?;
        }
        let files = || transactions.iter().flat_map(|transaction| &transaction.files);
        if files().next().is_some() {
            self.publish(&files().cloned().collect::<Vec<_>>()).await
        } else if others.is_empty() {
            Ok(())
        } else {
            Ok(self.sync().await?)
        }
    }

    /// Gives `files` their visible names and takes the hidden ones away. Costs two syncs of the folder, however many files there are.
    pub(super) async fn publish(&self, files: &[PreparedFile]) -> Result<(), Refused> {
        for file in files {
            self.show(file).await?;
        }
        self.sync().await?;
        for file in files {
            self.remove(&file.hidden).await?;
        }
        // So that no hidden name comes back after a power loss.
        Ok(self.sync().await?)
    }

    async fn show(&self, file: &PreparedFile) -> Result<(), Refused> {
        let PreparedFile { hidden, visible } = file;
        let visible_path = self.path(visible);
        if PartName::of_hidden(hidden).is_none() || PartName::of_visible(visible).is_none() || visible.contains('/') || hidden.contains('/')
        {
            let reason = format!("{hidden:?} and {visible:?} are no names of result files; the checkpoint is damaged");
            return Err(IoError::at("show", &self.dir, Error::new(ErrorKind::InvalidData, reason)).into());
        }
        match self.disk.link(&self.path(hidden), &visible_path).await {
            // The file was shown before: no other file ever gets this name.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => match self.disk.kind(&visible_path).await? {
                Some(_) => Ok(()),
                None if self.delivery == DeliveryGuarantee::AtMostOnce => Ok(()),
                None => {
                    let reason = format!(
                        "results lost: a checkpoint names this file, and neither it nor {hidden} is there; somebody has removed it"
                    );
                    Err(IoError::at("show", &visible_path, Error::new(ErrorKind::NotFound, reason)).into())
                }
            },
            result => result.map_err(Refused::room),
        }
    }

    /// The visible results of jobs other than `job`.
    pub(super) async fn results_of_others(&self, job: JobId) -> Result<Vec<String>, IoError> {
        let mut names = self.names().await?;
        names.retain(|name| is_of_others(name, job));
        Ok(names)
    }
}

/// Whether `name` is that of a visible result of a job other than `job`.
pub(super) fn is_of_others(name: &str, job: JobId) -> bool {
    is_result(name) && PartName::of_visible(name).is_none_or(|part| part.job != job)
}
