//! Streams between processes.

use crate::{Buffer, IoError, LocalBoxFuture};
use std::net::SocketAddr;

/// A network: reliable, ordered byte streams between addresses. A stream whose other end vanishes without closing fails within half a minute.
pub trait Net {
    /// Accepts connections at `address`; port 0 picks a free one.
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>>;

    /// Connects to `address`. The stream comes as two halves that are used, and dropped, independently.
    #[allow(clippy::type_complexity)]
    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>), IoError>>;
}

/// An address at which connections are accepted.
pub trait Listener {
    /// The address it listens at, with the actual port.
    fn address(&self) -> SocketAddr;

    /// The next connection, and the caller's address.
    #[allow(clippy::type_complexity)]
    fn accept(&self) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr), IoError>>;
}

/// The receiving half of a stream.
pub trait NetRead {
    /// Reads at least one byte after the content of `buffer`, until at most `upto` bytes are in it, and returns it; with nothing added at the end of the
    /// stream. So a caller that knows what comes can read it directly into place. At most one read may be under way. If the future is dropped no bytes are
    /// lost: the next read gets them.
    ///
    /// `upto` must be more than the buffer holds.
    fn read_more(&mut self, buffer: Buffer, upto: usize) -> LocalBoxFuture<Result<Buffer, IoError>>;

    /// The same from the start of `buffer` up to its capacity; an empty buffer means the end of the stream.
    fn read(&mut self, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        buffer.clear();
        let upto = buffer.capacity();
        self.read_more(buffer, upto)
    }
}

/// The sending half of a stream. Dropping it ends the stream for the peer after the bytes already written.
pub trait NetWrite {
    /// Writes all of `buffer` and returns it. Waits while the peer does not read. At most one write may be under way.
    fn write_all(&mut self, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>>;
}
