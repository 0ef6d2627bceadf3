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

use super::{ArchiveError, ArchiveMemory, Record, RecordSerializer};

/// Alignment of each archive within a buffer, in bytes: the strictest of any archived type (`u128`).
const ARCHIVE_ALIGN: usize = 16;

/// Writes archives; keeps its scratch memory between them. One per sender.
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
    /// If a length exceeds rkyv's 32-bit offsets. `out` is then empty.
    pub fn append<T: Record>(&mut self, value: &T, out: &mut AlignedVec) -> Result<Range<usize>, ArchiveError> {
        self.append_archive(value, out, 0)
    }

    /// The same for any value that has an archive, in either kind of memory. The archive is to be read where the byte `base` of `out` is aligned to 16
    /// bytes: `out` is padded to a multiple of 16 from there on, so the bytes before `base` may have any length.
    ///
    /// # Errors
    /// As [`append`](Archiver::append).
    ///
    /// # Panics
    /// If `base` lies behind the end of `out`.
    pub fn append_archive<V, M>(&mut self, value: &V, out: &mut M, base: usize) -> Result<Range<usize>, ArchiveError>
    where
        V: for<'a> Serialize<RecordSerializer<'a>>,
        M: ArchiveMemory,
    {
        assert!(base <= out.filled(), "an archive is read from byte {base} on, and there are {} bytes", out.filled());
        let start = base + (out.filled() - base).next_multiple_of(ARCHIVE_ALIGN);
        out.fill_up(start);
        let writer = core::mem::take(out).into_writer(base);
        let mut serializer = Serializer::new(writer, self.arena.acquire(), Share::new());
        serialize_using(value, Strategy::<_, ArchiveError>::wrap(&mut serializer))?;
        *out = M::of_writer(serializer.into_writer());
        Ok(start..out.filled())
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
/// If the bytes are misaligned (16 suffices for any type), too short, or hold an invalid offset, tag, length, `bool`, `char` or string.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_behind_unaligned_bytes_is_read_from_its_base_on() {
        let list = vec!["a text that is longer than the inline ones".to_owned(), "b".to_owned()];
        for before in [0, 1, 12, 16, 100] {
            let mut page = AlignedVec::<4096>::new();
            page.resize(before + 5, 7);
            let place = Archiver::new().append_archive(&list, &mut page, before).unwrap();
            let mut moved = AlignedVec::<16>::new();
            moved.extend_from_slice(&page[before..]);
            let at = place.start - before;
            assert_eq!((at % ARCHIVE_ALIGN, place.end), (0, page.len()), "behind {before}");
            assert_eq!(read_owned::<Vec<String>>(&moved[at..]).unwrap(), list, "behind {before}");
        }
    }
}
