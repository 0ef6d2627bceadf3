//! The file system. Each operation is the system call of the same name, run by the ring; io_uring has no operation for listing a directory or for creating
//! a path of several folders, so these run on the core's helper thread.

use super::descriptor::Descriptor;
use super::file::{UringFile, stat, sync};
use super::helper::Helper;
use super::raw::{Kept, Request, Ring};
use crate::{DirEntry, Disk, EntryKind, File, IoError, LocalBoxFuture, OpenMode};
use io_uring::{opcode, squeue, types};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// Paths are relative to the working directory of the process.
const HERE: types::Fd = types::Fd(libc::AT_FDCWD);

/// Readable and writable as far as the umask allows, as usual for new files.
const NEW_FILE_MODE: libc::mode_t = 0o666;

/// The file systems of this machine.
pub(super) struct UringDisk {
    ring: Rc<Ring>,
    helper: Helper,
}

impl UringDisk {
    pub(super) fn new(ring: Rc<Ring>, helper: Helper) -> Self {
        Self { ring, helper }
    }
}

/// Fails for a path with a NUL in it, which no file can have.
fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

async fn open(ring: &Rc<Ring>, path: &Path, flags: i32) -> io::Result<Rc<Descriptor>> {
    let path = c_path(path)?;
    let entry = opcode::OpenAt::new(HERE, path.as_ptr()).flags(flags | libc::O_CLOEXEC).mode(NEW_FILE_MODE).build();
    let request = Request { descriptor: None, kept: Kept::Path(path), opens: true };
    // SAFETY: the entry points at the path's heap memory, which the request owns.
    let (result, _) = unsafe { ring.start(entry, request) }.await;
    Ok(Descriptor::opened(result?, ring))
}

/// Opens the file of `descriptor` once more, for writes that bypass the page cache; `None` where that is not to be had: some file systems cannot.
async fn open_uncached(ring: &Rc<Ring>, descriptor: &Descriptor) -> Option<Rc<Descriptor>> {
    // That file, whatever has become of its name.
    let path = format!("/proc/self/fd/{}", descriptor.raw());
    open(ring, Path::new(&path), libc::O_WRONLY | libc::O_DIRECT).await.ok()
}

/// Runs an operation on two names.
async fn between(ring: &Rc<Ring>, from: &Path, to: &Path, entry: fn(&CString, &CString) -> squeue::Entry) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    let entry = entry(&from, &to);
    let request = Request { descriptor: None, kept: Kept::Paths(from, to), opens: false };
    // SAFETY: the entries made below point at the two paths' heap memory, which the request owns.
    unsafe { ring.start(entry, request) }.await.0.map(drop)
}

fn kind_of(mode: u32) -> EntryKind {
    match mode & libc::S_IFMT {
        libc::S_IFREG => EntryKind::File,
        libc::S_IFDIR => EntryKind::Directory,
        _ => EntryKind::Other,
    }
}

/// Lists a directory. Blocks: only for the helper thread, or for an errand that may block.
pub(crate) fn list_blocking(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| io::Error::new(io::ErrorKind::InvalidData, format!("the name {} is not UTF-8", name.display())))?;
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            match std::fs::metadata(entry.path()) {
                Ok(target) => kind = target.file_type(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let kind = if kind.is_file() {
            EntryKind::File
        } else if kind.is_dir() {
            EntryKind::Directory
        } else {
            EntryKind::Other
        };
        entries.push(DirEntry { name, kind });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

impl Disk for UringDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        let (ring, helper, path) = (Rc::clone(&self.ring), self.helper.clone(), path.to_path_buf());
        Box::pin(async move {
            let (operation, flags) = match mode {
                OpenMode::Read => ("open", libc::O_RDONLY),
                OpenMode::CreateNew | OpenMode::CreateUncached => ("create", libc::O_RDWR | libc::O_CREAT | libc::O_EXCL),
                OpenMode::Write => ("open", libc::O_RDWR),
            };
            let descriptor = open(&ring, &path, flags).await.map_err(|error| IoError::at(operation, &path, error))?;
            let uncached = if mode == OpenMode::CreateUncached { open_uncached(&ring, &descriptor).await } else { None };
            Ok(Rc::new(UringFile::new(&ring, &helper, descriptor, uncached, &path)) as Rc<dyn File>)
        })
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        let (path, helper) = (path.to_path_buf(), self.helper.clone());
        Box::pin(async move {
            let there = path.clone();
            let listed = helper.run(move || list_blocking(&there)).await;
            listed.map_err(|error| IoError::at("list", &path, error))
        })
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let (ring, path) = (Rc::clone(&self.ring), path.to_path_buf());
        Box::pin(async move {
            let found = match c_path(&path) {
                Ok(c_path) => stat(&ring, None, c_path).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(stat) => Ok(Some(kind_of(stat.stx_mode.into()))),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
                Err(error) => Err(IoError::at("look at", &path, error)),
            }
        })
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (path, helper) = (path.to_path_buf(), self.helper.clone());
        Box::pin(async move {
            let there = path.clone();
            let created = helper.run(move || std::fs::create_dir_all(there)).await;
            created.map_err(|error| IoError::at("create directory", &path, error))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (ring, from, to) = (Rc::clone(&self.ring), from.to_path_buf(), to.to_path_buf());
        Box::pin(async move {
            let entry = |from: &CString, to: &CString| opcode::RenameAt::new(HERE, from.as_ptr(), HERE, to.as_ptr()).build();
            let renamed = between(&ring, &from, &to, entry).await;
            renamed.map_err(|error| IoError::new("rename", format_args!("{} to {}", from.display(), to.display()), error))
        })
    }

    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (ring, from, to) = (Rc::clone(&self.ring), from.to_path_buf(), to.to_path_buf());
        Box::pin(async move {
            let entry = |from: &CString, to: &CString| opcode::LinkAt::new(HERE, from.as_ptr(), HERE, to.as_ptr()).build();
            let linked = between(&ring, &from, &to, entry).await;
            linked.map_err(|error| IoError::new("link", format_args!("{} to {}", from.display(), to.display()), error))
        })
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (ring, path) = (Rc::clone(&self.ring), path.to_path_buf());
        Box::pin(async move {
            let removed = match c_path(&path) {
                Ok(c_path) => {
                    let entry = opcode::UnlinkAt::new(HERE, c_path.as_ptr()).build();
                    let request = Request { descriptor: None, kept: Kept::Path(c_path), opens: false };
                    // SAFETY: the entry points at the path's heap memory, which the request owns.
                    unsafe { ring.start(entry, request) }.await.0.map(drop)
                }
                Err(error) => Err(error),
            };
            removed.map_err(|error| IoError::at("remove", &path, error))
        })
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (ring, helper, path) = (Rc::clone(&self.ring), self.helper.clone(), path.to_path_buf());
        Box::pin(async move {
            let synced = match open(&ring, &path, libc::O_RDONLY | libc::O_DIRECTORY).await {
                Ok(directory) => sync(&ring, &helper, &directory).await,
                Err(error) => Err(error),
            };
            synced.map_err(|error| IoError::at("sync directory", &path, error))
        })
    }
}
