//! The memory that archives are written to, of one of two alignments, and a base in it from which offsets count.
//!
//! There is one serializer for all records, so one writer has to serve both kinds of memory that archives go to: small archives kept by the thousand
//! (state, splits) start at a multiple of 16 bytes, memory handed to a disk or a network at a multiple of a page. So an archive is written into the memory
//! it is sent from, behind the bytes that stand there already, and not copied there.

use rkyv::ser::{Positional, Writer};
use rkyv::util::AlignedVec;

/// Alignment of memory that can be handed to a disk or a network, in bytes: that of the buffers of `io`, which this crate does not know. A difference would
/// not compile, where a frame is packed into one.
const PAGE: usize = 4096;

/// The writer of [`RecordSerializer`](super::RecordSerializer). Its positions count from the beginning of the archive's surroundings: alignment and offsets
/// hold from there, wherever in memory that is.
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

/// The operations on such memory that only this crate has.
pub(super) mod sealed {
    use super::{AlignedVec, ArchiveWriter, Memory, PAGE};

    pub trait Sealed: Default {
        /// Number of bytes in it.
        fn filled(&self) -> usize;
        /// A writer that appends to it; positions count from the byte `base`.
        fn into_writer(self, base: usize) -> ArchiveWriter;
        /// The memory that a writer was made of.
        fn of_writer(writer: ArchiveWriter) -> Self;
    }

    macro_rules! memory {
        ($memory:ty, $variant:ident) => {
            impl Sealed for $memory {
                #[inline]
                fn filled(&self) -> usize {
                    self.len()
                }

                #[inline]
                fn into_writer(self, base: usize) -> ArchiveWriter {
                    ArchiveWriter { memory: Memory::$variant(self), base }
                }

                #[inline]
                fn of_writer(writer: ArchiveWriter) -> Self {
                    let Memory::$variant(bytes) = writer.memory else { unreachable!("invariant: it was made of memory of this kind") };
                    bytes
                }
            }
        };
    }
    memory!(AlignedVec, Loose);
    memory!(AlignedVec<PAGE>, Paged);
}

impl ArchiveWriter {
    /// Appends bytes.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        match &mut self.memory {
            Memory::Loose(memory) => memory.extend_from_slice(bytes),
            Memory::Paged(memory) => memory.extend_from_slice(bytes),
        }
    }

    /// All that has been written since the base.
    #[inline]
    fn written(&mut self) -> &mut [u8] {
        let base = self.base;
        match &mut self.memory {
            Memory::Loose(memory) => &mut memory[base..],
            Memory::Paged(memory) => &mut memory[base..],
        }
    }

    /// Writes over the bytes from the position `at` on.
    #[inline]
    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        self.written()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Moves the bytes from the position `at` on, and writes these before them.
    pub(super) fn insert(&mut self, at: usize, bytes: &[u8]) {
        let end = self.pos();
        self.append(bytes);
        let written = self.written();
        written.copy_within(at..end, at + bytes.len());
        written[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// From now on positions count from here. Returns what [`set_base`](Self::set_base) undoes it with.
    #[inline]
    pub(super) fn base_here(&mut self) -> usize {
        let pos = self.pos();
        let before = self.base;
        self.base += pos;
        before
    }

    /// Positions count from an earlier base again.
    #[inline]
    pub(super) fn set_base(&mut self, base: usize) {
        self.base = base;
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
        self.append(bytes);
        Ok(())
    }
}
