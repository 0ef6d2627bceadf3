//! The log of a checkpoint folder: reads its newest entry, and appends the next one so that only one coordinator can.
//!
//! An entry is written and synced under a temporary name and then *linked* to its final name, which fails if that is taken; so two coordinators that know
//! the same past cannot both go on. A coordinator that knows an older past may find its number free again, because old entries are removed; it then sees a
//! higher entry beside its own and stops. The last [`KEPT_ENTRIES`] are never removed, but safety rests only on the highest never being removed.
//!
//! An entry that holds gets a second name, its *head*, which the head of the next entry replaces. A missing entry whose head is there was removed by
//! somebody, and is not passed over for an older one; an entry that was never linked has no head.
//!
//! After a failure between the link and the directory's sync it is unknown whether the entry will hold. The log is then out of use.

use super::files::{self, create, remove};
use super::names::FileName;
use super::{CheckpointError, LogEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thalweg_io::{Disk, EntryKind, Rng};

/// Entries that stay when a new one is appended: the recent history of the job, for people to read.
pub(super) const KEPT_ENTRIES: u64 = 16;

/// An entry names a few retained checkpoints of some 200 bytes each. A longer file is not an entry, whatever its name.
const MAX_ENTRY_BYTES: u64 = 16 << 20;

/// Draws for a temporary name that is free. A second draw is needed if a dead coordinator drew the same numbers.
const MAX_DRAWS: usize = 16;

/// Whether the log can still be appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Usable,
    FencedBy(u64),
    Poisoned,
}

/// The end of a log.
pub(super) struct Log {
    disk: Rc<dyn Disk>,
    dir: PathBuf,
    rng: Box<dyn Rng>,
    newest: Option<LogEntry>,
    condition: Condition,
}

/// The log's and checkpoints' file names in the folder.
pub(super) async fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<FileName>, CheckpointError> {
    let entries = disk.list(dir).await.map_err(CheckpointError::io)?;
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    Ok(files.filter_map(|entry| FileName::parse(&entry.name)).collect())
}

/// The numbers of the entries among `names`.
pub(super) fn numbers(names: &[FileName]) -> impl Iterator<Item = u64> {
    names.iter().filter_map(|name| match name {
        FileName::LogEntry { number } => Some(*number),
        _ => None,
    })
}

/// Listings within which the newest entry has to be found. A second listing is needed if an entry is added during the first.
const LISTINGS_MAX: u32 = 8;

/// The number of the newest entry of the log in `dir`, once it is certain that no newer one was removed.
async fn newest_number(disk: &dyn Disk, dir: &Path) -> Result<Option<u64>, CheckpointError> {
    let path = |name: FileName| dir.join(name.to_string()).display().to_string();
    // The highest head of the previous listing: its entry was there by then.
    let mut seen: Option<u64> = None;
    let mut newest = None;
    for _ in 0..LISTINGS_MAX {
        let entries = disk.list(dir).await.map_err(CheckpointError::io)?;
        let (files, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.kind == EntryKind::File);
        let names: Vec<FileName> = files.iter().filter_map(|entry| FileName::parse(&entry.name)).collect();
        newest = numbers(&names).max();
        for other in others {
            if let Some(FileName::LogEntry { number }) = FileName::parse(&other.name)
                && newest.is_none_or(|newest| number > newest)
            {
                return Err(not_an_entry(dir, &other.name, other.kind));
            }
        }
        let heads = names.iter().filter_map(|name| if let FileName::Head { number } = name { Some(*number) } else { None });
        let head = heads.max();
        if head <= newest {
            return Ok(newest);
        }
        if let Some(number) = seen.filter(|seen| newest.is_none_or(|newest| newest < *seen)) {
            let older = newest.map_or_else(|| "the beginning".to_owned(), |number| path(FileName::LogEntry { number }));
            let (file, head) = (path(FileName::LogEntry { number }), path(FileName::Head { number }));
            return Err(CheckpointError::MissingEntry { file, head, older });
        }
        // A listing is not atomic: the entry may have been added after its place was passed, and its head before. The entry is there by now.
        seen = head;
    }
    Ok(newest)
}

fn not_an_entry(dir: &Path, name: &str, kind: EntryKind) -> CheckpointError {
    let kind = match kind {
        EntryKind::File => "a file",
        EntryKind::Directory => "a folder",
        EntryKind::Other => "neither a file nor a folder",
    };
    CheckpointError::NotAnEntry { file: dir.join(name).display().to_string(), kind }
}

