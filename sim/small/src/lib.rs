//! A small world for the tests of connections: virtual time, and streams between ends in one thread. Everything that can happen happens at once, in one
//! order; there are no files and no faults.

use core::net::SocketAddr;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;
use thalweg_io::{
    Buffer, Clock, DirEntry, Disk, EntryKind, File, Io, IoError, IoParts, Listener, LocalBoxFuture, MonotonicNs, Net, NetRead, NetWrite,
    OpenMode, ProcessIdentity, Spawner, SplitMix, TaskClass, UnixMillis,
};

/// What is read from and what is written to, of one end of a stream.
pub type Halves = (Box<dyn NetRead>, Box<dyn NetWrite>);

#[derive(Default)]
struct State {
    now: Cell<u64>,
    deadlines: RefCell<Vec<u64>>,
    spawned: RefCell<Vec<LocalBoxFuture<()>>>,
    doors: RefCell<BTreeMap<SocketAddr, VecDeque<Halves>>>,
    /// Where callers seem to be, if not where they call.
    callers: Cell<Option<SocketAddr>>,
}

/// Clones are the same world.
#[derive(Clone, Default)]
pub struct World {
    state: Rc<State>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    /// The door to it.
    pub fn io(&self) -> Io {
        let door = Rc::new(self.clone());
        Io::new(IoParts {
            clock: door.clone(),
            spawner: door.clone(),
            disk: door.clone(),
            net: door,
            rng: Rc::new(|name| Box::new(SplitMix::stream(1, name))),
            process: Rc::new(ProcessIdentity { host: "here".to_owned(), pid: 1, started: UnixMillis(0) }),
            probe: None,
            spin_limit: 0,
        })
    }

    /// The time since it began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.state.now.get())
    }

    /// Runs everything until `future` is done. Time passes only when nothing else can happen.
    ///
    /// # Panics
    /// If nothing will ever happen again.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        let mut tasks: Vec<LocalBoxFuture<()>> = Vec::new();
        loop {
            while woken.0.swap(false, Ordering::Relaxed) {
                self.state.deadlines.borrow_mut().clear();
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    self.state.spawned.borrow_mut().extend(tasks);
                    return output;
                }
                tasks.append(&mut self.state.spawned.borrow_mut());
                tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
                if !self.state.spawned.borrow().is_empty() {
                    woken.0.store(true, Ordering::Relaxed);
                }
            }
            let next = self.state.deadlines.borrow().iter().copied().min();
            self.state.now.set(next.expect("nothing will ever happen again").max(self.state.now.get()));
            woken.0.store(true, Ordering::Relaxed);
        }
    }

    /// Lets callers be elsewhere from now on.
    pub fn set_callers(&self, address: SocketAddr) {
        self.state.callers.set(Some(address));
    }

    /// Lets so much time pass.
    pub fn sleep(&self, duration: Duration) {
        self.run(self.sleep_until(self.io().clock().now().after(duration)));
    }

    /// Two ends of a stream; each direction holds `capacity` bytes and gives at most `chunk` at a time.
    pub fn pair(&self, capacity: usize, chunk: usize) -> (Halves, Halves) {
        let pipe = || Rc::new(RefCell::new(Pipe { capacity, chunk, ..Pipe::default() }));
        let (there, back) = (pipe(), pipe());
        let end = |read: &Rc<RefCell<Pipe>>, write: &Rc<RefCell<Pipe>>| -> Halves {
            (Box::new(ReadEnd(Rc::clone(read))), Box::new(WriteEnd(Rc::clone(write))))
        };
        (end(&back, &there), end(&there, &back))
    }
}

impl Clock for World {
    fn now(&self) -> MonotonicNs {
        MonotonicNs(self.state.now.get())
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(0)
    }

    fn sleep_until(&self, deadline: MonotonicNs) -> LocalBoxFuture<()> {
        let state = Rc::clone(&self.state);
        Box::pin(std::future::poll_fn(move |_| {
            if state.now.get() >= deadline.0 {
                return Poll::Ready(());
            }
            state.deadlines.borrow_mut().push(deadline.0);
            Poll::Pending
        }))
    }
}

impl Spawner for World {
    fn spawn(&self, _class: TaskClass, _name: &str, future: LocalBoxFuture<()>) {
        self.state.spawned.borrow_mut().push(future);
    }
}

