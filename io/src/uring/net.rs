//! TCP. A stream's two halves share the socket; each ends its own direction when it is dropped.
//!
//! A listener leaves a share of the descriptors to everything else: a crowd of callers must not keep a file from being opened.
//!
//! A read or an accept whose future was dropped is still with the kernel and may yet take bytes, or a connection, off the socket. The next read or accept
//! resumes it, so nothing is lost. (A write whose future was dropped may have sent a part; after that the stream can only be closed.)

use super::address::RawAddress;
use super::descriptor::Descriptor;
use super::open_files;
use super::raw::{Kept, Op, Request, Ring};
use crate::{Buffer, IoError, Listener, LocalBoxFuture, Net, NetRead, NetWrite};
use io_uring::opcode;
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The longest transfer: the kernel takes a length of 31 bits.
const TRANSFER_MAX_BYTES: usize = 0x7fff_f000;

type Halves = (Box<dyn NetRead>, Box<dyn NetWrite>);

/// The network of this machine.
pub(super) struct UringNet {
    ring: Rc<Ring>,
}

impl UringNet {
    pub(super) fn new(ring: Rc<Ring>) -> Self {
        Self { ring }
    }
}

impl Net for UringNet {
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        let ring = Rc::clone(&self.ring);
        Box::pin(async move {
            // Sets SO_REUSEADDR, so that a restarted process gets its port back, and waits for nothing.
            let listening = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = listening.map_err(|error| IoError::new("listen at", address, error))?;
            let descriptor = Descriptor::new(OwnedFd::from(listener), &ring);
            Ok(Box::new(UringListener { ring, descriptor, address, unfinished: Unfinished::default() }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<Halves, IoError>> {
        let ring = Rc::clone(&self.ring);
        Box::pin(async move {
            let connected = connect(&ring, address).await;
            let descriptor = connected.map_err(|error| IoError::new("connect to", address, error))?;
            Ok(split(&ring, descriptor, address))
        })
    }
}

async fn connect(ring: &Rc<Ring>, address: SocketAddr) -> io::Result<Rc<Descriptor>> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: the call takes no pointers.
    let raw = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else knows.
    let descriptor = Descriptor::new(unsafe { OwnedFd::from_raw_fd(raw) }, ring);
    let target = RawAddress::of(address);
    let entry = opcode::Connect::new(descriptor.target(), (&raw const target.storage).cast(), target.len).build();
    let request = Request { descriptor: Some(Rc::clone(&descriptor)), kept: Kept::Address(target), opens: false };
    // SAFETY: the entry points at the address's heap memory, which the request owns.
    unsafe { ring.start(entry, request) }.await.0?;
    Ok(descriptor)
}

/// The options of a connection: level, option, value. A socket that refuses an option works all the same.
const OPTIONS: [(libc::c_int, libc::c_int, libc::c_int); 6] = [
    // Frames are written whole: waiting for more bytes gains nothing.
    (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
    // A connection whose other end has forgotten it, or cannot be reached any more, fails within half a minute, whether data is under way or not.
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 30_000),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 10),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 5),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3),
];

fn split(ring: &Rc<Ring>, descriptor: Rc<Descriptor>, peer: SocketAddr) -> Halves {
    for (level, option, value) in OPTIONS {
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a live integer.
        unsafe { libc::setsockopt(descriptor.raw(), level, option, (&raw const value).cast(), len) };
    }
    let read = UringRead {
        ring: Rc::clone(ring),
        descriptor: Rc::clone(&descriptor),
        peer,
        unfinished: Unfinished::default(),
        leftover: Rc::default(),
    };
    (Box::new(read), Box::new(UringWrite { ring: Rc::clone(ring), descriptor, peer }))
}

/// Operations whose futures were dropped; the next future of the same kind takes over one of them.
#[derive(Clone, Default)]
struct Unfinished(Rc<RefCell<Vec<Op>>>);

impl Unfinished {
    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// An unfinished operation, or a new one.
    fn resume_or(&self, start: impl FnOnce() -> Op) -> Resumable {
        let op = self.0.borrow_mut().pop();
        Resumable { op: Some(op.unwrap_or_else(start)), unfinished: self.clone() }
    }
}

