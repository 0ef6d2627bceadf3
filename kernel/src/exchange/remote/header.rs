//! The header of the frames that move between the cores of two workers (docs/src/formats.md#frames).
//!
//! 64 bytes, little endian, so that the payload behind it in an aligned buffer is aligned as well. A checksum of its own is compared before any field is
//! believed, and it holds length and checksum of the payload. No bytes make this code panic.

use crate::checkpoint::Attempt;
use thiserror::Error;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;

/// Most payload bytes behind a header. A frame holds a fixed number of records, but a record may be large.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"TWF1");
const VERSION: u16 = 3;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// The first frame on a connection: the caller, and its attempt.
    Open,
    /// Records and in-band elements of a channel.
    Records,
    /// The receiver has room for frames of some channels.
    Credit,
    /// The sender has a frame for a channel and no credit that it could wait for.
    Demand,
    /// A layout in words, before the first records of that layout.
    Layout,
}

impl FrameKind {
    const ALL: [Self; 5] = [Self::Open, Self::Records, Self::Credit, Self::Demand, Self::Layout];

    fn number(self) -> u16 {
        match self {
            Self::Open => 1,
            Self::Records => 2,
            Self::Credit => 3,
            Self::Demand => 4,
            Self::Layout => 5,
        }
    }
}

/// The fields of a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame carries.
    pub kind: FrameKind,
    /// Law 10: a frame of an older attempt is refused.
    pub attempt: Attempt,
    /// The channel, for [`FrameKind::Records`].
    pub channel: u32,
    /// Counted from 0 in each channel.
    pub sequence: u64,
    /// Fingerprint of the layout of the records.
    pub layout: u64,
    /// Number of records, or of entries.
    pub count: u32,
    /// Number of in-band elements.
    pub controls: u32,
    /// Whether the frame holds the hashes of keys.
    pub is_keyed: bool,
    /// Where the archive of the records begins in the payload.
    pub archive_at: u32,
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// Checksum of the payload.
    pub payload_crc: u32,
}

/// Why bytes are not a frame, or not one that may arrive here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// No frame begins with these four bytes.
    #[error("what came is no frame (magic {0:08x})")]
    Magic(u32),
    /// A frame of another version of the protocol.
    #[error("the frame has version {0}, and this build knows version {VERSION}: run the same build everywhere")]
    Version(u16),
    /// A frame of an unknown kind.
    #[error("a frame of the unknown kind {0}")]
    Kind(u16),
    /// The bytes are not those that were sent.
    #[error("the checksum of a frame's {0} does not match")]
    Checksum(&'static str),
    /// The frame is longer than allowed.
    #[error("a frame of {0} bytes is longer than the {PAYLOAD_BYTES_MAX} that a frame can have")]
    TooLong(u32),
    /// A frame of another attempt.
    #[error("a frame of attempt {found} came where attempt {expected} is under way")]
    Attempt {
        /// The attempt of this connection.
        expected: Attempt,
        /// The attempt in the frame.
        found: Attempt,
    },
    /// Not the frame that follows in its channel.
    #[error("frame {found} of channel {channel} came where frame {expected} was to follow")]
    Sequence {
        /// The channel.
        channel: u32,
        /// The sequence number that follows.
        expected: u64,
        /// The sequence number in the frame.
        found: u64,
    },
    /// A frame of a channel that does not end here.
    #[error("channel {0} does not end here")]
    Channel(u32),
    /// Records of another layout than expected.
    #[error(
        "the records of channel {channel} have the layout {found} and are expected with {expected}: run the same build, with the same schemas, everywhere"
    )]
    Layout {
        /// The channel.
        channel: u32,
        /// The layout of the channel here.
        expected: String,
        /// The layout that the sender gave.
        found: String,
    },
    /// A frame sent without credit.
    #[error("channel {0} was sent a frame without credit")]
    Credit(u32),
    /// Damage that no checksum shows.
    #[error("a frame of channel {channel} is damaged: {reason}")]
    Damaged {
        /// The channel.
        channel: u32,
        /// What is wrong.
        reason: String,
    },
    /// The flag for key hashes is neither yes nor no.
    #[error("a frame says of its keys neither yes nor no")]
    Keyed,
    /// A frame of a kind that may not arrive here.
    #[error("a frame of kind {0:?} has no place here")]
    Unexpected(FrameKind),
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl FrameHeader {
    /// A header of `kind` whose other fields are zero.
    pub fn new(kind: FrameKind, attempt: Attempt) -> Self {
        Self {
            kind,
            attempt,
            channel: 0,
            sequence: 0,
            layout: 0,
            count: 0,
            controls: 0,
            is_keyed: false,
            archive_at: 0,
            payload_bytes: 0,
            payload_crc: 0,
        }
    }

    /// The bytes of the header in front of `payload`, whose length and checksum they hold.
    pub fn encode(mut self, payload: &[u8]) -> [u8; HEADER_BYTES] {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a frame of {} bytes", payload.len());
        self.payload_bytes = payload.len() as u32;
        self.payload_crc = crc32fast::hash(payload);
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.kind.number().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.attempt.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.layout.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.channel.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.count.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.controls.to_le_bytes());
        bytes[44..48].copy_from_slice(&u32::from(self.is_keyed).to_le_bytes());
        bytes[48..52].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.archive_at.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header and checks all of its fields that need no context.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let magic = u32_at(bytes, 0);
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        if u32_at(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Err(FrameError::Checksum("header"));
        }
        let (version, kind) = (u16::from_le_bytes([bytes[4], bytes[5]]), u16::from_le_bytes([bytes[6], bytes[7]]));
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if u32_at(bytes, 44) > 1 {
            return Err(FrameError::Keyed);
        }
        let payload_bytes = u32_at(bytes, 48);
        if payload_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err(FrameError::TooLong(payload_bytes));
        }
        Ok(Self {
            kind: FrameKind::ALL.into_iter().find(|known| known.number() == kind).ok_or(FrameError::Kind(kind))?,
            attempt: Attempt(u64_at(bytes, 8)),
            sequence: u64_at(bytes, 16),
            layout: u64_at(bytes, 24),
            channel: u32_at(bytes, 32),
            count: u32_at(bytes, 36),
            controls: u32_at(bytes, 40),
            is_keyed: u32_at(bytes, 44) != 0,
            payload_bytes,
            payload_crc: u32_at(bytes, 52),
            archive_at: u32_at(bytes, 56),
        })
    }

    /// Compares the payload with the checksum.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), FrameError> {
        if crc32fast::hash(payload) == self.payload_crc { Ok(()) } else { Err(FrameError::Checksum("payload")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            channel: 7,
            sequence: 1 << 40,
            layout: 0x0123_4567_89ab_cdef,
            count: 1024,
            controls: 3,
            is_keyed: true,
            archive_at: 1 << 20,
            ..FrameHeader::new(FrameKind::Records, Attempt(12))
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for kind in FrameKind::ALL {
            let written = FrameHeader { kind, ..header() };
            let read = FrameHeader::decode(&written.encode(b"records")).unwrap();
            assert_eq!(read, FrameHeader { payload_bytes: 7, payload_crc: crc32fast::hash(b"records"), ..written });
            assert_eq!(read.check_payload(b"records"), Ok(()));
            assert_eq!(read.check_payload(b"rEcords"), Err(FrameError::Checksum("payload")));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = header().encode(b"records");
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
