//! A control connection after both sides are authenticated: ordered messages both ways, heartbeats, and detection of its end.
//!
//! Reading and writing keep partial progress, so a caller may stop polling at any time. Bounds: an incoming message takes memory only as its bytes arrive,
//! up to the limit that the caller sets; outgoing messages wait in a queue, and a peer counts as dead if more than [`QUEUE_BYTES_MAX`] wait there when the
//! system takes no more. A sender with many messages asks [`Connection::is_clear`] before each, and so never has more than one of the longest messages and
//! a little more waiting. The protocol above decides how many messages there can be (at most one order for each subtask and checkpoint). A heartbeat is
//! queued only if nothing else is.

use super::codec::{self, CodecError, HEADER_BYTES, Header, MESSAGE_BYTES_MAX, TooLong};
use super::config::Heartbeat;
use super::liveness::{Liveness, LivenessInput};
use super::message::Message;
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::within;
use thalweg_io::{Buffer, Io, IoError, LocalBoxFuture, MonotonicNs, NetRead, NetWrite};

/// The most bytes that may wait to be sent: four of the longest messages.
const QUEUE_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// With more bytes than this waiting to be sent, optional messages are omitted, and others wait at their source.
const CLEAR_BYTES_MAX: usize = 1 << 20;

/// Heartbeats that are taken before the core's other tasks have their turn.
const BATCH: usize = 64;

/// The most bytes of one read: a long message is read in parts, so that a length that was only announced takes no memory.
const READ_BYTES_MAX: usize = 64 << 10;

/// The most memory kept from one message to the next, in bytes.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("the connection was closed by the other side")]
    Closed,
    #[error("no sign of life came for {0:?}")]
    Silent(Duration),
    #[error("{0} bytes wait to be sent and the other side does not read them")]
    Clogged(usize),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Io(#[from] IoError),
}

/// The reading half.
pub(crate) struct MessageReader {
    read: Box<dyn NetRead>,
    /// The bytes received of the next message; `None` while a read owns them.
    buffer: Option<Buffer>,
    reading: Option<(usize, LocalBoxFuture<Result<Buffer, IoError>>)>,
    limit: usize,
}

impl MessageReader {
    /// Reads messages with bodies of at most `limit` bytes.
    pub(crate) fn new(read: Box<dyn NetRead>, limit: usize) -> Self {
        Self { read, buffer: Some(Buffer::default()), reading: None, limit }
    }

    /// Sets the limit, from the next message on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next message; sets `heard` if any bytes have arrived. Nothing can be read after an error.
    fn poll_next(&mut self, cx: &mut Context<'_>, heard: &mut bool) -> Poll<Result<Message, ConnectionError>> {
        loop {
            if let Some((before, reading)) = &mut self.reading {
                let Poll::Ready(read) = reading.as_mut().poll(cx) else { return Poll::Pending };
                let before = *before;
                self.reading = None;
                let buffer = read?;
                if buffer.len() == before {
                    return Poll::Ready(Err(ConnectionError::Closed));
                }
                *heard = true;
                self.buffer = Some(buffer);
            }
            let Some(buffer) = self.buffer.take() else { return Poll::Ready(Err(ConnectionError::Closed)) };
            let whole = if buffer.len() < HEADER_BYTES { HEADER_BYTES } else { HEADER_BYTES + Header::decode(&buffer, self.limit)?.length };
            if buffer.len() >= HEADER_BYTES && buffer.len() == whole {
                let message = codec::decode(&buffer, self.limit)?;
                self.buffer = Some(reuse(buffer));
                return Poll::Ready(Ok(message));
            }
            let before = buffer.len();
            let upto = whole.min(before + READ_BYTES_MAX);
            self.reading = Some((before, self.read.read_more(buffer, upto)));
        }
    }

    /// Reads and discards bytes until the other side has closed.
    async fn drain(mut self) {
        let mut ended = false;
        while !ended {
            let read = match self.reading.take() {
                Some((before, reading)) => reading.await.map(|buffer| (before, buffer)),
                None => {
                    let buffer = Buffer::with_capacity(READ_BYTES_MAX);
                    self.read.read(buffer).await.map(|buffer| (0, buffer))
                }
            };
            ended = !matches!(read, Ok((before, buffer)) if buffer.len() > before);
        }
    }
}

fn reuse(mut buffer: Buffer) -> Buffer {
    buffer.clear();
    if buffer.capacity() > KEEP_BYTES_MAX { Buffer::default() } else { buffer }
}

/// The writing half.
pub(crate) struct MessageWriter {
    write: Box<dyn NetWrite>,
    queue: VecDeque<Buffer>,
    queued_bytes: usize,
    writing: Option<LocalBoxFuture<Result<Buffer, IoError>>>,
}

impl MessageWriter {
    pub(crate) fn new(write: Box<dyn NetWrite>) -> Self {
        Self { write, queue: VecDeque::new(), queued_bytes: 0, writing: None }
    }

    /// Queues a message. If it is too long, the messages before it are not affected.
    pub(crate) fn push(&mut self, message: &Message) -> Result<(), TooLong> {
        let bytes = codec::encode(message)?;
        self.queued_bytes += bytes.len();
        self.queue.push_back(bytes);
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.writing.is_none()
    }

