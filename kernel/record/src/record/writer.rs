//! Where archives are written to: memory of one of two alignments, and a place in it from which offsets count.
//!
//! There is one serializer for all records, so one writer has to serve both kinds of memory that archives go to: what is small and kept by the thousand
//! (state, splits) starts at a multiple of 16 bytes, what is handed to a disk or a network at a multiple of a page. So an archive is written where it is
//! sent from, behind whatever stands there already, and not copied there.

use rkyv::ser::{Positional, Writer};
use rkyv::util::AlignedVec;

/// Alignment of memory that can be handed to a disk or a network, in bytes.
const PAGE: usize = 4096;

/// The writer of [`RecordSerializer`](super::RecordSerializer). Its positions count from where the archive's surroundings begin: alignment and offsets hold
/// there, wherever in memory that is.
#[derive(Debug)]
pub struct ArchiveWriter {
    memory: Memory,
    base: usize,
}

#[derive(Debug)]
enum Memory {
    Loose(AlignedVec),
    Paged(AlignedVec<PAGE>),
}

/// Memory that archives can be written to.
pub trait ArchiveMemory: sealed::Sealed {}

impl ArchiveMemory for AlignedVec {}
impl ArchiveMemory for AlignedVec<PAGE> {}

/// What only this crate does with such memory.
pub(super) mod sealed {
    use super::{AlignedVec, ArchiveWriter, Memory, PAGE};

    pub trait Sealed: Default {
        /// Bytes in it.
        fn filled(&self) -> usize;
        /// Appends zeros until there are `len` bytes.
        fn fill_up(&mut self, len: usize);
        /// A writer that appends to it; positions count from the byte `base`.
        fn into_writer(self, base: usize) -> ArchiveWriter;
        /// The memory of a writer that was made of it.
        fn of_writer(writer: ArchiveWriter) -> Self;
    }

    impl Sealed for AlignedVec {
        fn filled(&self) -> usize {
            self.len()
        }

        fn fill_up(&mut self, len: usize) {
            self.resize(len, 0);
        }

        fn into_writer(self, base: usize) -> ArchiveWriter {
            ArchiveWriter { memory: Memory::Loose(self), base }
        }

        fn of_writer(writer: ArchiveWriter) -> Self {
            match writer.memory {
                Memory::Loose(bytes) => bytes,
                Memory::Paged(_) => unreachable!("invariant: it was made of loose memory"),
            }
        }
    }

    impl Sealed for AlignedVec<PAGE> {
        fn filled(&self) -> usize {
            self.len()
        }

        fn fill_up(&mut self, len: usize) {
            self.resize(len, 0);
        }

        fn into_writer(self, base: usize) -> ArchiveWriter {
            ArchiveWriter { memory: Memory::Paged(self), base }
        }

        fn of_writer(writer: ArchiveWriter) -> Self {
            match writer.memory {
                Memory::Paged(bytes) => bytes,
                Memory::Loose(_) => unreachable!("invariant: it was made of paged memory"),
            }
        }
    }
}

impl Positional for ArchiveWriter {
    #[inline]
    fn pos(&self) -> usize {
        let filled = match &self.memory {
            Memory::Loose(bytes) => bytes.len(),
            Memory::Paged(bytes) => bytes.len(),
        };
        filled - self.base
    }
}

impl<E> Writer<E> for ArchiveWriter {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        match &mut self.memory {
            Memory::Loose(memory) => memory.extend_from_slice(bytes),
            Memory::Paged(memory) => memory.extend_from_slice(bytes),
        }
        Ok(())
    }
}