/// An operation that is put back when it is dropped before its end.
struct Resumable {
    op: Option<Op>,
    unfinished: Unfinished,
}

impl Future for Resumable {
    type Output = <Op as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(op) = &mut self.op else { return Poll::Pending };
        let result = Pin::new(op).poll(cx);
        if result.is_ready() {
            self.op = None;
        }
        result
    }
}

impl Drop for Resumable {
    fn drop(&mut self) {
        self.unfinished.0.borrow_mut().extend(self.op.take());
    }
}

struct UringListener {
    ring: Rc<Ring>,
    descriptor: Rc<Descriptor>,
    address: SocketAddr,
    unfinished: Unfinished,
}

fn start_accept(ring: &Rc<Ring>, descriptor: &Rc<Descriptor>) -> Op {
    let mut peer = RawAddress::empty();
    let entry =
        opcode::Accept::new(descriptor.target(), (&raw mut peer.storage).cast(), &raw mut peer.len).flags(libc::SOCK_CLOEXEC).build();
    let request = Request { descriptor: Some(Rc::clone(descriptor)), kept: Kept::Address(peer), opens: true };
    // SAFETY: the entry points at the address's heap memory, which the request owns.
    unsafe { ring.start(entry, request) }
}

impl Listener for UringListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr), IoError>> {
        let (ring, descriptor, address) = (Rc::clone(&self.ring), Rc::clone(&self.descriptor), self.address);
        let unfinished = self.unfinished.clone();
        Box::pin(async move {
            loop {
                let (result, kept) = unfinished.resume_or(|| start_accept(&ring, &descriptor)).await;
                let Kept::Address(peer) = kept else { unreachable!("invariant: an accept keeps the address it fills in") };
                match result {
                    Ok(fd) => {
                        let accepted = Descriptor::opened(fd, &ring);
                        // A caller can wait, but opening a checkpoint's file cannot.
                        open_files::leave_room(accepted.raw()).map_err(|error| IoError::new("accept at", address, error))?;
                        let peer = peer.decode().map_err(|error| IoError::new("accept at", address, error))?;
                        let (read, write) = split(&ring, accepted, peer);
                        return Ok((read, write, peer));
                    }
                    // The caller hung up before it was accepted, or a signal arrived: not the end of this listener.
                    Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                    Err(error) => return Err(IoError::new("accept at", address, error)),
                }
            }
        })
    }
}

impl Drop for UringListener {
    fn drop(&mut self) {
        // An accept under way holds the socket open: this ends it, and closes the socket now.
        shut(&self.descriptor, libc::SHUT_RDWR);
    }
}

struct UringRead {
    ring: Rc<Ring>,
    descriptor: Rc<Descriptor>,
    peer: SocketAddr,
    unfinished: Unfinished,
    /// The buffer that an abandoned read has filled, and how much of it has been handed out.
    leftover: Rc<RefCell<(Buffer, usize)>>,
}

