//! A disk in memory that can be stopped before any of its operations, and lose what was not synced: for tests that go through all of them.
//!
//! Kinder than the simulator's in one thing only: of several changes of one name since the last sync, the first or the last survives.
#![allow(dead_code)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use thalweg::io::{
    Buffer, Clock, DirEntry, Disk, EntryKind, File, FileLock, Io, IoError, IoParts, Listener, LocalBoxFuture, MonotonicNs, Net, NetRead,
    NetWrite, OpenMode, ProcessIdentity, ReadRequest, Rng, Spawner, SplitMix, TaskClass, UnixMillis, WriteError,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Only the process dies: everything stays.
    Nothing,
    /// The power fails, and everything that was not synced is gone.
    Everything,
    /// The power fails, and a throw of the dice decides on each name and each file.
    Some(u64),
}

#[derive(Default)]
pub struct MemoryDisk {
    now: RefCell<BTreeMap<PathBuf, Node>>,
    durable: RefCell<BTreeMap<PathBuf, Node>>,
    contents: RefCell<Vec<Content>>,
    operations: Cell<u64>,
    /// The operation before which the process stops.
    stop_at: Cell<Option<u64>>,
    /// The operation that fails.
    fail_at: Cell<Option<u64>>,
    /// The operation from which on nothing that needs room is done.
    full_from: Cell<Option<u64>>,
    /// Syncs of files do not come to an end.
    syncs_stall: Cell<bool>,
    stopped: Cell<bool>,
    /// Who holds the lock on a file: the host and number of a process, and what is gone when it is given up.
    locks: RefCell<BTreeMap<usize, (ProcessIdentity, Weak<()>)>>,
    /// Processes that have died other than by a stop of the disk.
    dead: RefCell<Vec<ProcessIdentity>>,
    has_no_locks: Cell<bool>,
    /// Files of another user, which cannot be opened.
    closed: RefCell<BTreeSet<PathBuf>>,
    /// Another name of a folder, and the folder.
    alias: RefCell<Option<(PathBuf, PathBuf)>>,
    /// The time of all processes: it passes while one of them sleeps.
    time_ms: Cell<u64>,
}

/// The process that [`MemoryDisk::io`] belongs to.
pub fn this_process() -> ProcessIdentity {
    process("here", 1)
}

pub fn process(host: &str, pid: u32) -> ProcessIdentity {
    ProcessIdentity { host: host.to_owned(), pid, started: UnixMillis(1_700_000_000_000) }
}

fn failure(operation: &'static str, path: &Path, kind: ErrorKind) -> IoError {
    IoError::at(operation, path, Error::from(kind))
}

impl MemoryDisk {
    pub fn new() -> Rc<Self> {
        let disk = Self::default();
        for names in [&disk.now, &disk.durable] {
            names.borrow_mut().insert(PathBuf::from("."), Node::Directory);
        }
        Rc::new(disk)
    }

    /// A door of which only this disk is open.
    pub fn io(self: &Rc<Self>) -> Io {
        self.io_of(this_process())
    }

    /// The same for another process.
    pub fn io_of(self: &Rc<Self>, process: ProcessIdentity) -> Io {
        Io::new(IoParts {
            clock: Rc::new(Sleeper(Rc::clone(self))),
            spawner: Rc::new(Closed),
            disk: Rc::new(Handle { disk: Rc::clone(self), process: process.clone() }),
            net: Rc::new(Closed),
            rng: Rc::new(|name| Box::new(SplitMix::stream(0, name))),
            process: Rc::new(process),
            probe: None,
            spin_limit: 0,
        })
    }

    /// Stops the process before the `n`th operation from now, from 0.
    pub fn stop_before(&self, n: u64) {
        self.stop_at.set(Some(self.operations.get() + n));
    }

    /// Has the `n`th operation from now fail.
    pub fn fail(&self, n: u64) {
        self.fail_at.set(Some(self.operations.get() + n));
    }

    /// From the `n`th operation on the disk is full.
    pub fn fill(&self, n: u64) {
        self.full_from.set(Some(self.operations.get() + n));
    }

    /// Nothing fails any more, and there is room.
    pub fn heal(&self) {
        self.fail_at.set(None);
        self.full_from.set(None);
    }

    fn is_full(&self) -> bool {
        // Its own operation has been counted already.
        self.full_from.get().is_some_and(|from| self.operations.get() > from)
    }

