//! The hold of a [`FileSink`](super::FileSink) on its folder: taken before the job reads anything, checked before any file is shown or removed, and
//! released in the end (docs/src/semantics.md#o-6).
//!
//! Owners are numbered. A process that takes a folder writes an owner file, locks and syncs it, and *links* it to the number after that of the owner it has
//! judged; that fails if another process was faster. So of several processes that find a folder free, or an owner dead, one gets it. The file is durable
//! and locked before it has its name. A process that finds a number higher than its own, or another's name in its own file, has lost the folder: it shows
//! nothing there any more. Only files listed *before* the hold was last found to be good are ever removed, for they cannot be the successor's.
//!
//! The lock tells living owners from dead ones; only the file says who owns the folder.

use super::file_folder::{Folder, Refused, refused, unfit};
use super::owner_file::{Claim, LockState, OWNER_BYTES_MAX, OwnerFile, OwnerName, Verdict, deserted, digits, judge, overtaken};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thalweg_io::{Buffer, EntryKind, FileLock, IoError, OpenMode};
use thalweg_kernel::sink::SinkError;

/// How often a claim is retried because another process has changed the folder meanwhile.
const CLAIMS_MAX: u32 = 16;

/// How often a lock that seems held is tried again, and the pause in between. Another process that looks, or takes the folder over, holds the lock for a
/// moment.
const LOOKS: u32 = 6;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A sink's hold on its folder. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenure(Arc<Mutex<Option<Held>>>);

#[derive(Debug)]
struct Held {
    /// The number of the owner file.
    number: u64,
    /// Identifies the process, so that it recognizes its own file.
    owner: u64,
    /// Whether the hold is known to be durable. Until then the file may be there or not.
    is_settled: bool,
    /// Held so that other processes see that this one lives.
    _lock: Option<FileLock>,
}

/// The state of a hold.
enum Standing {
    Good,
    /// Nobody holds the folder. Whoever had taken it over has ended, and its results may be there: this process must not take it again.
    Gone,
    /// Another process holds the folder; it is named if its file can be read.
    Lost(Option<OwnerFile>),
}

impl Tenure {
    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process with the number `owner` has taken the folder, even if it has lost it since.
    pub(super) fn is_taken_by(&self, owner: u64) -> bool {
        self.held().is_some_and(|held| held.1 == owner)
    }

    /// The number and process of the owner file that is held.
    fn held(&self) -> Option<(u64, u64)> {
        self.lock().as_ref().map(|held| (held.number, held.owner))
    }

    /// Checks whether [`claim`](Self::claim) would refuse; changes nothing.
    pub(super) async fn check(&self, folder: &Folder, claim: &Claim) -> Result<(), SinkError> {
        if self.is_held(folder, claim).await? {
            return Ok(());
        }
        found(folder, claim).await.map(drop)
    }

    /// Whether this sink of this job holds the folder already.
    async fn is_held(&self, folder: &Folder, claim: &Claim) -> Result<bool, SinkError> {
        // If two jobs use one sink, only one of them holds it.
        let own = self.lock().as_ref().filter(|held| held.owner == claim.owner).map(|held| (held.number, held.owner, held.is_settled));
        let Some((number, owner, is_settled)) = own else { return Ok(false) };
        match standing(folder, (number, owner)).await? {
            Standing::Good if is_settled => Ok(true),
            Standing::Lost(by) if is_settled => Err(SinkError::Overtaken(overtaken(&folder.dir, by.as_ref()))),
            Standing::Gone if is_settled => Err(SinkError::Overtaken(deserted(&folder.dir))),
            // A failure interrupted the claim after its link: settle it now.
            Standing::Good => {
                self.settle(folder, number).await.map_err(unfit)?;
                Ok(true)
            }
            Standing::Lost(_) | Standing::Gone => {
                drop(self.lock().take());
                Ok(false)
            }
        }
    }