    /// Writes the queued messages; ready when all of them are written.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            if let Some(writing) = &mut self.writing {
                let Poll::Ready(written) = writing.as_mut().poll(cx) else {
                    // Checked only now: there may have been room for everything queued since the last time.
                    let is_clogged = self.queued_bytes > QUEUE_BYTES_MAX;
                    return if is_clogged { Poll::Ready(Err(ConnectionError::Clogged(self.queued_bytes))) } else { Poll::Pending };
                };
                self.writing = None;
                written?;
            }
            let Some(next) = self.queue.pop_front() else { return Poll::Ready(Ok(())) };
            self.queued_bytes -= next.len();
            self.writing = Some(self.write.write_all(next));
        }
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }
}

/// Both halves, before heartbeats are expected: one message after the other, as in handshakes.
pub(crate) struct Talk {
    reader: MessageReader,
    writer: MessageWriter,
}

impl Talk {
    /// Takes messages with bodies of at most `limit` bytes.
    pub(crate) fn new(read: Box<dyn NetRead>, write: Box<dyn NetWrite>, limit: usize) -> Self {
        Self { reader: MessageReader::new(read, limit), writer: MessageWriter::new(write) }
    }

    pub(crate) async fn say(&mut self, message: &Message) -> Result<Result<(), TooLong>, ConnectionError> {
        if let Err(too_long) = self.writer.push(message) {
            return Ok(Err(too_long));
        }
        self.writer.flush().await.map(Ok)
    }

    pub(crate) async fn hear(&mut self) -> Result<Message, ConnectionError> {
        std::future::poll_fn(|cx| self.reader.poll_next(cx, &mut false)).await
    }

    /// Sends the queued messages, and waits at most `limit` until the other side has closed: cutting the connection could lose the last of them.
    pub(crate) async fn finish(self, io: &Io, limit: Duration) {
        let Self { reader, mut writer } = self;
        let last_words = async move {
            if writer.flush().await.is_ok() {
                drop(writer);
                reader.drain().await;
            }
        };
        if within(io, limit, last_words).await.is_none() {
            tracing::debug!("the other side did not close its connection in time");
        }
    }
}

/// A connection on which both sides send heartbeats.
pub(crate) struct Connection {
    io: Io,
    talk: Talk,
    liveness: Liveness,
    /// Why nothing can be sent any more.
    broken: Option<ConnectionError>,
    /// The time of the next tick, and the timer for it.
    timer: Option<(MonotonicNs, LocalBoxFuture<()>)>,
}

impl Connection {
    /// Goes on from a handshake, in which both have just heard of each other.
    pub(crate) fn new(io: Io, mut talk: Talk, heartbeat: Heartbeat) -> Self {
        talk.reader.set_limit(MESSAGE_BYTES_MAX);
        let liveness = Liveness::new(heartbeat.interval, heartbeat.timeout, io.clock().now());
        Self { io, talk, liveness, broken: None, timer: None }
    }

    /// Queues a message; [`poll_next`](Self::poll_next) sends it.
    pub(crate) fn send(&mut self, message: &Message) -> Result<(), TooLong> {
        self.talk.writer.push(message)
    }

    /// Sends queued messages and heartbeats, and returns the next message that is not a heartbeat. Must not be called after an error. Messages that the
    /// other side sent before it went away are returned before the error.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, ConnectionError>> {
        let mut signs_of_life = 0;
        loop {
            // Read first: a process that has stood still finds the waiting heartbeats before it looks at the clock.
            let mut heard = false;
            let next = self.talk.reader.poll_next(cx, &mut heard);
            let verdict = self.liveness.step(self.io.clock().now(), if heard { LivenessInput::Heard } else { LivenessInput::Tick });
            if self.broken.is_none() {
                if verdict.send_heartbeat && self.talk.writer.is_idle() {
                    let sent = self.talk.writer.push(&Message::Heartbeat);
                    assert!(sent.is_ok(), "a sign of life is short");
                }
                if let Poll::Ready(Err(error)) = self.talk.writer.poll_flush(cx) {
                    self.broken = Some(error);
                }
            }
            match next {
                Poll::Ready(Ok(Message::Heartbeat)) => {
                    signs_of_life += 1;
                    if signs_of_life == BATCH {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
                Poll::Ready(next) => return Poll::Ready(next),
                Poll::Pending => {}
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(error));
            }
            if verdict.dead {
                return Poll::Ready(Err(ConnectionError::Silent(self.liveness.timeout())));
            }
            if self.timer.as_ref().is_none_or(|(at, _)| *at != verdict.next) {
                self.timer = Some((verdict.next, self.io.clock().sleep_until(verdict.next)));
            }
            let Some((_, timer)) = &mut self.timer else { return Poll::Pending };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }

    /// Whether few bytes wait to be sent.
    pub(crate) fn is_clear(&self) -> bool {
        self.talk.writer.queued_bytes <= CLEAR_BYTES_MAX
    }

    /// See [`Talk::finish`].
    pub(crate) async fn finish(self, limit: Duration) {
        self.talk.finish(&self.io, limit).await;
    }
}

#[cfg(test)]
mod tests;