/// The newest entry of the log in `dir`, `None` if there is none. An entry that cannot be read, or was removed, is never passed over for an older one.
pub(super) async fn newest(disk: &dyn Disk, dir: &Path) -> Result<Option<LogEntry>, CheckpointError> {
    let Some(number) = newest_number(disk, dir).await? else { return Ok(None) };
    let path = dir.join(FileName::LogEntry { number }.to_string());
    let bytes = files::read(disk, &path, None, MAX_ENTRY_BYTES).await?;
    LogEntry::decode_numbered(&path.display().to_string(), number, &bytes).map(Some)
}

impl Log {
    pub(super) async fn open(disk: Rc<dyn Disk>, dir: &Path, rng: Box<dyn Rng>) -> Result<Self, CheckpointError> {
        let newest = newest(&*disk, dir).await?;
        Ok(Self { disk, dir: dir.to_owned(), rng, newest, condition: Condition::Usable })
    }

    pub(super) fn newest(&self) -> Option<&LogEntry> {
        self.newest.as_ref()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.newest.as_ref().map_or(1, |newest| newest.number + 1)
    }

    fn folder(&self) -> String {
        self.dir.display().to_string()
    }

    /// Stops all further writing: an operation has failed in a way that leaves the content of the disk unknown.
    pub(super) fn poison(&mut self) {
        self.condition = Condition::Poisoned;
    }

    /// Fails if the log is out of use.
    pub(super) fn check(&self) -> Result<(), CheckpointError> {
        match self.condition {
            Condition::Usable => Ok(()),
            Condition::FencedBy(entry) => Err(CheckpointError::Fenced { folder: self.folder(), entry }),
            Condition::Poisoned => Err(CheckpointError::Poisoned { folder: self.folder() }),
        }
    }

    fn fenced(&mut self, entry: u64) -> CheckpointError {
        self.condition = Condition::FencedBy(entry);
        CheckpointError::Fenced { folder: self.folder(), entry }
    }

    /// Appends `entry`, which holds from then on. Its number is [`Log::next_number`].
    ///
    /// A full disk leaves the log as it was; after any other error it is out of use.
    pub(super) async fn append(&mut self, entry: LogEntry) -> Result<(), CheckpointError> {
        self.check()?;
        assert_eq!(entry.number, self.next_number(), "entries follow each other");
        let appended = self.try_append(&entry).await;
        match &appended {
            Ok(()) => self.newest = Some(entry),
            Err(error) if error.is_storage_full() || error.is_fenced() => {}
            Err(_) => self.poison(),
        }
        appended
    }

    async fn try_append(&mut self, entry: &LogEntry) -> Result<(), CheckpointError> {
        let number = entry.number;
        let temporary = self.write_temporary(number, &entry.encode()).await?;
        let name = FileName::LogEntry { number }.to_string();
        let linked = self.disk.link(&self.dir.join(&temporary), &self.dir.join(&name)).await;
        if let Err(error) = linked {
            let _ = remove(&*self.disk, &self.dir, &temporary).await;
            return Err(match error.kind() {
                ErrorKind::AlreadyExists => match self.disk.kind(&self.dir.join(&name)).await.map_err(CheckpointError::io)? {
                    Some(EntryKind::File) | None => self.fenced(number),
                    Some(kind) => not_an_entry(&self.dir, &name, kind),
                },
                // A coordinator that has appended since took the temporary file for a left-over, rightly.
                ErrorKind::NotFound => match numbers(&list(&*self.disk, &self.dir).await?).max() {
                    Some(highest) if highest >= number => self.fenced(highest),
                    _ => CheckpointError::io(error),
                },
                _ => CheckpointError::writing(error),
            });
        }
        // From here on the entry may hold, whichever operation fails.
        let names = list(&*self.disk, &self.dir).await?;
        if let Some(higher) = numbers(&names).filter(|other| *other > number).max() {
            let _ = remove(&*self.disk, &self.dir, &name).await;
            let _ = remove(&*self.disk, &self.dir, &temporary).await;
            return Err(self.fenced(higher));
        }
        self.disk.sync_dir(&self.dir).await.map_err(CheckpointError::io)?;
        // The entry holds without its head, which becomes durable with the next entry; no file that would be missed is removed before.
        let _ = self.disk.link(&self.dir.join(&temporary), &self.dir.join(FileName::Head { number }.to_string())).await;
        // A failure leaves a file that the next cleaning finds.
        let _ = remove(&*self.disk, &self.dir, &temporary).await;
        Ok(())
    }

    async fn write_temporary(&mut self, number: u64, bytes: &[u8]) -> Result<String, CheckpointError> {
        let mut draws = 0;
        loop {
            let name = FileName::Temporary { number, random: self.rng.next_u64() }.to_string();
            draws += 1;
            match create(&*self.disk, &self.dir, &name, bytes.into()).await {
                Err(CheckpointError::Io { source }) if source.kind() == ErrorKind::AlreadyExists && draws < MAX_DRAWS => {}
                outcome => return outcome.map(|_| name),
            }
        }
    }
}