    pub fn stall_syncs(&self, stall: bool) {
        self.syncs_stall.set(stall);
    }

    pub fn operations(&self) -> u64 {
        self.operations.get()
    }

    pub fn has_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// A process is killed: its locks are free.
    pub fn kill(&self, process: ProcessIdentity) {
        self.dead.borrow_mut().push(process);
    }

    /// Whether files can be locked.
    pub fn has_no_locks(&self, has_none: bool) {
        self.has_no_locks.set(has_none);
    }

    /// The file at `path` is another user's: it cannot be opened.
    pub fn close(&self, path: impl AsRef<Path>) {
        self.closed.borrow_mut().insert(path.as_ref().to_owned());
    }

    /// Gives the folder `dir` another name, as a symbolic link does.
    pub fn name_also(&self, dir: impl AsRef<Path>, other: impl AsRef<Path>) {
        *self.alias.borrow_mut() = Some((other.as_ref().to_owned(), dir.as_ref().to_owned()));
    }

    /// What is meant by `path`.
    fn resolved(&self, path: &Path) -> PathBuf {
        let path: PathBuf = path.components().collect();
        match &*self.alias.borrow() {
            Some((other, dir)) => path.strip_prefix(other).map_or(path.clone(), |rest| dir.join(rest).components().collect()),
            None => path,
        }
    }

    /// Starts the process again.
    pub fn restart(&self, loss: Loss) {
        self.locks.borrow_mut().clear();
        self.stop_at.set(None);
        self.fail_at.set(None);
        self.full_from.set(None);
        self.stopped.set(false);
        let mut dice = match loss {
            Loss::Nothing => return,
            Loss::Everything => None,
            Loss::Some(seed) => Some(SplitMix::new(seed)),
        };
        // 0 is what is lost most.
        let mut throw = |bound: u64| dice.as_mut().map_or(0, |dice| dice.below(bound));
        let (mut now, mut durable) = (self.now.borrow_mut(), self.durable.borrow_mut());
        let paths: BTreeSet<PathBuf> = now.keys().chain(durable.keys()).cloned().collect();
        let mut after = BTreeMap::new();
        for path in paths {
            let (new, old) = (now.get(&path), durable.get(&path));
            let node = if new != old && throw(2) == 1 { new } else { old };
            // What hangs below a lost name is lost. Parents come before their children.
            if let Some(node) = node
                && path.parent().is_none_or(|parent| parent.as_os_str().is_empty() || after.contains_key(parent))
            {
                after.insert(path, *node);
            }
        }
        now.clone_from(&after);
        *durable = after;
        for content in self.contents.borrow_mut().iter_mut() {
            if content.written != content.synced && throw(2) == 1 {
                // Torn: it ends somewhere.
                let length = throw(content.written.len() as u64 + 1);
                content.written.truncate(length as usize);
                content.synced.clone_from(&content.written);
            } else {
                content.written.clone_from(&content.synced);
            }
        }
    }

    /// Puts a file there, durably, with the folders above it.
    pub fn put(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let mut contents = self.contents.borrow_mut();
        let bytes = content.as_ref().to_vec();
        contents.push(Content { written: bytes.clone(), synced: bytes });
        for names in [&self.now, &self.durable] {
            for above in path.as_ref().ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                names.borrow_mut().insert(above.to_owned(), Node::Directory);
            }
            names.borrow_mut().insert(path.as_ref().to_owned(), Node::File(contents.len() - 1));
        }
    }

    /// Takes a file away, durably.
    pub fn take(&self, path: impl AsRef<Path>) {
        self.now.borrow_mut().remove(path.as_ref());
        self.durable.borrow_mut().remove(path.as_ref());
    }

    /// Name and content of each file in `dir`.
    pub fn files(&self, dir: impl AsRef<Path>) -> Vec<(String, String)> {
        let (now, contents) = (self.now.borrow(), self.contents.borrow());
        let inside = now.iter().filter(|(path, _)| path.parent() == Some(dir.as_ref()));
        let files = inside.filter_map(|(path, node)| match node {
            Node::File(file) => {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                Some((name, String::from_utf8(contents[*file].written.clone()).unwrap()))
            }
            Node::Directory => None,
        });
        files.collect()
    }

    /// Runs `future` to its end, or until the process stops.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1_000_000 {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            if self.stopped.get() {
                return None;
            }
        }
        panic!("nothing comes of it");
    }
}

