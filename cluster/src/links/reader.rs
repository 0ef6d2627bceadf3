//! Reads frames off a connection, each into a buffer of its own.
//!
//! Small frames arrive in batches through a staging buffer; the rest of a large frame is read directly into its own buffer. Buffers of processed frames are
//! reused.

use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, IoError, LocalBoxFuture, NetRead};
use thalweg_kernel::worker::{BUFFER_BYTES_KEPT, FrameError, FrameHeader, HEADER_BYTES};

/// The most bytes of one read of several frames. More would be copied once more.
const STAGING_BYTES: usize = 8 << 10;

/// How much a buffer grows at a time: a header alone does not make us allocate the length it announces.
const GROWTH_BYTES: usize = 1 << 20;

/// Idle buffers that are kept.
const BUFFERS_KEPT: usize = 256;

/// Why no more frames can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection ended in the middle of a frame")]
    Cut,
}

/// A read under way: of the frame with this header or, without a header, of the bytes that come next; and the buffer's length before.
struct Reading {
    header: Option<FrameHeader>,
    before: usize,
    read: LocalBoxFuture<Result<Buffer, IoError>>,
}

/// A stream of frames.
pub(super) struct FrameReader {
    read: Box<dyn NetRead>,
    /// The bytes received; the first `taken` of them have been taken.
    staging: Buffer,
    taken: usize,
    /// A frame of which a part may not have arrived yet.
    partial: Option<(FrameHeader, Buffer)>,
    reading: Option<Reading>,
    payload_bytes_max: usize,
    free: Vec<Buffer>,
}

impl FrameReader {
    /// Reads frames of at most `payload_bytes_max` bytes behind their header.
    pub(super) fn new(read: Box<dyn NetRead>, payload_bytes_max: usize) -> Self {
        let staging = Buffer::with_capacity(STAGING_BYTES);
        Self { read, staging, taken: 0, partial: None, reading: None, payload_bytes_max, free: Vec::new() }
    }

    /// Allows longer frames.
    pub(super) fn trust(&mut self, payload_bytes_max: usize) {
        self.payload_bytes_max = payload_bytes_max;
    }

