//! A network inside the process: connections as pairs of bounded pipes, with latency and short reads.
//!
//! Like TCP it delivers bytes in order or not at all, keeps no boundaries between writes, and pushes back: a writer waits while the peer does
//! not read. Dropping a sending half ends the stream after what was written; dropping a receiving half makes further writes fail. It lasts for
//! one run. Resets, partitions and half-open connections are not here yet.

use crate::clock::sleep_until;
use crate::config::NetConfig;
use crate::rng::Draw;
use crate::tasks::Tasks;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use thalweg_io::{Buffer, IoError, Listener, LocalBoxFuture, Net, NetRead, NetWrite, SplitMix, yield_now};

/// Connections that wait to be accepted, at most; then further ones are refused. Linux's default is larger, a test's patience is not.
const BACKLOG: usize = 128;

/// Where free ports begin, as on Linux.
const FREE_PORT_FIRST: u16 = 32_768;

/// Buffers below this many bytes come without latency.
const LATENCY_BUFFER_BYTES_MIN: usize = 1024;

type Halves = (Box<dyn NetRead>, Box<dyn NetWrite>);

/// The network of one run.
pub(crate) struct Network {
    tasks: Rc<Tasks>,
    config: NetConfig,
    state: RefCell<State>,
}

struct State {
    stream: SplitMix,
    listeners: BTreeMap<SocketAddr, Queue>,
    connects: u64,
}

/// What waits at a listener.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Halves, SocketAddr)>,
    acceptor: Option<Waker>,
}

impl Network {
    pub(crate) fn new(seed: u64, config: NetConfig, tasks: Rc<Tasks>) -> Rc<Self> {
        let state = State { stream: SplitMix::stream(seed, "net"), listeners: BTreeMap::new(), connects: 0 };
        Rc::new(Self { tasks, config, state: RefCell::new(state) })
    }

    /// Drops the connections that nobody accepted.
    pub(crate) fn tear_down(&self) {
        let listeners = std::mem::take(&mut self.state.borrow_mut().listeners);
        drop(listeners);
    }

    fn listen(self: &Rc<Self>, mut address: SocketAddr) -> io::Result<SimListener> {
        let state = &mut *self.state.borrow_mut();
        if address.port() == 0 {
            let port = state.free_port(address.ip());
            address.set_port(port);
        }
        if state.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listeners.insert(address, Queue::default());
        self.tasks.note("net.listen", &address.to_string(), [0; 3]);
        Ok(SimListener { network: Rc::clone(self), address })
    }

    /// A latency in nanoseconds.
    fn latency_ns(&self) -> u64 {
        match self.config.latency_ms_max {
            0 => 0,
            max => self.state.borrow_mut().stream.between(0, max * 1_000_000),
        }
    }

    async fn connect(self: Rc<Self>, address: SocketAddr) -> io::Result<Halves> {
        self.tasks.unless_stopped().await;
        let number = {
            let mut state = self.state.borrow_mut();
            state.connects += 1;
            state.connects - 1
        };
        self.tasks.note_operation("net.connect", &address.to_string());
        self.tasks.note("net.connect", &address.to_string(), [number as i64, 0, 0]);
        yield_now().await;
        sleep_until(&self.tasks, self.tasks.now_ns() + self.latency_ns()).await;
        self.tasks.unless_stopped().await;
        if self.config.refused_connects.contains(&number) {
            self.tasks.note("net.refused", &address.to_string(), [number as i64, 0, 0]);
            self.tasks.count(|stats| stats.net_refusals += 1);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (there, here) = (self.pipe(), self.pipe());
        let waker = {
            let state = &mut *self.state.borrow_mut();
            let caller = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), state.free_port(address.ip()));
            let queue = state.listener_for(address).filter(|queue| queue.waiting.len() < BACKLOG);
            let Some(queue) = queue else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            queue.waiting.push_back((halves(&self, &there, &here), caller));
            queue.acceptor.take()
        };
        waker.into_iter().for_each(Waker::wake);
        Ok(halves(&self, &here, &there))
    }

    fn pipe(&self) -> Rc<RefCell<Pipe>> {
        let capacity = self.state.borrow_mut().stream.pick(&self.config.buffer_bytes).max(1);
        let pipe =
            Pipe { capacity, bytes: VecDeque::new(), pieces: VecDeque::new(), ended: false, abandoned: false, reader: None, writer: None };
        Rc::new(RefCell::new(pipe))
    }
}

