//! Files by the system calls of the standard library, each done when its future is first polled.

use crate::uring::disk::list_blocking;
use crate::uring::file::try_lock;
use crate::{Buffer, DirEntry, Disk, EntryKind, File, FileLock, IoError, LocalBoxFuture, OpenMode, ReadRequest, WriteError};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The file systems of this machine.
pub(super) struct BlockingDisk;

/// A future that does `operation` when it is polled.
fn when_polled<T: 'static>(operation: impl FnOnce() -> T + 'static) -> LocalBoxFuture<T> {
    Box::pin(async move { operation() })
}

impl Disk for BlockingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        let path = path.to_path_buf();
        when_polled(move || {
            let mut options = fs::OpenOptions::new();
            let (operation, options) = match mode {
                OpenMode::Read => ("open", options.read(true)),
                OpenMode::CreateNew | OpenMode::CreateUncached => ("create", options.read(true).write(true).create_new(true)),
                OpenMode::Write => ("open", options.read(true).write(true)),
            };
            let file = options.open(&path).map_err(|error| IoError::at(operation, &path, error))?;
            Ok(Rc::new(BlockingFile(Rc::new(Open { file, path }))) as Rc<dyn File>)
        })
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        let path = path.to_path_buf();
        when_polled(move || list_blocking(&path).map_err(|error| IoError::at("list", &path, error)))
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let path = path.to_path_buf();
        when_polled(move || match fs::metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(EntryKind::File)),
            Ok(found) if found.is_dir() => Ok(Some(EntryKind::Directory)),
            Ok(_) => Ok(Some(EntryKind::Other)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(IoError::at("look at", &path, error)),
        })
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let path = path.to_path_buf();
        when_polled(move || fs::create_dir_all(&path).map_err(|error| IoError::at("create directory", &path, error)))
    }

    fn rename(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        between("rename", from, to, |from, to| fs::rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        between("link", from, to, |from, to| fs::hard_link(from, to))
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let path = path.to_path_buf();
        when_polled(move || fs::remove_file(&path).map_err(|error| IoError::at("remove", &path, error)))
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let path = path.to_path_buf();
        when_polled(move || {
            let synced = fs::File::open(&path).and_then(|directory| {
                if directory.metadata()?.is_dir() { directory.sync_all() } else { Err(io::ErrorKind::NotADirectory.into()) }
            });
            synced.map_err(|error| IoError::at("sync directory", &path, error))
        })
    }
}

/// Performs `operation` on two paths.
fn between(
    operation: &'static str,
    from: &Path,
    to: &Path,
    act: fn(&Path, &Path) -> io::Result<()>,
) -> LocalBoxFuture<Result<(), IoError>> {
    let (from, to) = (from.to_path_buf(), to.to_path_buf());
    when_polled(move || {
        act(&from, &to).map_err(|error| IoError::new(operation, format_args!("{} to {}", from.display(), to.display()), error))
    })
}

struct Open {
    file: fs::File,
    path: PathBuf,
}

/// An open file. Each operation keeps it open, whatever becomes of this handle.
struct BlockingFile(Rc<Open>);

impl Open {
    fn read(&self, offset: u64, mut buffer: Buffer) -> Result<Buffer, IoError> {
        buffer.clear();
        let capacity = buffer.capacity();
        buffer.resize(capacity, 0);
        let mut filled = 0;
        while filled < capacity {
            match self.file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(IoError::at("read from", &self.path, error)),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }
}

impl File for BlockingFile {
    fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>> {
        let open = Rc::clone(&self.0);
        when_polled(move || open.file.metadata().map(|found| found.len()).map_err(|error| IoError::at("measure", &open.path, error)))
    }

    fn read_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let open = Rc::clone(&self.0);
        when_polled(move || open.read(offset, buffer))
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        let open = Rc::clone(&self.0);
        when_polled(move || requests.into_iter().map(|ReadRequest { offset, buffer }| open.read(offset, buffer)).collect())
    }

    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>> {
        let open = Rc::clone(&self.0);
        when_polled(move || match open.file.write_all_at(&buffer, offset) {
            Ok(()) => Ok(buffer),
            Err(error) => Err(WriteError::new(IoError::at("write to", &open.path, error), buffer)),
        })
    }

    /// Never retried, whatever the error: the page cache may have dropped bytes that it could not write.
    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        let open = Rc::clone(&self.0);
        when_polled(move || open.file.sync_all().map_err(|error| IoError::at("sync", &open.path, error)))
    }

    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>> {
        let open = Rc::clone(&self.0);
        when_polled(move || {
            // A duplicate of the same open file, so it holds the same lock.
            let locked = open.file.try_clone().and_then(|duplicate| try_lock(duplicate.into()));
            locked.map(|held| held.map(FileLock::new)).map_err(|error| IoError::at("lock", &open.path, error))
        })
    }
}
