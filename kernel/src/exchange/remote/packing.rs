//! Packs frames into bytes and unpacks them, at the two ends of a channel between processes.
//!
//! A [`Packer`] stands where the receiver would, an [`Unpacker`] where the sender would: the subtasks at both ends do not know that a network lies
//! between them. Both cost one virtual call per frame.

use super::archived::{ArchivedFrame, UNIT, encode_control};
use super::failure::LinkFailure;
use super::header::{FrameError, FrameHeader, FrameKind, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use crate::checkpoint::Attempt;
use crate::exchange::frame::{Batch, Frame, InputChannel, OutputChannel};
use crate::record::{ArchiveError, Archiver, Layout, Record, RecordLayout, RecordSerializer};
use crate::time::Control;
use rkyv::rancor::Fallible;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Place, Serialize};
use std::task::{Context, Poll};
use thalweg_io::Buffer;

/// A buffer that has grown larger than this is not kept: one huge record must not enlarge all buffers for good.
pub const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// The contents of a frame that was packed or unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Number of records.
    pub records: u64,
    /// Number of bytes, header included.
    pub bytes: u64,
    /// The barrier of a checkpoint, and how many of the records stand before it.
    pub barrier: Option<(u64, u64)>,
    /// Whether nothing follows in the channel.
    pub is_end: bool,
}

impl Carried {
    fn note(&mut self, controls: &[(u32, Control)]) {
        for (position, control) in controls {
            match control {
                Control::Barrier(checkpoint) => self.barrier = Some((checkpoint.0, u64::from(*position))),
                Control::EndOfInput => self.is_end = true,
                _ => {}
            }
        }
    }
}

/// Makes bytes of the frames of one channel.
pub trait Packer {
    /// `Ready(true)` when there is a frame, `Ready(false)` when the sender is gone; registers for either otherwise.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<bool>;

    /// Appends the next frame to `out`, at any alignment, and gives its memory back to the sender. After an error `out` holds nothing of use.
    fn pack(&mut self, attempt: Attempt, channel: u32, sequence: u64, out: &mut Buffer) -> Result<Carried, LinkFailure>;

    /// Tells the sender how many records it may have under way.
    fn tell_window(&mut self, records: u32);
}

/// Hands the frames of one channel over to its receiver.
pub trait Unpacker {
    /// Checks the frame that `buffer` holds, header included, and hands it over. If the receiver is gone the frame is dropped.
    fn deliver(&mut self, header: &FrameHeader, buffer: Buffer) -> Result<Carried, FrameError>;

    /// The memory of a frame that was worked off; `None` when the receiver is gone. Registers for either otherwise.
    fn poll_returned(&mut self, cx: &mut Context<'_>) -> Poll<Option<Buffer>>;

    /// How many records the receiver wishes to have under way. A task that waits for returned memory is woken when this changes.
    fn window(&self) -> u32;
}

/// The records of a frame, to be archived as a list.
struct Records<'a, T>(&'a Frame<T>);

impl<T: Record> Archive for Records<'_, T> {
    type Archived = ArchivedVec<T::Archived>;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(self.0.len(), resolver, out);
    }
}

impl<'s, T: Record> Serialize<RecordSerializer<'s>> for Records<'_, T> {
    fn serialize(&self, serializer: &mut RecordSerializer<'s>) -> Result<VecResolver, <RecordSerializer<'s> as Fallible>::Error> {
        ArchivedVec::<T::Archived>::serialize_from_iter::<T, _, _>(self.0.records(), serializer)
    }
}

/// Refuses a frame that no receiver would take.
fn check_size(records: usize, bytes: usize) -> Result<(), LinkFailure> {
    if bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(LinkFailure::Unsendable(format!(
        "{records} records are {bytes} bytes, and a frame between two processes holds {PAYLOAD_BYTES_MAX}: \
         make the records smaller, or the frames, with EngineSettings::frame_records"
    )))
}

/// The packer of a channel of `T`.
pub(crate) struct RecordPacker<T> {
    channel: InputChannel<T>,
    archiver: Archiver,
    layout: u64,
}

impl<T: Record> RecordPacker<T> {
    /// A packer for records of `layout`.
    pub fn new(channel: InputChannel<T>, layout: &Layout) -> Self {
        Self { channel, archiver: Archiver::new(), layout: layout.fingerprint().as_u64() }
    }
}

