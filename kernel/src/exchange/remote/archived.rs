//! A frame that came from another process: bytes that were checked once and are read in place.
//!
//! Behind the header lie the records' timestamps, the hashes of their keys if the edge is keyed, the in-band elements, and one rkyv archive of all
//! records (docs/src/formats.md#frames). Only the in-band elements, of which there are few, are decoded; records are shown as views into the
//! buffer, which goes back to the connection to be filled again.

use super::header::{FrameError, FrameHeader, HEADER_BYTES};
use crate::checkpoint::CheckpointId;
use crate::record::{Record, RecordLayout, access};
use crate::time::{Control, Watermark};
use rkyv::vec::ArchivedVec;
use std::marker::PhantomData;
use std::ops::Range;
use thalweg_io::Buffer;

/// Alignment of the archive, and bytes of an in-band element.
pub(super) const UNIT: usize = 16;

/// Kind and value of an in-band element, as they travel.
pub(super) fn encode_control(position: u32, control: Control) -> [u8; UNIT] {
    let (kind, value): (u32, u64) = match control {
        Control::Watermark(watermark) => (0, watermark.0.cast_unsigned()),
        Control::Idle => (1, 0),
        Control::Active => (2, 0),
        Control::EndOfInput => (5, 0),
        Control::Barrier(checkpoint) => (6, checkpoint.0),
        Control::SplitStarted(_) | Control::SplitFinished(_) => unreachable!("splits concern the chain of their source alone"),
    };
    let mut bytes = [0; UNIT];
    bytes[0..4].copy_from_slice(&position.to_le_bytes());
    bytes[4..8].copy_from_slice(&kind.to_le_bytes());
    bytes[8..16].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn decode_control(bytes: [u8; UNIT]) -> Result<(u32, Control), String> {
    let bits = u128::from_le_bytes(bytes);
    let (position, kind, value) = (bits as u32, (bits >> 32) as u32, (bits >> 64) as u64);
    let control = match (kind, value) {
        (0, watermark) => Control::Watermark(Watermark(watermark.cast_signed())),
        (1, 0) => Control::Idle,
        (2, 0) => Control::Active,
        (5, 0) => Control::EndOfInput,
        (6, checkpoint) => Control::Barrier(CheckpointId(checkpoint)),
        (kind, value) => return Err(format!("an in-band element of kind {kind} with value {value}")),
    };
    Ok((position, control))
}

/// A checked frame. The checked bytes do not change any more: nobody can write to its buffer.
pub(crate) struct ArchivedFrame<T> {
    buffer: Buffer,
    len: usize,
    timestamps: Range<usize>,
    hashes: Range<usize>,
    archive: Range<usize>,
    controls: Vec<(u32, Control)>,
    records: PhantomData<fn() -> T>,
}

impl<T> ArchivedFrame<T> {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The records' timestamps, little endian.
    pub(crate) fn timestamps(&self) -> &[[u8; 8]] {
        self.buffer[self.timestamps.clone()].as_chunks().0
    }

    /// The hashes of the records' keys, little endian; empty if the edge is not keyed.
    pub(crate) fn hashes(&self) -> &[[u8; 8]] {
        self.buffer[self.hashes.clone()].as_chunks().0
    }

    /// The in-band elements, each with the number of records before it.
    pub(crate) fn controls(&self) -> &[(u32, Control)] {
        &self.controls
    }

    /// The frame's memory, to be filled again.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.buffer
    }
}

impl<T: Record> ArchivedFrame<T> {
    /// Takes a buffer that holds a header and its payload, and checks every byte. The sender said that the records are of `layout`.
    pub(crate) fn check(header: &FrameHeader, buffer: Buffer, layout: &RecordLayout<T>) -> Result<Self, FrameError> {
        let damaged = |reason: String| FrameError::Damaged { channel: header.channel, reason };
        header.check_payload(&buffer[HEADER_BYTES..])?;
        let len = header.count as usize;
        let part = |start: usize, count: usize, of: usize| -> Result<Range<usize>, FrameError> {
            let end = count.checked_mul(of).and_then(|bytes| bytes.checked_add(start)).filter(|end| *end <= buffer.len());
            Ok(start..end.ok_or_else(|| damaged(format!("it ends before its {count} entries do")))?)
        };
        let timestamps = part(HEADER_BYTES, len, 8)?;
        let hashes = part(timestamps.end, if header.is_keyed { len } else { 0 }, 8)?;
        let elements = part(hashes.end.next_multiple_of(UNIT), header.controls as usize, UNIT)?;
        let mut controls = Vec::with_capacity(header.controls as usize);
        let mut before = 0;
        for bytes in buffer[elements.clone()].as_chunks().0 {
            let (position, control) = decode_control(*bytes).map_err(damaged)?;
            if position < before || position > header.count {
                return Err(damaged(format!("an in-band element stands at {position} of {len} records, after one at {before}")));
            }
            before = position;
            controls.push((position, control));
        }
        let archive = elements.end..buffer.len();
        if archive.start - HEADER_BYTES != header.archive_at as usize {
            return Err(damaged(format!("its records begin at {} and not at {}", archive.start - HEADER_BYTES, header.archive_at)));
        }
        let frame = Self { buffer, len, timestamps, hashes, archive, controls, records: PhantomData };
        let records = access::<Vec<T>>(&frame.buffer[frame.archive.clone()]).map_err(|error| damaged(error.to_string()))?;
        if records.len() != len {
            return Err(damaged(format!("it holds {} records instead of {len}", records.len())));
        }
        if layout.has_check() {
            for (place, record) in records.iter().enumerate() {
                layout.check(T::view_archived(record)).map_err(|reason| damaged(format!("record {place}: {reason}")))?;
            }
        }
        Ok(frame)
    }

    /// The records, in place.
    pub(crate) fn records(&self) -> &[T::Archived] {
        // SAFETY: `check`, the only way to make a frame, has validated exactly these bytes as exactly this type, and nothing has written to them since:
        // the buffer is private and lent out shared only. The buffer starts at a multiple of 4096 and does not move its memory.
        unsafe { rkyv::access_unchecked::<ArchivedVec<T::Archived>>(&self.buffer[self.archive.clone()]) }
    }
}
