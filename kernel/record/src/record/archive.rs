//! Writing records as rkyv archives and reading them in place.
//!
//! Bytes are never trusted here: [`access`] checks all of them once and reports what is wrong; after that views read without copying. The
//! check does not know whether the bytes were written for this type: compare fingerprints first.

use core::fmt;
use core::ops::Range;

use rkyv::Serialize;
use rkyv::api::serialize_using;
use rkyv::rancor::Strategy;
use rkyv::ser::Serializer;
use rkyv::ser::allocator::Arena;
use rkyv::ser::sharing::Share;
use rkyv::util::AlignedVec;

use super::{ArchiveError, Record, RecordSerializer};

/// Alignment of each archive within a buffer, in bytes: the strictest of any archived type (`u128`).
const ARCHIVE_ALIGN: usize = 16;

/// Writes archives; keeps its scratch memory from one to the next. One per sender.
#[derive(Default)]
pub struct Archiver {
    arena: Arena,
}

impl Archiver {
    /// An archiver without scratch memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the archive of `value` to `out`, after padding `out` with zeros to a multiple of 16 bytes, and returns where it lies.
    ///
    /// # Errors
    /// A length beyond rkyv's 32-bit offsets. `out` is then empty.
    pub fn append<T: Record>(&mut self, value: &T, out: &mut AlignedVec) -> Result<Range<usize>, ArchiveError> {
        self.append_archive(value, out)
    }

    /// The same for whatever has an archive.
    ///
    /// # Errors
    /// As [`append`](Archiver::append).
    pub fn append_archive<V>(&mut self, value: &V, out: &mut AlignedVec) -> Result<Range<usize>, ArchiveError>
    where
        V: for<'a> Serialize<RecordSerializer<'a>>,
    {
        let start = out.len().next_multiple_of(ARCHIVE_ALIGN);
        out.resize(start, 0);
        let writer = core::mem::take(out);
        let mut serializer = Serializer::new(writer, self.arena.acquire(), Share::new());
        serialize_using(value, Strategy::<_, ArchiveError>::wrap(&mut serializer))?;
        *out = serializer.into_writer();
        Ok(start..out.len())
    }

    /// The archive of `value` in a buffer of its own.
    ///
    /// # Errors
    /// As [`append`](Archiver::append).
    pub fn to_bytes<T: Record>(&mut self, value: &T) -> Result<AlignedVec, ArchiveError> {
        let mut out = AlignedVec::new();
        self.append(value, &mut out)?;
        Ok(out)
    }
}

impl fmt::Debug for Archiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archiver").finish_non_exhaustive()
    }
}

/// Checks that `bytes` are an archive of `T` and returns it, in place. Linear in the number of values that can be wrong.
///
/// # Errors
/// Bytes that are misaligned (16 suffices for any type), too short, or hold an offset, tag, length, `bool`, `char` or string that is invalid.
#[inline]
pub fn access<T: Record>(bytes: &[u8]) -> Result<&T::Archived, ArchiveError> {
    rkyv::access::<T::Archived, ArchiveError>(bytes)
}

/// Checks `bytes` and rebuilds the owned value.
///
/// # Errors
/// As [`access`].
pub fn read_owned<T: Record>(bytes: &[u8]) -> Result<T, ArchiveError> {
    Ok(T::from_view(T::view_archived(access::<T>(bytes)?)))
}