impl State {
    fn free_port(&mut self, ip: IpAddr) -> u16 {
        loop {
            let port = self.stream.between(FREE_PORT_FIRST.into(), u16::MAX.into()) as u16;
            if !self.listeners.contains_key(&SocketAddr::new(ip, port)) {
                return port;
            }
        }
    }

    /// The listener at `address`, or one that listens at this port on every address.
    fn listener_for(&mut self, address: SocketAddr) -> Option<&mut Queue> {
        let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        let at = if self.listeners.contains_key(&address) { address } else { everywhere };
        self.listeners.get_mut(&at)
    }
}

fn halves(network: &Rc<Network>, from: &Rc<RefCell<Pipe>>, to: &Rc<RefCell<Pipe>>) -> Halves {
    let read = Reader { network: Rc::clone(network), pipe: Rc::clone(from) };
    let write = Writer { network: Rc::clone(network), pipe: Rc::clone(to) };
    (Box::new(read), Box::new(write))
}

/// A core's access to the network.
pub(crate) struct SimNet {
    network: Rc<Network>,
}

impl SimNet {
    pub(crate) fn new(network: Rc<Network>) -> Self {
        Self { network }
    }
}

impl Net for SimNet {
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        let network = Rc::clone(&self.network);
        Box::pin(async move {
            network.tasks.unless_stopped().await;
            let listener = network.listen(address).map_err(|error| IoError::new("listen at", address, error))?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<Halves, IoError>> {
        let network = Rc::clone(&self.network);
        Box::pin(async move { network.connect(address).await.map_err(|error| IoError::new("connect to", address, error)) })
    }
}

struct SimListener {
    network: Rc<Network>,
    address: SocketAddr,
}

impl Listener for SimListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr), IoError>> {
        let (network, address) = (Rc::clone(&self.network), self.address);
        Box::pin(async move {
            network.tasks.note_operation("net.accept", &address.to_string());
            let accepted = poll_fn(|cx| {
                if network.tasks.is_stopped() {
                    return Poll::Pending;
                }
                let state = &mut *network.state.borrow_mut();
                // A call that outlives its listener finds nothing, like one on a closed descriptor.
                let Some(queue) = state.listeners.get_mut(&address) else { return Poll::Ready(None) };
                if let Some(connection) = queue.waiting.pop_front() {
                    return Poll::Ready(Some(connection));
                }
                queue.acceptor = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            let ((read, write), caller) = accepted.ok_or_else(|| IoError::new("accept at", address, io::ErrorKind::NotConnected.into()))?;
            Ok((read, write, caller))
        })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if self.network.tasks.is_stopped() {
            return;
        }
        let queue = self.network.state.borrow_mut().listeners.remove(&self.address);
        if let Some(acceptor) = queue.and_then(|mut queue| queue.acceptor.take()) {
            acceptor.wake();
        }
    }
}

/// One direction of a connection.
struct Pipe {
    capacity: usize,
    bytes: VecDeque<u8>,
    /// When the bytes arrive: time and length of each piece, in order.
    pieces: VecDeque<(u64, usize)>,
    /// The sending half is gone.
    ended: bool,
    /// The receiving half is gone.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a reader finds.
enum Found {
    Now(usize),
    At(u64),
    End,
    Nothing,
}

impl Pipe {
    fn find(&self, now_ns: u64) -> Found {
        let arrived: usize = self.pieces.iter().take_while(|(at_ns, _)| *at_ns <= now_ns).map(|(_, len)| len).sum();
        match self.pieces.front() {
            Some(_) if arrived > 0 => Found::Now(arrived),
            Some((at_ns, _)) => Found::At(*at_ns),
            None if self.ended => Found::End,
            None => Found::Nothing,
        }
    }

