//! A disk in memory that can be full, fail and lose what was not synced, at the n-th operation.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg_io::{
    Buffer, DirEntry, Disk, EntryKind, File, FileLock, IoError, LocalBoxFuture, OpenMode, ReadRequest, Rng, SplitMix, WriteError,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What happens to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room; an operation that needs none is not affected.
    Full,
    /// It fails and has done nothing; a sync has lost what it should have kept.
    Error,
    /// It fails although it was done.
    ErrorAfter,
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it, and never learns.
    CrashAfter,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Nothing is lost: only the process died.
    Nothing,
    /// All of it.
    Everything,
    /// Each name and each content has a fate of its own.
    Some(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    doomed: bool,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    yields: bool,
    /// A name that the next listing passes over.
    passed_over: Option<PathBuf>,
}

/// Handles share one disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Rc<RefCell<State>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Room,
    Nothing,
}

fn os(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl MemoryDisk {
    /// A disk with the folder `/`.
    pub fn new() -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().now.insert("/".into(), Node::Folder);
        disk.0.borrow_mut().durable.insert("/".into(), Node::Folder);
        disk
    }

    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Lets the operation `after` from now on fail.
    pub fn inject(&self, after: u64, fault: Fault) {
        let mut state = self.0.borrow_mut();
        state.fault = Some((state.operations + after, fault));
    }

    /// No more faults. Whether the last one was met.
    pub fn heal(&self) -> bool {
        let mut state = self.0.borrow_mut();
        let operations = state.operations;
        state.fault.take().is_some_and(|(at, _)| at < operations)
    }

    /// Each operation is pending once before it is done.
    pub fn yields(&self, yields: bool) {
        self.0.borrow_mut().yields = yields;
    }

    pub fn is_dead(&self) -> bool {
        self.0.borrow().dead
    }

    /// What a new process finds.
    pub fn restart(&self, loss: Loss) {
        let state = &mut *self.0.borrow_mut();
        (state.dead, state.fault) = (false, None);
        let mut random = match loss {
            Loss::Nothing => return,
            Loss::Everything => None,
            Loss::Some(seed) => Some(SplitMix::new(seed)),
        };
        let mut survives = || random.as_mut().is_some_and(|random| random.below(2) == 0);
        let paths: Vec<_> = state.now.keys().chain(state.durable.keys()).cloned().collect();
        for path in paths {
            let from = if survives() { &state.now } else { &state.durable };
            match from.get(&path).copied() {
                Some(node) => drop((state.now.insert(path.clone(), node), state.durable.insert(path, node))),
                None => drop((state.now.remove(&path), state.durable.remove(&path))),
            }
        }
        // What lies in a lost folder is lost.
        let kept: Vec<_> = state.now.keys().filter(|path| path.ancestors().all(|above| state.now.contains_key(above))).cloned().collect();
        state.now.retain(|path, _| kept.contains(path));
        state.durable = state.now.clone();
        for inode in &mut state.inodes {
            if inode.now != inode.durable {
                if survives() && !inode.doomed {
                    if survives() {
                        let half = inode.now.len() / 2;
                        inode.now[half..].fill(0xa5);
                    }
                } else {
                    inode.now = inode.durable.clone();
                }
                inode.durable = inode.now.clone();
            }
        }
    }

    /// The names and contents in a folder.
    pub fn files(&self, dir: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.borrow();
        let here = state.now.iter().filter(|(path, _)| path.parent() == Some(Path::new(dir)));
        let files = here.filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.file_name()?.to_str()?.to_owned(), state.inodes[*inode].now.clone())),
            Node::Folder => None,
        });
        files.collect()
    }

    /// Takes a name away, durably.
    pub fn take(&self, path: &str) {
        let state = &mut *self.0.borrow_mut();
        state.now.remove(Path::new(path)).expect("it is there");
        state.durable.remove(Path::new(path));
    }

    /// Puts a durable folder there.
    pub fn put_folder(&self, path: &str) {
        let state = &mut *self.0.borrow_mut();
        state.now.insert(path.into(), Node::Folder);
        state.durable.insert(path.into(), Node::Folder);
    }

    /// The next listing does not have the name, as if it came while that was under way.
    pub fn pass_over_once(&self, path: &str) {
        self.0.borrow_mut().passed_over = Some(path.into());
    }

    /// Puts a durable file in place of what is there.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let state = &mut *self.0.borrow_mut();
        state.inodes.push(Inode { now: bytes.to_vec(), durable: bytes.to_vec(), doomed: false });
        let node = Node::File(state.inodes.len() - 1);
        state.now.insert(path.into(), node);
        state.durable.insert(path.into(), node);
    }

    fn run<T: 'static>(
        &self,
        needs: Needs,
        operation: &'static str,
        path: &Path,
        apply: impl FnOnce(&mut State) -> io::Result<T> + 'static,
        fails: impl FnOnce(&mut State) + 'static,
    ) -> LocalBoxFuture<Result<T, IoError>> {
        let (disk, path) = (self.clone(), path.to_owned());
        let mut parts = Some((apply, fails));
        let mut has_yielded = false;
        Box::pin(poll_fn(move |_| {
            let state = &mut *disk.0.borrow_mut();
            if state.dead {
                return Poll::Pending;
            }
            if state.yields && !std::mem::replace(&mut has_yielded, true) {
                return Poll::Pending;
            }
            let (apply, fails) = parts.take().expect("polled once after completion");
            let number = state.operations;
            state.operations += 1;
            let fault = state.fault.and_then(|(at, fault)| (at == number).then_some(fault));
            let outcome = match fault {
                Some(Fault::Full) if needs == Needs::Room => Err(os(ENOSPC)),
                None | Some(Fault::Full) => apply(state),
                Some(Fault::Error) => {
                    fails(state);
                    Err(os(EIO))
                }
                Some(Fault::ErrorAfter) => apply(state).and(Err(os(EIO))),
                Some(crash) => {
                    if crash == Fault::CrashAfter {
                        let _ = apply(state);
                    }
                    state.dead = true;
                    return Poll::Pending;
                }
            };
            Poll::Ready(outcome.map_err(|error| IoError::at(operation, &path, error)))
        }))
    }
}