impl NetRead for UringRead {
    fn read_more(&mut self, mut buffer: Buffer, upto: usize) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let (ring, descriptor, peer) = (Rc::clone(&self.ring), Rc::clone(&self.descriptor), self.peer);
        let (unfinished, leftover) = (self.unfinished.clone(), Rc::clone(&self.leftover));
        Box::pin(async move {
            let fail = |error| IoError::new("read from", peer, error);
            if upto <= buffer.len() {
                return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "the buffer has no room")));
            }
            loop {
                if append_leftover(&leftover, &mut buffer, upto) {
                    return Ok(buffer);
                }
                if unfinished.is_empty() {
                    let (old, room) = (buffer.len(), (upto - buffer.len()).min(TRANSFER_MAX_BYTES));
                    buffer.reserve_total(upto);
                    // SAFETY: the buffer has room for `upto` bytes, so its filled part ends within its memory.
                    let target = unsafe { buffer.as_mut_ptr().add(old) };
                    let entry = opcode::Recv::new(descriptor.target(), target, room as u32).build();
                    let request = Request { descriptor: Some(Rc::clone(&descriptor)), kept: Kept::Buffer(buffer), opens: false };
                    // SAFETY: the entry points at `room` bytes behind the buffer's filled part, and the request owns the buffer.
                    let (result, kept) = unfinished.resume_or(|| unsafe { ring.start(entry, request) }).await;
                    let Kept::Buffer(returned) = kept else { unreachable!("invariant: a read keeps its buffer") };
                    buffer = returned;
                    match result {
                        Ok(count) => {
                            // SAFETY: the kernel has written that many bytes behind the buffer's filled part.
                            unsafe { buffer.set_len(old + count as usize) };
                            return Ok(buffer);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(fail(error)),
                    }
                }
                // An abandoned read has been filling a buffer of its own.
                let (result, kept) = unfinished.resume_or(|| unreachable!("invariant: one is unfinished")).await;
                let Kept::Buffer(mut returned) = kept else { unreachable!("invariant: a read keeps its buffer") };
                match result {
                    Ok(0) => return Ok(buffer),
                    Ok(count) => {
                        let old = returned.len();
                        // SAFETY: the kernel has written that many bytes behind the buffer's filled part.
                        unsafe { returned.set_len(old + count as usize) };
                        *leftover.borrow_mut() = (returned, old);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(fail(error)),
                }
            }
        })
    }
}

/// Moves as much as there is room for from the abandoned read's buffer. `false` if nothing is left of it.
fn append_leftover(leftover: &RefCell<(Buffer, usize)>, buffer: &mut Buffer, upto: usize) -> bool {
    let (bytes, taken) = &mut *leftover.borrow_mut();
    let len = (bytes.len() - *taken).min(upto - buffer.len());
    buffer.extend_from_slice(&bytes[*taken..*taken + len]);
    *taken += len;
    if *taken == bytes.len() {
        (*bytes, *taken) = (Buffer::default(), 0);
    }
    len > 0
}

impl Drop for UringRead {
    fn drop(&mut self) {
        // Ends a read under way, which would hold the socket open. The peer does not notice.
        shut(&self.descriptor, libc::SHUT_RD);
    }
}

struct UringWrite {
    ring: Rc<Ring>,
    descriptor: Rc<Descriptor>,
    peer: SocketAddr,
}

impl NetWrite for UringWrite {
    fn write_all(&mut self, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let (ring, descriptor, peer) = (Rc::clone(&self.ring), Rc::clone(&self.descriptor), self.peer);
        Box::pin(async move {
            let fail = |error| IoError::new("write to", peer, error);
            let mut sent = 0;
            while sent < buffer.len() {
                let part = (buffer.len() - sent).min(TRANSFER_MAX_BYTES);
                // SAFETY: `sent` is less than the length, so the pointer stays within the buffer.
                let source = unsafe { buffer.as_mut_ptr().add(sent) };
                let entry = opcode::Send::new(descriptor.target(), source, part as u32).flags(libc::MSG_NOSIGNAL).build();
                let request = Request { descriptor: Some(Rc::clone(&descriptor)), kept: Kept::Buffer(buffer), opens: false };
                // SAFETY: the entry points at `part` bytes within the buffer, which the request owns.
                let (result, kept) = unsafe { ring.start(entry, request) }.await;
                let Kept::Buffer(returned) = kept else { unreachable!("invariant: a write keeps its buffer") };
                buffer = returned;
                match result {
                    Ok(count) => sent += count as usize,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(fail(error)),
                }
            }
            Ok(buffer)
        })
    }
}

impl Drop for UringWrite {
    fn drop(&mut self) {
        // The peer sees the end after the bytes already written.
        shut(&self.descriptor, libc::SHUT_WR);
    }
}

/// Ends one direction of a socket, or both. Fails if the peer has ended it already, which does not matter.
fn shut(descriptor: &Descriptor, how: libc::c_int) {
    // SAFETY: the call takes no pointers.
    unsafe { libc::shutdown(descriptor.raw(), how) };
}