impl<T: Record> Packer for RecordPacker<T> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.channel.data.poll_items(cx)
    }

    fn pack(&mut self, attempt: Attempt, channel: u32, sequence: u64, out: &mut Buffer) -> Result<Carried, LinkFailure> {
        let Some(Batch::Owned(mut frame)) = self.channel.data.try_pop() else {
            return Err(LinkFailure::Broken("there is no frame of this process's own".to_owned()));
        };
        let begin = out.len();
        let payload_at = begin + HEADER_BYTES;
        out.reserve_total(payload_at + frame.len() * 2 * size_of::<u64>());
        out.resize(payload_at, 0);
        frame.timestamps().for_each(|timestamp| out.extend_from_slice(&timestamp.to_le_bytes()));
        frame.hashes().iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
        out.resize(payload_at + (out.len() - payload_at).next_multiple_of(UNIT), 0);
        frame.controls().iter().for_each(|(position, control)| out.extend_from_slice(&encode_control(*position, *control)));
        let archive_at = (out.len() - payload_at) as u32;
        let archived = self.archiver.append_archive(&Records(&frame), out.as_aligned_mut(), payload_at);
        archived.map_err(|error: ArchiveError| LinkFailure::Unsendable(format!("a frame cannot be made bytes of: {error}")))?;
        check_size(frame.len(), out.len() - payload_at)?;
        let mut carried = Carried { records: frame.len() as u64, ..Carried::default() };
        carried.note(frame.controls());
        let header = FrameHeader {
            channel,
            sequence,
            layout: self.layout,
            count: frame.len() as u32,
            controls: frame.controls().len() as u32,
            is_keyed: !frame.hashes().is_empty(),
            archive_at,
            ..FrameHeader::new(FrameKind::Records, attempt)
        };
        let header = header.encode(&out[payload_at..]);
        out[begin..payload_at].copy_from_slice(&header);
        carried.bytes = (out.len() - begin) as u64;
        frame.clear();
        // A sender that has ended has no use for the frame.
        drop(self.channel.returned.try_push(Batch::Owned(frame)));
        Ok(carried)
    }

    fn tell_window(&mut self, records: u32) {
        self.channel.data.tell(records);
    }
}

/// The unpacker of a channel of `T`.
pub(crate) struct RecordUnpacker<T: Record> {
    channel: OutputChannel<T>,
    layout: RecordLayout<T>,
}

impl<T: Record> RecordUnpacker<T> {
    /// An unpacker for records of `layout`.
    pub fn new(channel: OutputChannel<T>, layout: RecordLayout<T>) -> Self {
        Self { channel, layout }
    }
}

impl<T: Record> Unpacker for RecordUnpacker<T> {
    fn deliver(&mut self, header: &FrameHeader, buffer: Buffer) -> Result<Carried, FrameError> {
        let frame = ArchivedFrame::<T>::check(header, buffer, &self.layout)?;
        let mut carried =
            Carried { records: frame.len() as u64, bytes: HEADER_BYTES as u64 + u64::from(header.payload_bytes), ..Carried::default() };
        carried.note(frame.controls());
        match self.channel.data.try_push(Batch::Archived(frame)) {
            Ok(()) => Ok(carried),
            Err(_) if self.channel.data.is_closed() => Ok(carried),
            Err(_) => Err(FrameError::Credit(header.channel)),
        }
    }

    fn poll_returned(&mut self, cx: &mut Context<'_>) -> Poll<Option<Buffer>> {
        match self.channel.returned.poll_items(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(false) => Poll::Ready(None),
            Poll::Ready(true) => match self.channel.returned.try_pop() {
                Some(Batch::Archived(frame)) => Poll::Ready(Some(frame.into_buffer())),
                _ => unreachable!("invariant: only archives are delivered here"),
            },
        }
    }