impl State {
    fn inode(&self, path: &Path) -> io::Result<usize> {
        match self.now.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn name(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let above = path.parent().expect("not the root");
        if self.now.get(above) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.now.insert(path.to_owned(), node);
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        let (disk, path) = (self.clone(), path.to_owned());
        let needs = if mode == OpenMode::CreateNew { Needs::Room } else { Needs::Nothing };
        let there = path.clone();
        let opens = move |state: &mut State| {
            let inode = if mode == OpenMode::CreateNew {
                state.name(&there, Node::File(state.inodes.len()))?;
                state.inodes.push(Inode::default());
                state.inodes.len() - 1
            } else {
                state.inode(&there)?
            };
            Ok(Rc::new(MemoryFile { disk, inode, path: there }) as Rc<dyn File>)
        };
        self.run(needs, "open", &path, opens, |_| {})
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        let there = path.to_owned();
        let lists = move |state: &mut State| {
            if state.now.get(&there) != Some(&Node::Folder) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let passed_over = state.passed_over.take();
            let here = state.now.iter().filter(|(path, _)| path.parent() == Some(&there) && Some(*path) != passed_over.as_ref());
            let entry = |(path, node): (&PathBuf, &Node)| DirEntry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                kind: if *node == Node::Folder { EntryKind::Directory } else { EntryKind::File },
            };
            Ok(here.map(entry).collect())
        };
        self.run(Needs::Nothing, "list", path, lists, |_| {})
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let there = path.to_owned();
        let looks = move |state: &mut State| {
            let node = state.now.get(&there);
            Ok(node.map(|node| if *node == Node::Folder { EntryKind::Directory } else { EntryKind::File }))
        };
        self.run(Needs::Nothing, "look at", path, looks, |_| {})
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let there = path.to_owned();
        let creates = move |state: &mut State| {
            for folder in there.ancestors() {
                state.now.entry(folder.to_owned()).or_insert(Node::Folder);
            }
            Ok(())
        };
        self.run(Needs::Room, "create directory", path, creates, |_| {})
    }

    fn rename(&self, _: &Path, _: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        unreachable!("nothing in a checkpoint folder is renamed")
    }

    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (from, there) = (from.to_owned(), to.to_owned());
        let links = move |state: &mut State| {
            let inode = state.inode(&from)?;
            state.name(&there, Node::File(inode))
        };
        self.run(Needs::Room, "link", to, links, |_| {})
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let there = path.to_owned();
        let unlinks = move |state: &mut State| {
            state.inode(&there)?;
            state.now.remove(&there);
            Ok(())
        };
        self.run(Needs::Nothing, "remove", path, unlinks, |_| {})
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let there = path.to_owned();
        let syncs = move |state: &mut State| {
            if state.now.get(&there) != Some(&Node::Folder) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let is_here = |path: &Path| path.parent() == Some(&there);
            state.durable.retain(|path, _| !is_here(path));
            state.durable.extend(state.now.iter().filter(|(path, _)| is_here(path)).map(|(path, node)| (path.clone(), *node)));
            Ok(())
        };
        self.run(Needs::Nothing, "sync directory", path, syncs, |_| {})
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
    path: PathBuf,
}

impl File for MemoryFile {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>> {
        let inode = self.inode;
        self.disk.run(Needs::Nothing, "look at", &self.path, move |state| Ok(state.inodes[inode].now.len() as u64), |_| {})
    }

    fn read_at(&self, offset: u64, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let inode = self.inode;
        let reads = move |state: &mut State| {
            let bytes = state.inodes[inode].now.get(offset as usize..).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(buffer.capacity())];
            buffer.clear();
            buffer.extend_from_slice(bytes);
            Ok(buffer)
        };
        self.disk.run(Needs::Nothing, "read", &self.path, reads, |_| {})
    }

    fn read_batch(&self, _: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        unreachable!("files are read whole")
    }

    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>> {
        let inode = self.inode;
        let half = Buffer::from(&buffer[..buffer.len() / 2]);
        let put = move |state: &mut State, bytes: &[u8]| {
            assert_eq!((offset, state.inodes[inode].now.len()), (0, 0), "a file is written once");
            state.inodes[inode].now = bytes.to_vec();
        };
        let writes = move |state: &mut State| {
            put(state, &buffer);
            Ok(buffer)
        };
        let writing = self.disk.run(Needs::Room, "write to", &self.path, writes, move |state| put(state, &half));
        Box::pin(async move { writing.await.map_err(WriteError::Failed) })
    }

    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        let inode = self.inode;
        let syncs = move |state: &mut State| {
            let inode = &mut state.inodes[inode];
            if !inode.doomed {
                inode.durable = inode.now.clone();
            }
            Ok(())
        };
        self.disk.run(Needs::Room, "sync", &self.path, syncs, move |state| state.inodes[inode].doomed = true)
    }

    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>> {
        unreachable!("a log is fenced by its entries, and nothing in a checkpoint folder is locked")
    }
}

/// Runs to the end, or `None` if the process died on the way.
pub fn run<T>(disk: &MemoryDisk, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if disk.is_dead() {
            return None;
        }
    }
    panic!("it does not come to an end");
}