    /// Takes the folder, which must exist, unless this sink holds it already.
    pub(super) async fn claim(&self, folder: &Folder, claim: &Claim) -> Result<(), SinkError> {
        if self.is_held(folder, claim).await? {
            return Ok(());
        }
        for _ in 0..CLAIMS_MAX {
            let (number, line, of_the_dead) = match found(folder, claim).await? {
                Found::Nobody => (1, None, None),
                Found::Predecessor { number, line, lock } => (number_behind(folder, number)?, Some(line), lock),
            };
            if self.publish(folder, number, claim).await.map_err(refused)? {
                // Kept until now, so that other processes took the predecessor for alive.
                drop(of_the_dead);
                if let Some(line) = line {
                    tracing::info!(target: "thalweg::job", "{line}");
                }
                return self.settle(folder, number).await.map_err(unfit);
            }
        }
        Err(busy(folder))
    }

    /// Makes a file of this process the owner with this number; `false` if another process has become it.
    async fn publish(&self, folder: &Folder, number: u64, claim: &Claim) -> Result<bool, Refused> {
        let temporary = OwnerName::Temporary { number, owner: claim.owner }.to_string();
        let lock = match write(folder, &temporary, claim).await {
            Ok(lock) => lock,
            Err(error) => {
                // The outcome does not matter: nothing refers to the file.
                let _ = folder.remove(&temporary).await;
                // Another process has just removed it as left behind.
                return match error {
                    Refused::Failed(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                    error => Err(error),
                };
            }
        };
        // From the link on it may be the owner, whichever operation fails.
        *self.lock() = Some(Held { number, owner: claim.owner, is_settled: false, _lock: lock });
        match folder.disk.link(&folder.path(&temporary), &folder.path(&OwnerName::Owner(number).to_string())).await {
            Ok(()) => {}
            // The process that has taken the number removes files that would come too late.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                drop(self.lock().take());
                folder.remove(&temporary).await?;
                return Ok(false);
            }
            Err(error) => return Err(Refused::room(error)),
        }
        // The number may have been free again because its owner, and a later one, have come and gone.
        if highest(&numbers(folder).await?) == Some(number) {
            return Ok(true);
        }
        drop(self.lock().take());
        folder.remove(&OwnerName::Owner(number).to_string()).await?;
        folder.remove(&temporary).await?;
        Ok(false)
    }

    /// Makes the hold durable, and removes the files of earlier owners.
    async fn settle(&self, folder: &Folder, number: u64) -> Result<(), IoError> {
        folder.sync().await?;
        let mut names = owner_names(folder).await?;
        // Oldest first: wherever this is interrupted, the latest of the past owners is still there.
        names.sort_by_key(|(_, parsed)| match parsed {
            OwnerName::Owner(number) | OwnerName::Temporary { number, .. } => *number,
        });
        for (name, parsed) in names {
            match parsed {
                OwnerName::Owner(of) if of < number => folder.remove(&name).await?,
                OwnerName::Owner(_) => {}
                OwnerName::Temporary { number: of, .. } if of <= number => folder.remove(&name).await?,
                OwnerName::Temporary { .. } => remove_if_left_behind(folder, &name).await?,
            }
        }
        if let Some(held) = &mut *self.lock() {
            held.is_settled = true;
        }
        Ok(())
    }

    /// Fails if another process owns the folder. A sink that never took the folder may go on if nobody did.
    pub(super) async fn ensure(&self, folder: &Folder) -> Result<(), SinkError> {
        let standing = match self.held() {
            Some(held) => standing(folder, held).await?,
            None => stranger(folder).await?,
        };
        match standing {
            Standing::Good => Ok(()),
            Standing::Lost(by) => Err(SinkError::Overtaken(overtaken(&folder.dir, by.as_ref()))),
            Standing::Gone if self.held().is_some() => Err(SinkError::Overtaken(deserted(&folder.dir))),
            Standing::Gone => Ok(()),
        }
    }

    /// Releases the folder, if it is still held.
    pub(super) async fn release(&self, folder: &Folder) -> Result<(), SinkError> {
        let Some(held) = self.held() else { return Ok(()) };
        if matches!(standing(folder, held).await?, Standing::Good) {
            for (name, parsed) in owner_names(folder).await? {
                let is_own = match parsed {
                    OwnerName::Owner(number) => number == held.0,
                    OwnerName::Temporary { owner, .. } => owner == held.1,
                };
                if is_own {
                    folder.remove(&name).await?;
                }
            }
            folder.sync().await?;
        }
        drop(self.lock().take());
        Ok(())
    }
}

