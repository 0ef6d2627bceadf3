//! The door to the network: the engine's traits, and how long each call waits.

use super::connection::{Readable, Side, Writable};
use super::{ConnectionKey, Network};
use crate::clock::sleep_until;
use crate::process::Process;
use crate::rng::Draw;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::{Buffer, IoError, Listener, LocalBoxFuture, Net, NetRead, NetWrite, yield_now};

type Halves = (Box<dyn NetRead>, Box<dyn NetWrite>);

/// A core's access to the network.
pub(crate) struct SimNet {
    process: Rc<Process>,
}

impl SimNet {
    pub(crate) fn new(process: Rc<Process>) -> Self {
        Self { process }
    }
}

fn halves(process: &Rc<Process>, connection: ConnectionKey, side: Side) -> Halves {
    let end = || Half { process: Rc::clone(process), connection, side };
    (Box::new(Reader(end())), Box::new(Writer(end())))
}

impl Net for SimNet {
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        let process = Rc::clone(&self.process);
        Box::pin(async move {
            process.unless_gone().await;
            let listening = process.around.network.listen(&process, address);
            let address = listening.map_err(|error| IoError::new("listen at", address, error))?;
            Ok(Box::new(SimListener { process, address }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<Halves, IoError>> {
        let process = Rc::clone(&self.process);
        Box::pin(async move {
            process.unless_gone().await;
            let connected = super::connect(&process, address).await;
            let connection = connected.map_err(|error| IoError::new("connect to", address, error))?;
            Ok(halves(&process, connection, 0))
        })
    }
}

struct SimListener {
    process: Rc<Process>,
    address: SocketAddr,
}

impl Listener for SimListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr), IoError>> {
        let (process, address) = (Rc::clone(&self.process), self.address);
        Box::pin(async move {
            process.note_operation("net.accept", &address.to_string());
            let accepted = poll_fn(|cx| {
                if process.is_gone() {
                    return Poll::Pending;
                }
                process.around.network.poll_accept(process.setup.machine, address, cx)
            })
            .await;
            // A call that outlives its listener finds nothing, like one on a closed descriptor.
            let (connection, caller) = accepted.ok_or_else(|| IoError::new("accept at", address, io::ErrorKind::NotConnected.into()))?;
            let (read, write) = halves(&process, connection, 1);
            Ok((read, write, caller))
        })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if !self.process.is_gone() {
            self.process.around.network.close_listener(self.process.setup.machine, self.address);
        }
    }
}

/// What the two halves of an end have in common.
#[derive(Clone)]
struct Half {
    process: Rc<Process>,
    connection: ConnectionKey,
    side: Side,
}

impl Half {
    fn network(&self) -> &Rc<Network> {
        &self.process.around.network
    }

    /// Polls `look` whenever the connection changes and at the times it asks for.
    async fn wait<T>(&self, mut look: impl FnMut(&mut Context<'_>) -> Result<T, Option<u64>>) -> T {
        // The time that is waited for, which may change before it comes.
        let mut alarm: Option<(u64, LocalBoxFuture<()>)> = None;
        poll_fn(|cx| {
            loop {
                if self.process.is_gone() {
                    return Poll::Pending;
                }
                let at_ns = match look(cx) {
                    Ok(found) => return Poll::Ready(found),
                    Err(None) => {
                        alarm = None;
                        return Poll::Pending;
                    }
                    Err(Some(at_ns)) => at_ns,
                };
                if alarm.as_ref().is_none_or(|(set_ns, _)| *set_ns != at_ns) {
                    let tasks = Rc::clone(&self.process.tasks);
                    alarm = Some((at_ns, Box::pin(async move { sleep_until(&tasks, at_ns).await })));
                }
                let Some((_, sleep)) = &mut alarm else { return Poll::Pending };
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                alarm = None;
            }
        })
        .await
    }
}

impl Half {
    /// Writes all of `bytes`, piece by piece as there is room.
    async fn send(&self, bytes: &[u8]) -> Result<(), IoError> {
        let (network, side) = (self.network(), self.side);
        let mut written = 0;
        while written < bytes.len() {
            let pushed = self.wait(|cx| {
                let now_ns = self.process.tasks.now_ns();
                let state = &mut *network.state.borrow_mut();
                let Some(connection) = state.connections.get_mut(&self.connection) else { return Err(None) };
                match connection.writable(side, now_ns) {
                    Writable::Room(room) => {
                        let mut len = room.min(bytes.len() - written);
                        if len > 1 && state.part_stream.chance(network.config.short_write_per_mille) {
                            len = state.part_stream.between(1, len as u64 - 1) as usize;
                            state.schedule.tally("net: short write");
                        }
                        connection.push(&mut state.wire, side, &bytes[written..written + len], now_ns);
                        Ok(Ok(len))
                    }
                    Writable::Broken(kind) => Ok(Err(IoError::new("write to", "a connection", kind.into()))),
                    Writable::Wait(at_ns) => {
                        connection.pipes[side].writer = Some(cx.waker().clone());
                        Err(at_ns)
                    }
                }
            });
            let before = written;
            written += pushed.await?;
            if written < bytes.len() && before < written && network.config.short_write_per_mille > 0 {
                // Others may see, or take away, what has been written so far.
                yield_now().await;
            }
        }
        Ok(())
    }
}

struct Reader(Half);

impl NetRead for Reader {
    fn read_more(&mut self, mut buffer: Buffer, upto: usize) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let half = self.0.clone();
        Box::pin(async move {
            let (network, side) = (Rc::clone(half.network()), half.side);
            half.process.note_operation("net.read", "");
            let found = half.wait(|cx| {
                let state = &mut *network.state.borrow_mut();
                let Some(connection) = state.connections.get_mut(&half.connection) else { return Err(None) };
                match connection.readable(side, half.process.tasks.now_ns()) {
                    Readable::Bytes(arrived) => Ok(Ok(arrived)),
                    Readable::End => Ok(Ok(0)),
                    Readable::Reset => Ok(Err(IoError::new("read from", "a connection", io::ErrorKind::ConnectionReset.into()))),
                    Readable::Wait(at_ns) => {
                        connection.pipes[1 - side].reader = Some(cx.waker().clone());
                        Err(at_ns)
                    }
                }
            });
            let arrived = found.await?;
            if arrived > 0 {
                let state = &mut *network.state.borrow_mut();
                let mut len = arrived.min(upto - buffer.len());
                if len > 1 && state.part_stream.chance(network.config.short_read_per_mille) {
                    len = state.part_stream.between(1, len as u64 - 1) as usize;
                    state.schedule.tally("net: short read");
                }
                if let Some(connection) = state.connections.get_mut(&half.connection) {
                    connection.take(&state.wire, side, len, &mut buffer);
                }
            }
            Ok(buffer)
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Half { process, connection, side } = &self.0;
        if !process.is_gone() {
            process.around.network.close_half(*connection, |wire, connection, now_ns| connection.close_read(wire, *side, now_ns));
        }
    }
}

struct Writer(Half);

impl NetWrite for Writer {
    fn write_all(&mut self, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let half = self.0.clone();
        Box::pin(async move {
            half.process.unless_gone().await;
            let (network, side) = (Rc::clone(half.network()), half.side);
            half.process.note_operation("net.write", "");
            let blow = network.strike_write(&half.process, half.connection, side, buffer.len());
            if let Some(bit) = blow.flip {
                buffer[bit / 8] ^= 1 << (bit % 8);
            }
            // What a reset lets through.
            let most = blow.reset_after.unwrap_or(buffer.len());
            half.send(&buffer[..most]).await?;
            // While the link is cut nobody hears of a reset: then there is none, and no byte is missing.
            if blow.reset_after.is_some() && !network.reset(half.connection) {
                half.send(&buffer[most..]).await?;
            }
            if let Some(bit) = blow.flip {
                buffer[bit / 8] ^= 1 << (bit % 8);
            }
            Ok(buffer)
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Half { process, connection, side } = &self.0;
        if !process.is_gone() {
            process.around.network.close_half(*connection, |wire, connection, now_ns| connection.close_write(wire, *side, now_ns));
        }
    }
}
