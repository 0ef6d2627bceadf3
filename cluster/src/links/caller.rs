//! The caller of a link: the first frame of a connection says who calls, and for which link.

use super::reader::FrameReader;
use thalweg_io::{Buffer, NetWrite};
use thalweg_kernel::checkpoint::{Attempt, JobId};
use thalweg_kernel::worker::Place;
use thalweg_kernel::worker::{FrameHeader, FrameKind, HEADER_BYTES};

/// Bytes of an opening frame behind its header.
pub(super) const OPENING_BYTES: usize = 32;

/// Identifies the link that a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Opening {
    pub(super) job: JobId,
    pub(super) attempt: Attempt,
    /// The coordinating process: attempts of two coordinators can have the same number.
    pub(super) owner: u64,
    pub(super) from: Place,
    pub(super) to: Place,
}

impl Opening {
    pub(super) fn encode(self) -> Buffer {
        let mut payload = Vec::with_capacity(OPENING_BYTES);
        payload.extend_from_slice(&self.job.0.to_le_bytes());
        payload.extend_from_slice(&self.owner.to_le_bytes());
        for number in [self.from.seat, self.from.core, self.to.seat, self.to.core] {
            let number = u32::try_from(number).expect("invariant: there are fewer than 2^32 cores");
            payload.extend_from_slice(&number.to_le_bytes());
        }
        let mut frame = Buffer::from(&FrameHeader::new(FrameKind::Open, self.attempt).encode(&payload)[..]);
        frame.extend_from_slice(&payload);
        frame
    }

    pub(super) fn decode(header: &FrameHeader, frame: &[u8]) -> Option<Self> {
        let payload: &[u8; OPENING_BYTES] = frame[HEADER_BYTES..].try_into().ok()?;
        header.check_payload(payload).ok()?;
        let (job, rest) = payload.split_first_chunk::<8>()?;
        let (owner, numbers) = rest.split_first_chunk::<8>()?;
        let number = |i: usize| numbers.as_chunks::<4>().0.get(i).map(|bytes| u32::from_le_bytes(*bytes) as usize);
        let end = |i: usize| Some(Place { seat: number(i)?, core: number(i + 1)? });
        let is_opening = header.kind == FrameKind::Open;
        let (job, owner) = (JobId(u64::from_le_bytes(*job)), u64::from_le_bytes(*owner));
        is_opening.then_some(Self { job, attempt: header.attempt, owner, from: end(0)?, to: end(2)? })
    }
}

/// A connection whose caller has identified itself.
pub(super) struct Caller {
    pub(super) reader: FrameReader,
    pub(super) write: Box<dyn NetWrite>,
}