/// Fails unless the folder belongs to the process with the number `owner`: for writers, which show their files by themselves and may run far from the
/// process that holds the folder. That process has taken it before there was any writer.
pub(super) async fn ensure_owned_by(folder: &Folder, owner: u64) -> Result<(), IoError> {
    let reason = match stranger(folder).await? {
        Standing::Lost(Some(by)) if by.owner == digits(owner) => return Ok(()),
        Standing::Good => return Ok(()),
        Standing::Lost(by) => overtaken(&folder.dir, by.as_ref()),
        Standing::Gone => deserted(&folder.dir),
    };
    Err(IoError::at("show results in", &folder.dir, Error::new(ErrorKind::PermissionDenied, reason)))
}

/// Whether the folder contains the owner file `number` of the process `owner`: if so, it may be the same folder by another name.
pub(super) async fn is_seen_in(folder: &Folder, tenure: &Tenure) -> Result<bool, IoError> {
    let Some((number, owner)) = tenure.held() else { return Ok(false) };
    if folder.disk.kind(&folder.dir).await? != Some(EntryKind::Directory) {
        return Ok(false);
    }
    let found = read(folder, number).await?;
    Ok(found.is_some_and(|found| found.is_ok_and(|file| file.owner == digits(owner))))
}

/// Removes a temporary owner file on which nobody holds a lock: its process has died, and nobody else would remove it. If that process has merely not
/// locked the file yet, it begins anew.
async fn remove_if_left_behind(folder: &Folder, name: &str) -> Result<(), IoError> {
    let file = match folder.disk.open(&folder.path(name), OpenMode::Write).await {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(()),
        Err(error) => return Err(error),
    };
    match file.try_lock().await {
        // Held until the name is gone, so that the file's process does not lock it meanwhile.
        Ok(Some(_lock)) => folder.remove(name).await,
        Ok(None) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a temporary owner file, durably, and locks it if files can be locked here.
async fn write(folder: &Folder, temporary: &str, claim: &Claim) -> Result<Option<FileLock>, Refused> {
    // A file of this very process, whose claim has failed.
    folder.remove(temporary).await?;
    let file = folder.disk.open(&folder.path(temporary), OpenMode::CreateNew).await.map_err(Refused::room)?;
    let lock = match file.try_lock().await {
        Ok(None) => return Err(IoError::at("lock", &folder.path(temporary), ErrorKind::WouldBlock.into()).into()),
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        Err(error) => return Err(error.into()),
    };
    let bytes: Buffer = claim.file(lock.is_some()).encode().as_bytes().into();
    file.write_at(0, bytes).await.map_err(|error| Refused::room(error.into()))?;
    file.sync().await?;
    Ok(lock)
}

async fn owner_names(folder: &Folder) -> Result<Vec<(String, OwnerName)>, IoError> {
    let entries = folder.disk.list(&folder.dir).await?.into_iter().filter(|entry| entry.kind == EntryKind::File);
    Ok(entries.filter_map(|entry| OwnerName::parse(&entry.name).map(|parsed| (entry.name, parsed))).collect())
}

/// The numbers of the owners that have a file in the folder.
pub(super) async fn numbers(folder: &Folder) -> Result<Vec<u64>, IoError> {
    let number = |(_, name)| if let OwnerName::Owner(number) = name { Some(number) } else { None };
    Ok(owner_names(folder).await?.into_iter().filter_map(number).collect())
}

pub(super) fn highest(numbers: &[u64]) -> Option<u64> {
    numbers.iter().copied().max()
}

/// The number of the next owner.
fn number_behind(folder: &Folder, number: u64) -> Result<u64, SinkError> {
    number.checked_add(1).ok_or_else(|| {
        SinkError::invalid(format!(
            "{} leaves no number for a successor, and no job has named it so: remove it",
            path(folder, number).display()
        ))
    })
}

fn path(folder: &Folder, number: u64) -> PathBuf {
    folder.path(&OwnerName::Owner(number).to_string())
}

/// The content of the owner file, or why it cannot be understood; `None` if it does not exist.
async fn read(folder: &Folder, number: u64) -> Result<Option<Result<OwnerFile, String>>, IoError> {
    let file = match folder.disk.open(&path(folder, number), OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Another user's file: treated like a damaged one.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(Some(Err("this user may not read it".to_owned()))),
        Err(error) => return Err(error),
    };
    let len = file.len().await?;
    let Some(len) = usize::try_from(len).ok().filter(|_| len <= OWNER_BYTES_MAX) else {
        return Ok(Some(Err(format!("it is {len} bytes long"))));
    };
    let bytes = file.read_at(0, Buffer::with_capacity(len)).await?;
    Ok(Some(OwnerFile::decode(&bytes[..bytes.len().min(len)])))
}

/// The owner that the claimant may succeed.
enum Found {
    Nobody,
    /// The owner with this number; the line tells from whom the folder is taken. If the owner is dead, the lock is on its file.
    Predecessor {
        number: u64,
        line: String,
        lock: Option<FileLock>,
    },
}

/// Finds out whether the folder may be taken.
///
/// # Errors
/// If it may not be taken.
async fn found(folder: &Folder, claim: &Claim) -> Result<Found, SinkError> {
    let mut looks = 0;
    for _ in 0..CLAIMS_MAX {
        let Some(number) = highest(&numbers(folder).await?) else { return Ok(Found::Nobody) };
        looks += 1;
        match judged(folder, number, claim).await? {
            None => {}
            Some((Verdict::TakeOver(line), lock)) => return Ok(Found::Predecessor { number, line, lock }),
            Some((Verdict::RefuseIfStillHeld(_), _)) if looks < LOOKS => {
                let clock = folder.io.clock();
                clock.sleep_until(clock.now().after(LOOK_AGAIN_AFTER)).await;
            }
            Some((Verdict::Refuse(refusal) | Verdict::RefuseIfStillHeld(refusal), _)) => return Err(SinkError::Invalid(refusal)),
        }
    }
    Err(busy(folder))
}

fn busy(folder: &Folder) -> SinkError {
    let busy = Error::new(ErrorKind::ResourceBusy, "others take and leave it all the while");
    SinkError::Io(IoError::at("take", &folder.dir, busy))
}

/// Judges the owner with this number; `None` if it is gone. If it is dead, the lock keeps others from reaching the same verdict meanwhile.
pub(super) async fn judged(folder: &Folder, number: u64, claim: &Claim) -> Result<Option<(Verdict, Option<FileLock>)>, IoError> {
    let Some(found) = read(folder, number).await? else { return Ok(None) };
    let (state, lock) = match folder.disk.open(&path(folder, number), OpenMode::Write).await {
        Ok(file) => match file.try_lock().await {
            Ok(Some(lock)) => (LockState::Free, Some(lock)),
            Ok(None) => (LockState::Held, None),
            Err(error) if error.kind() == ErrorKind::Unsupported => (LockState::Unknown, None),
            Err(error) => return Err(error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Another user's file.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => (LockState::Unknown, None),
        Err(error) => return Err(error),
    };
    let found = found.map_err(|reason| format!("{}: {reason}", path(folder, number).display()));
    Ok(Some((judge(&folder.dir, &found, state, claim), lock)))
}

/// The state of a hold: good if its own file is there and no higher number.
async fn standing(folder: &Folder, (number, owner): (u64, u64)) -> Result<Standing, IoError> {
    let highest = match numbers(folder).await {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        numbers => highest(&numbers?),
    };
    // Read after the listing: if another process has this number by now, its file says so.
    match highest {
        Some(highest) if highest == number => {}
        _ => return stranger(folder).await,
    }
    match read(folder, number).await? {
        Some(Ok(file)) if file.owner == digits(owner) => Ok(Standing::Good),
        Some(Ok(file)) => Ok(Standing::Lost(Some(file))),
        Some(Err(reason)) => Err(IoError::at("understand", &path(folder, number), Error::new(ErrorKind::InvalidData, reason))),
        None => stranger(folder).await,
    }
}

/// The state of a hold without a file in the folder.
async fn stranger(folder: &Folder) -> Result<Standing, IoError> {
    let numbers = match numbers(folder).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Standing::Gone),
        numbers => numbers?,
    };
    let Some(number) = highest(&numbers) else { return Ok(Standing::Gone) };
    Ok(Standing::Lost(read(folder, number).await?.and_then(Result::ok)))
}