    fn window(&self) -> u32 {
        self.channel.data.word()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::CheckpointId;
    use crate::exchange::frame::channel;
    use crate::exchange::watch::ChannelNumber;
    use crate::record::Record;
    use crate::time::Watermark;
    use proptest::prelude::*;

    type Owned = Vec<(i64, (u64, String, Option<Vec<i32>>))>;

    fn frame_of<T>(records: Vec<(i64, T)>, is_keyed: bool, controls: &[(u32, Control)]) -> Frame<T> {
        let mut frame = Frame::new();
        for (timestamp, record) in records {
            frame.push(is_keyed.then_some(timestamp.cast_unsigned().wrapping_mul(3)), timestamp, record);
        }
        frame.with_controls(controls)
    }

    /// The frame as bytes, and its header. It was packed behind bytes of odd length, as a link packs it behind other frames.
    fn packed<T: Record>(frame: Frame<T>) -> (FrameHeader, Buffer) {
        let (mut output, input) = channel::<T>(ChannelNumber(0), 1, u32::MAX);
        assert!(output.data.try_push(Batch::Owned(frame)).is_ok());
        let mut packer = RecordPacker::new(input, &Layout::of::<T>());
        let mut out = Buffer::from(&[9; 13][..]);
        packer.pack(Attempt(3), 5, 7, &mut out).unwrap();
        assert_eq!(out[..13], [9; 13], "what stood there still stands");
        let out = Buffer::from(&out[13..]);
        assert!(matches!(output.returned.try_pop(), Some(Batch::Owned(frame)) if frame.is_empty()), "its memory comes back");
        (FrameHeader::decode(out.first_chunk().unwrap()).unwrap(), out)
    }

    fn unpacked<T: Record>(header: &FrameHeader, buffer: Buffer) -> Result<ArchivedFrame<T>, FrameError> {
        let (output, mut input) = channel::<T>(ChannelNumber(0), 1, u32::MAX);
        RecordUnpacker::new(output, RecordLayout::default()).deliver(header, buffer)?;
        match input.data.try_pop() {
            Some(Batch::Archived(frame)) => Ok(frame),
            _ => panic!("a frame was delivered"),
        }
    }

    proptest! {
        #[test]
        fn a_frame_is_read_as_it_was_written(records: Owned, is_keyed: bool, marks in prop::collection::vec(any::<(u32, i64)>(), 0..5)) {
            let mut controls: Vec<_> = marks.iter().map(|(at, time)| (at % (records.len() as u32 + 1), Control::Watermark(Watermark(*time)))).collect();
            controls.sort_by_key(|(at, _)| *at);
            let (header, bytes) = packed(frame_of(records.clone(), is_keyed, &controls));
            let frame = unpacked::<(u64, String, Option<Vec<i32>>)>(&header, bytes).unwrap();
            prop_assert_eq!(frame.controls(), &controls);
            prop_assert_eq!(frame.len(), records.len());
            let read: Owned = frame.records().iter().zip(frame.timestamps())
                .map(|(record, time)| (i64::from_le_bytes(*time), Record::from_view(<(u64, String, Option<Vec<i32>>)>::view_archived(record))))
                .collect();
            let hashes: Vec<u64> = frame.hashes().iter().map(|hash| u64::from_le_bytes(*hash)).collect();
            let expected: Vec<u64> = records.iter().filter(|_| is_keyed).map(|(time, _)| time.cast_unsigned().wrapping_mul(3)).collect();
            prop_assert_eq!(hashes, expected);
            prop_assert_eq!(read, records);
        }
    }

    #[test]
    fn a_byte_that_is_wrong_anywhere_is_an_error_and_never_a_panic() {
        let controls = [(0, Control::Idle), (0, Control::Active), (2, Control::Barrier(CheckpointId(4))), (2, Control::EndOfInput)];
        let (header, bytes) =
            packed(frame_of(vec![(1, "a".to_owned()), (2, "a longer string than the inline ones".to_owned())], true, &controls));
        assert!(unpacked::<String>(&header, Buffer::from(&bytes[..])).is_ok());
        for at in HEADER_BYTES..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut flipped = Buffer::from(&bytes[..]);
                flipped[at] ^= mask;
                assert!(unpacked::<String>(&header, Buffer::from(&flipped[..])).is_err(), "byte {at}");
                // With a checksum that was made right on purpose: whatever the result, it is no panic.
                let malicious = FrameHeader { payload_crc: crc32fast::hash(&flipped[HEADER_BYTES..]), ..header };
                if let Ok(frame) = unpacked::<String>(&malicious, flipped) {
                    frame.records().iter().for_each(|record| drop(format!("{:?}", String::view_archived(record))));
                }
            }
        }
        for (count, controls) in [(0, 4), (1, 4), (3, 4), (u32::MAX, 4), (2, 0), (2, 5), (2, u32::MAX)] {
            assert!(
                unpacked::<String>(&FrameHeader { count, controls, ..header }, Buffer::from(&bytes[..])).is_err(),
                "{count} {controls}"
            );
        }
    }

    #[test]
    fn a_frame_that_is_too_large_to_send_is_refused_with_the_cure() {
        assert_eq!(check_size(1, PAYLOAD_BYTES_MAX), Ok(()));
        let refused = check_size(3, PAYLOAD_BYTES_MAX + 1).unwrap_err();
        assert!(matches!(refused, LinkFailure::Unsendable(reason) if reason.contains("EngineSettings::frame_records")));
    }

    #[test]
    fn a_record_that_its_layout_refuses_is_a_damaged_frame_that_names_it() {
        let (header, bytes) = packed(frame_of(vec![(1, 4u64), (2, 5)], false, &[]));
        let even = RecordLayout::<u64>::default().with_check(|n| if n % 2 == 0 { Ok(()) } else { Err(format!("{n} is odd")) });
        let (output, _input) = channel::<u64>(ChannelNumber(0), 1, u32::MAX);
        let refused = RecordUnpacker::new(output, even).deliver(&header, bytes).unwrap_err();
        assert_eq!(refused, FrameError::Damaged { channel: 5, reason: "record 1: 5 is odd".to_owned() });
    }
}