    /// Takes back a buffer, to be filled again.
    pub(super) fn give(&mut self, mut buffer: Buffer) {
        if self.free.len() < BUFFERS_KEPT && buffer.capacity() <= BUFFER_BYTES_KEPT {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    /// The next frame: its header, and a buffer with the header and the payload. `None` at the end of the stream.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(FrameHeader, Buffer)>, ReadError>> {
        loop {
            if let Some(Reading { header, before, read }) = &mut self.reading {
                let buffer = ready!(read.as_mut().poll(cx));
                let (header, before) = (*header, *before);
                self.reading = None;
                let buffer = buffer?;
                let is_end = buffer.len() == before;
                match header {
                    Some(_) if is_end => return Poll::Ready(Err(ReadError::Cut)),
                    Some(header) => self.partial = Some((header, buffer)),
                    None if is_end && buffer.is_empty() => return Poll::Ready(Ok(None)),
                    None if is_end => return Poll::Ready(Err(ReadError::Cut)),
                    None => self.staging = buffer,
                }
            }
            if let Some((header, mut buffer)) = self.partial.take() {
                let total = HEADER_BYTES + header.payload_bytes as usize;
                let staged = &self.staging[self.taken..];
                let part = &staged[..staged.len().min(total - buffer.len())];
                buffer.extend_from_slice(part);
                self.taken += part.len();
                if buffer.len() == total {
                    return Poll::Ready(Ok(Some((header, buffer))));
                }
                let (before, upto) = (buffer.len(), total.min(buffer.len() + GROWTH_BYTES));
                self.reading = Some(Reading { header: Some(header), before, read: self.read.read_more(buffer, upto) });
            } else if let Some(bytes) = self.staging[self.taken..].first_chunk::<HEADER_BYTES>() {
                let header = FrameHeader::decode(bytes)?;
                if header.payload_bytes as usize > self.payload_bytes_max {
                    return Poll::Ready(Err(FrameError::TooLong(header.payload_bytes).into()));
                }
                self.partial = Some((header, self.free.pop().unwrap_or_default()));
            } else {
                self.stage();
            }
        }
    }

    /// Starts reading the next bytes, behind those not taken yet.
    fn stage(&mut self) {
        let mut staging = std::mem::take(&mut self.staging);
        let rest = staging.len() - self.taken;
        staging.copy_within(self.taken.., 0);
        staging.truncate(rest);
        self.taken = 0;
        self.reading = Some(Reading { header: None, before: rest, read: self.read.read_more(staging, STAGING_BYTES) });
    }

    /// Between two frames: ready when the stream has ended or broken. Bytes that arrive instead are kept for [`poll_next`](Self::poll_next); the end behind
    /// them is not noticed here, because a read that waits for it would keep those bytes to itself.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.partial.is_some() || self.taken < self.staging.len() {
            return Poll::Pending;
        }
        if self.reading.is_none() {
            self.stage();
        }
        let Some(Reading { header: None, before, read }) = &mut self.reading else { return Poll::Pending };
        let before = *before;
        let read = ready!(read.as_mut().poll(cx));
        self.reading = None;
        match read {
            Ok(staging) if staging.len() > before => {
                self.staging = staging;
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::task::Waker;
    use thalweg_kernel::checkpoint::Attempt;
    use thalweg_kernel::worker::FrameKind;

    /// A stream that arrives in pieces of the given lengths, in turn.
    struct Pieces {
        bytes: VecDeque<u8>,
        lengths: Vec<usize>,
        next: usize,
    }

    impl NetRead for Pieces {
        fn read_more(&mut self, mut buffer: Buffer, upto: usize) -> LocalBoxFuture<Result<Buffer, IoError>> {
            let length = self.lengths[self.next % self.lengths.len()].min(upto - buffer.len()).min(self.bytes.len());
            self.next += 1;
            let piece: Vec<u8> = self.bytes.drain(..length).collect();
            buffer.extend_from_slice(&piece);
            Box::pin(std::future::ready(Ok(buffer)))
        }
    }

    fn read_all(bytes: &[u8], lengths: &[usize]) -> (Vec<(u64, Vec<u8>)>, Option<ReadError>) {
        let pieces = Pieces { bytes: bytes.iter().copied().collect(), lengths: lengths.to_vec(), next: 0 };
        let mut reader = FrameReader::new(Box::new(pieces), 1 << 20);
        let mut frames = vec![];
        loop {
            match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(Some((header, buffer)))) => {
                    assert_eq!(header.check_payload(&buffer[HEADER_BYTES..]), Ok(()));
                    frames.push((header.sequence, buffer[HEADER_BYTES..].to_vec()));
                    reader.give(buffer);
                }
                Poll::Ready(Ok(None)) => return (frames, None),
                Poll::Ready(Err(error)) => return (frames, Some(error)),
                Poll::Pending => panic!("everything is there"),
            }
        }
    }

    fn stream(payloads: &[Vec<u8>]) -> Vec<u8> {
        let frame = |(sequence, payload): (usize, &Vec<u8>)| {
            let header = FrameHeader { sequence: sequence as u64, ..FrameHeader::new(FrameKind::Records, Attempt(1)) };
            [&header.encode(payload)[..], payload].concat()
        };
        payloads.iter().enumerate().flat_map(frame).collect()
    }

    #[test]
    fn frames_come_whole_however_the_stream_is_cut() {
        let payloads: Vec<Vec<u8>> =
            [0, 1, 100, 8 << 10, 70_000, 3, 0, 9000].iter().map(|len| (0..*len).map(|i| i as u8).collect()).collect();
        let bytes = stream(&payloads);
        let expected: Vec<_> = payloads.into_iter().enumerate().map(|(i, payload)| (i as u64, payload)).collect();
        for lengths in [&[1][..], &[63, 64, 65], &[usize::MAX], &[8192], &[1, 100_000, 7]] {
            let (frames, error) = read_all(&bytes, lengths);
            assert!(error.is_none(), "{error:?}");
            assert!(frames == expected, "{lengths:?}");
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_says_so() {
        let bytes = stream(&[vec![1; 10], vec![2; 10]]);
        for cut in 0..bytes.len() {
            let (frames, error) = read_all(&bytes[..cut], &[usize::MAX]);
            assert_eq!(frames.len(), cut / (HEADER_BYTES + 10));
            assert_eq!(error.is_some(), !cut.is_multiple_of(HEADER_BYTES + 10), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_for_a_stranger_is_refused_before_memory_is_provided() {
        let (frames, error) = read_all(&stream(&[vec![0; (1 << 20) + 1]]), &[64]);
        assert!(frames.is_empty() && matches!(error, Some(ReadError::Frame(FrameError::TooLong(_)))));
    }
}