    /// Takes the first `len` bytes out, behind what `buffer` holds.
    fn take(&mut self, len: usize, buffer: &mut Buffer) {
        let (front, back) = self.bytes.as_slices();
        let from_front = len.min(front.len());
        buffer.extend_from_slice(&front[..from_front]);
        buffer.extend_from_slice(&back[..len - from_front]);
        self.bytes.drain(..len);
        let mut left = len;
        while let Some((_, piece)) = self.pieces.front_mut().filter(|_| left > 0) {
            let taken = left.min(*piece);
            *piece -= taken;
            left -= taken;
            if *piece == 0 {
                self.pieces.pop_front();
            }
        }
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}

struct Reader {
    network: Rc<Network>,
    pipe: Rc<RefCell<Pipe>>,
}

impl NetRead for Reader {
    fn read_more(&mut self, mut buffer: Buffer, upto: usize) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let (network, pipe) = (Rc::clone(&self.network), Rc::clone(&self.pipe));
        Box::pin(async move {
            network.tasks.note_operation("net.read", "");
            loop {
                let found = poll_fn(|cx| {
                    if network.tasks.is_stopped() {
                        return Poll::Pending;
                    }
                    let mut pipe = pipe.borrow_mut();
                    match pipe.find(network.tasks.now_ns()) {
                        Found::Nothing => {
                            pipe.reader = Some(cx.waker().clone());
                            Poll::Pending
                        }
                        found => Poll::Ready(found),
                    }
                })
                .await;
                match found {
                    Found::Now(arrived) => {
                        let mut len = arrived.min(upto - buffer.len());
                        let stream = &mut network.state.borrow_mut().stream;
                        if len > 1 && stream.chance(network.config.short_read_per_mille) {
                            len = stream.between(1, len as u64 - 1) as usize;
                        }
                        pipe.borrow_mut().take(len, &mut buffer);
                        return Ok(buffer);
                    }
                    Found::At(at_ns) => sleep_until(&network.tasks, at_ns).await,
                    Found::End | Found::Nothing => return Ok(buffer),
                }
            }
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.network.tasks.is_stopped() {
            return;
        }
        let mut pipe = self.pipe.borrow_mut();
        pipe.abandoned = true;
        pipe.writer.take().into_iter().for_each(Waker::wake);
    }
}

struct Writer {
    network: Rc<Network>,
    pipe: Rc<RefCell<Pipe>>,
}

impl NetWrite for Writer {
    fn write_all(&mut self, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let (network, pipe) = (Rc::clone(&self.network), Rc::clone(&self.pipe));
        Box::pin(async move {
            network.tasks.note_operation("net.write", "");
            let mut written = 0;
            while written < buffer.len() {
                let pushed = poll_fn(|cx| {
                    if network.tasks.is_stopped() {
                        return Poll::Pending;
                    }
                    let latency_ns = if pipe.borrow().capacity < LATENCY_BUFFER_BYTES_MIN { 0 } else { network.latency_ns() };
                    let mut pipe = pipe.borrow_mut();
                    if pipe.abandoned {
                        return Poll::Ready(Err(IoError::new("write to", "a connection", io::ErrorKind::BrokenPipe.into())));
                    }
                    let len = (buffer.len() - written).min(pipe.capacity - pipe.bytes.len());
                    if len == 0 {
                        pipe.writer = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    pipe.bytes.extend(&buffer[written..written + len]);
                    let after_the_last = pipe.pieces.back().map_or(0, |(at_ns, _)| *at_ns);
                    let arrival_ns = after_the_last.max(network.tasks.now_ns() + latency_ns);
                    pipe.pieces.push_back((arrival_ns, len));
                    pipe.reader.take().into_iter().for_each(Waker::wake);
                    Poll::Ready(Ok(len))
                })
                .await?;
                written += pushed;
            }
            Ok(buffer)
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.network.tasks.is_stopped() {
            return;
        }
        let mut pipe = self.pipe.borrow_mut();
        pipe.ended = true;
        pipe.reader.take().into_iter().for_each(Waker::wake);
    }
}