impl Net for World {
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        self.state.doors.borrow_mut().insert(address, VecDeque::new());
        let door = Door { address, state: Rc::clone(&self.state) };
        Box::pin(async move { Ok(Box::new(door) as Box<dyn Listener>) })
    }

    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<Halves, IoError>> {
        let (caller, acceptor) = self.pair(1 << 16, 1 << 16);
        let state = Rc::clone(&self.state);
        Box::pin(async move {
            match state.doors.borrow_mut().get_mut(&address) {
                Some(door) => door.push_back(acceptor),
                None => return Err(IoError::new("connect to", address, std::io::ErrorKind::ConnectionRefused.into())),
            }
            // Whoever accepts is polled again.
            thalweg_io::yield_now().await;
            Ok(caller)
        })
    }
}

struct Door {
    address: SocketAddr,
    state: Rc<State>,
}

impl Listener for Door {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr), IoError>> {
        let (state, address) = (Rc::clone(&self.state), self.address);
        Box::pin(std::future::poll_fn(move |_| {
            let called = state.doors.borrow_mut().get_mut(&address).and_then(VecDeque::pop_front);
            let from = state.callers.get().unwrap_or(address);
            called.map_or(Poll::Pending, |(read, write)| Poll::Ready(Ok((read, write, from))))
        }))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.state.doors.borrow_mut().remove(&self.address);
    }
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    chunk: usize,
    is_ended: bool,
    has_reader_gone: bool,
    waker: Option<std::task::Waker>,
}

impl Pipe {
    fn changed(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct ReadEnd(Rc<RefCell<Pipe>>);
struct WriteEnd(Rc<RefCell<Pipe>>);

impl NetRead for ReadEnd {
    fn read_more(&mut self, buffer: Buffer, upto: usize) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let pipe = Rc::clone(&self.0);
        let mut buffer = Some(buffer);
        Box::pin(std::future::poll_fn(move |cx| {
            let mut pipe = pipe.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.is_ended {
                pipe.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let mut buffer = buffer.take().expect("it is polled until it is done");
            let count = pipe.bytes.len().min(pipe.chunk).min(upto - buffer.len());
            let taken: Vec<u8> = pipe.bytes.drain(..count).collect();
            buffer.extend_from_slice(&taken);
            pipe.changed();
            Poll::Ready(Ok(buffer))
        }))
    }
}

impl NetWrite for WriteEnd {
    fn write_all(&mut self, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let pipe = Rc::clone(&self.0);
        let mut written = 0;
        let mut buffer = Some(buffer);
        Box::pin(std::future::poll_fn(move |cx| {
            let mut pipe = pipe.borrow_mut();
            if pipe.has_reader_gone {
                return Poll::Ready(Err(IoError::new("write to", "the other end", std::io::ErrorKind::BrokenPipe.into())));
            }
            let bytes = buffer.as_ref().expect("it is polled until it is done");
            let count = (bytes.len() - written).min(pipe.capacity - pipe.bytes.len());
            pipe.bytes.extend(&bytes[written..written + count]);
            written += count;
            if count > 0 {
                pipe.changed();
            }
            if written == bytes.len() {
                return Poll::Ready(Ok(buffer.take().expect("it is polled until it is done")));
            }
            pipe.waker = Some(cx.waker().clone());
            Poll::Pending
        }))
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        pipe.has_reader_gone = true;
        pipe.changed();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        pipe.is_ended = true;
        pipe.changed();
    }
}

/// There are no files here: whoever wants one is told so.
impl Disk for World {
    fn open(&self, path: &Path, _mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        no_files("open", path)
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        no_files("list", path)
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        no_files("look at", path)
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        no_files("create directory", path)
    }

    fn rename(&self, from: &Path, _to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        no_files("rename", from)
    }

    fn link(&self, from: &Path, _to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        no_files("link", from)
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        no_files("remove", path)
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        no_files("sync directory", path)
    }
}

fn no_files<T: 'static>(operation: &'static str, path: &Path) -> LocalBoxFuture<Result<T, IoError>> {
    let error = IoError::at(operation, path, std::io::ErrorKind::Unsupported.into());
    Box::pin(std::future::ready(Err(error)))
}

/// Polls `future` once, whatever comes of it.
pub async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