#[derive(Clone)]
struct Handle {
    disk: Rc<MemoryDisk>,
    process: ProcessIdentity,
}

impl Handle {
    /// Does `act` when it is polled for the second time, unless the process stops before or the operation fails.
    fn operation<T: 'static>(
        &self,
        name: &'static str,
        path: &Path,
        act: impl FnOnce(&MemoryDisk) -> Result<T, IoError> + 'static,
    ) -> LocalBoxFuture<Result<T, IoError>> {
        let (disk, path) = (Rc::clone(&self.disk), path.to_owned());
        Box::pin(async move {
            thalweg::io::yield_now().await;
            let number = disk.operations.get();
            if disk.stopped.get() || disk.stop_at.get().is_some_and(|at| number >= at) {
                disk.stopped.set(true);
                std::future::pending::<()>().await;
            }
            disk.operations.set(number + 1);
            if disk.fail_at.get() == Some(number) {
                return Err(failure(name, &path, ErrorKind::Other));
            }
            if name == "sync" {
                std::future::poll_fn(|_| if disk.syncs_stall.get() { Poll::Pending } else { Poll::Ready(()) }).await;
            }
            act(&disk)
        })
    }
}

impl Disk for Handle {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        let (handle, at) = (self.clone(), self.disk.resolved(path));
        self.operation("open", path, move |disk| {
            let mut now = disk.now.borrow_mut();
            let id = match (now.get(&at), mode) {
                (Some(_), OpenMode::CreateNew) => return Err(failure("open", &at, ErrorKind::AlreadyExists)),
                (Some(_), _) if disk.closed.borrow().contains(&at) => return Err(failure("open", &at, ErrorKind::PermissionDenied)),
                (Some(Node::File(id)), _) => *id,
                (None, OpenMode::CreateNew) if disk.is_full() => return Err(failure("open", &at, ErrorKind::StorageFull)),
                (None, OpenMode::CreateNew) if now.get(at.parent().unwrap()) == Some(&Node::Directory) => {
                    disk.contents.borrow_mut().push(Content::default());
                    let id = disk.contents.borrow().len() - 1;
                    now.insert(at.clone(), Node::File(id));
                    id
                }
                _ => return Err(failure("open", &at, ErrorKind::NotFound)),
            };
            drop(now);
            Ok(Rc::new(MemoryFile { handle, path: at, id }) as Rc<dyn File>)
        })
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        let at = self.disk.resolved(path);
        self.operation("list", path, move |disk| {
            let now = disk.now.borrow();
            if now.get(&at) != Some(&Node::Directory) {
                return Err(failure("list", &at, ErrorKind::NotFound));
            }
            let inside = now.iter().filter(|(path, _)| path.parent() == Some(&at));
            let entries = inside.map(|(path, node)| DirEntry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                kind: if *node == Node::Directory { EntryKind::Directory } else { EntryKind::File },
            });
            Ok(entries.collect())
        })
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let at = self.disk.resolved(path);
        self.operation("look at", path, move |disk| {
            Ok(disk.now.borrow().get(&at).map(|node| if *node == Node::Directory { EntryKind::Directory } else { EntryKind::File }))
        })
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let at = path.to_owned();
        self.operation("create", path, move |disk| {
            let mut now = disk.now.borrow_mut();
            if disk.is_full() && !now.contains_key(&at) {
                return Err(failure("create", &at, ErrorKind::StorageFull));
            }
            for above in at.ancestors().filter(|above| !above.as_os_str().is_empty()) {
                if matches!(now.insert(above.to_owned(), Node::Directory), Some(Node::File(_))) {
                    return Err(failure("create", above, ErrorKind::AlreadyExists));
                }
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, _to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        panic!("nothing is renamed here: {}", from.display())
    }

    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (from, at) = (from.to_owned(), to.to_owned());
        self.operation("link", to, move |disk| {
            let mut now = disk.now.borrow_mut();
            let node = *now.get(&from).ok_or_else(|| failure("link", &from, ErrorKind::NotFound))?;
            if now.contains_key(&at) {
                return Err(failure("link", &at, ErrorKind::AlreadyExists));
            }
            if disk.is_full() {
                return Err(failure("link", &at, ErrorKind::StorageFull));
            }
            now.insert(at, node);
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let at = path.to_owned();
        self.operation("unlink", path, move |disk| {
            disk.now.borrow_mut().remove(&at).map(drop).ok_or_else(|| failure("unlink", &at, ErrorKind::NotFound))
        })
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let at = path.to_owned();
        self.operation("sync folder", path, move |disk| {
            let (now, mut durable) = (disk.now.borrow(), disk.durable.borrow_mut());
            // The parent of a relative name is `.`.
            let is_inside = |path: &Path| match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => at == Path::new("."),
                Some(parent) => parent == at,
                None => false,
            };
            durable.retain(|path, _| !is_inside(path) || now.contains_key(path));
            for (path, node) in now.iter().filter(|(path, _)| is_inside(path)) {
                durable.insert(path.clone(), *node);
            }
            Ok(())
        })
    }
}

struct MemoryFile {
    handle: Handle,
    path: PathBuf,
    id: usize,
}

impl File for MemoryFile {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>> {
        let id = self.id;
        self.handle.operation("measure", &self.path, move |disk| Ok(disk.contents.borrow()[id].written.len() as u64))
    }

    fn read_at(&self, offset: u64, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let id = self.id;
        self.handle.operation("read", &self.path, move |disk| {
            let contents = disk.contents.borrow();
            let rest = contents[id].written.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.capacity());
            buffer.clear();
            buffer.extend_from_slice(&rest[..length]);
            Ok(buffer)
        })
    }

    fn read_batch(&self, _requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        panic!("nothing is read in batches here")
    }

    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>> {
        let (id, path) = (self.id, self.path.clone());
        let writing = self.handle.operation("write", &self.path, move |disk| {
            let bytes = &mut disk.contents.borrow_mut()[id].written;
            // A disk that is full takes a part.
            let taken = if disk.is_full() { buffer.len() / 2 } else { buffer.len() };
            let end = offset as usize + taken;
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[offset as usize..end].copy_from_slice(&buffer[..taken]);
            Ok((disk.is_full(), buffer))
        });
        Box::pin(async move {
            match writing.await? {
                (true, buffer) => Err(WriteError::new(failure("write", &path, ErrorKind::StorageFull), buffer)),
                (false, buffer) => Ok(buffer),
            }
        })
    }

    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        let id = self.id;
        self.handle.operation("sync", &self.path, move |disk| {
            let content = &mut disk.contents.borrow_mut()[id];
            content.synced.clone_from(&content.written);
            Ok(())
        })
    }

    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>> {
        let (id, path, process) = (self.id, self.path.clone(), self.handle.process.clone());
        let locking = self.handle.operation("lock", &self.path, move |disk| {
            if disk.has_no_locks.get() {
                return Err(failure("lock", &path, ErrorKind::Unsupported));
            }
            let mut locks = disk.locks.borrow_mut();
            locks.retain(|_, (holder, guard)| guard.strong_count() > 0 && !disk.dead.borrow().contains(holder));
            if locks.contains_key(&id) {
                return Ok(None);
            }
            let guard = Arc::new(());
            locks.insert(id, (process, Arc::downgrade(&guard)));
            Ok(Some(FileLock::new(guard)))
        });
        Box::pin(async move {
            let locked = locking.await;
            // Others may come to see it before its holder does.
            thalweg::io::yield_now().await;
            locked
        })
    }
}

/// A clock that goes on by a millisecond whenever somebody who sleeps is asked.
struct Sleeper(Rc<MemoryDisk>);

impl Clock for Sleeper {
    fn now(&self) -> MonotonicNs {
        MonotonicNs(self.0.time_ms.get() * 1_000_000)
    }

    fn wall(&self) -> UnixMillis {
        panic!("nobody asks what time it is")
    }

    fn sleep_until(&self, deadline: MonotonicNs) -> LocalBoxFuture<()> {
        let clock = Self(Rc::clone(&self.0));
        Box::pin(async move {
            while clock.now() < deadline {
                clock.0.time_ms.set(clock.0.time_ms.get() + 1);
                thalweg::io::yield_now().await;
            }
        })
    }
}

/// What a connector does not need.
struct Closed;

impl Spawner for Closed {
    fn spawn(&self, _class: TaskClass, name: &str, _future: LocalBoxFuture<()>) {
        panic!("no task here: {name}")
    }
}

impl Net for Closed {
    fn listen(&self, _address: std::net::SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        panic!("no network here")
    }

    fn connect(&self, _address: std::net::SocketAddr) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>), IoError>> {
        panic!("no network here")
    }
}
