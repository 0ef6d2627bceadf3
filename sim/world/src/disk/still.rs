//! One folder of a disk as it is at one moment, to be read through the door by whoever judges: no latency, no faults, nothing can be changed.

use super::model::DiskModel;
use std::collections::BTreeMap;
use std::future::ready;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg_io::{Buffer, DirEntry, Disk, EntryKind, File, FileLock, IoError, LocalBoxFuture, OpenMode, ReadRequest, WriteError};

/// See the module.
pub struct StillDisk {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Rc<Vec<u8>>>,
}

impl StillDisk {
    /// The folder at `path`; empty if it is not there.
    pub fn of(model: &DiskModel, path: &Path) -> Self {
        Self::with(path, model.shared_files(path).unwrap_or_default())
    }

    /// The folder at `path` as the hardest of power losses would leave it.
    pub fn of_durable(model: &DiskModel, path: &Path) -> Self {
        Self::with(path, model.durable_files(path).unwrap_or_default())
    }

    fn with(path: &Path, files: Vec<(String, Rc<Vec<u8>>)>) -> Self {
        Self { folder: path.to_owned(), files: files.into_iter().map(|(name, content)| (path.join(name), content)).collect() }
    }

    /// The files by their paths.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_path(), content.as_slice()))
    }
}

/// Polls a future that waits for nothing.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a still disk answers at once"),
    }
}

fn refused<T: 'static>(operation: &'static str, path: &Path, kind: ErrorKind) -> LocalBoxFuture<Result<T, IoError>> {
    Box::pin(ready(Err(IoError::at(operation, path, kind.into()))))
}

impl Disk for StillDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        match self.files.get(path) {
            Some(content) if mode == OpenMode::Read => {
                let file: Rc<dyn File> = Rc::new(StillFile { path: path.to_owned(), content: Rc::clone(content) });
                Box::pin(ready(Ok(file)))
            }
            Some(_) => refused("open", path, ErrorKind::ReadOnlyFilesystem),
            None => refused("open", path, ErrorKind::NotFound),
        }
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        if path != self.folder {
            return refused("list", path, ErrorKind::NotFound);
        }
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let entries = self.files.keys().map(|path| DirEntry { name: name(path), kind: EntryKind::File }).collect();
        Box::pin(ready(Ok(entries)))
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let kind = if path == self.folder { Some(EntryKind::Directory) } else { self.files.get(path).map(|_| EntryKind::File) };
        Box::pin(ready(Ok(kind)))
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        refused("create", path, ErrorKind::ReadOnlyFilesystem)
    }

    fn rename(&self, from: &Path, _to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        refused("rename", from, ErrorKind::ReadOnlyFilesystem)
    }

    fn link(&self, from: &Path, _to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        refused("link", from, ErrorKind::ReadOnlyFilesystem)
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        refused("unlink", path, ErrorKind::ReadOnlyFilesystem)
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        refused("sync", path, ErrorKind::ReadOnlyFilesystem)
    }
}

struct StillFile {
    path: PathBuf,
    content: Rc<Vec<u8>>,
}

impl StillFile {
    fn read(&self, offset: u64, mut buffer: Buffer) -> Buffer {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.content.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buffer.capacity());
        buffer.clear();
        buffer.extend_from_slice(&rest[..len]);
        buffer
    }
}

impl File for StillFile {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>> {
        Box::pin(ready(Ok(self.content.len() as u64)))
    }

    fn read_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        Box::pin(ready(Ok(self.read(offset, buffer))))
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        Box::pin(ready(requests.into_iter().map(|request| Ok(self.read(request.offset, request.buffer))).collect()))
    }

    fn write_at(&self, _offset: u64, _buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>> {
        let refused = refused("write", &self.path, ErrorKind::ReadOnlyFilesystem);
        Box::pin(async move { refused.await.map_err(WriteError::Failed) })
    }

    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        refused("sync", &self.path, ErrorKind::ReadOnlyFilesystem)
    }

    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>> {
        refused("lock", &self.path, ErrorKind::ReadOnlyFilesystem)
    }
}
