//! Writing records as rkyv archives and reading them in place.
//!
//! Bytes are never trusted here: [`access`] checks all of them once and reports what is wrong; after that views read without copying. The
//! check does not know whether the bytes were written for this type: compare fingerprints first.

use core::fmt;
use core::ops::Range;

use rkyv::Serialize;
use rkyv::api::serialize_using;
use rkyv::rancor::Strategy;
use rkyv::ser::allocator::{Arena, ArenaHandle};
use rkyv::ser::sharing::Share;
use rkyv::ser::{Positional, Serializer};
use rkyv::util::AlignedVec;

use super::{ArchiveError, ArchiveMemory, ArchiveWriter, KeySink, Record, RecordSerializer};

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
        let mut appending = self.open(core::mem::take(out), base);
        let place = appending.archive(value)?;
        *out = appending.close();
        Ok(base + place.start..base + place.end)
    }

    /// Opens `out` for many archives, one behind the other and with other bytes in between: what each of them costs is little more than its bytes. Positions
    /// count from the byte `base`.
    #[inline]
    pub fn open<M: ArchiveMemory>(&mut self, out: M, base: usize) -> Appending<'_> {
        Appending { serializer: Serializer::new(out.into_writer(base), self.arena.acquire(), Share::new()) }
    }

    /// Has `append` append something small to `out`: [`open`](Self::open) for this once. After an error, what it has appended by then is there.
    ///
    /// # Errors
    /// That of `append`.
    #[inline]
    pub fn append_with<M: ArchiveMemory>(
        &mut self,
        out: &mut M,
        append: impl FnOnce(&mut Appending<'_>) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut appending = self.open(core::mem::take(out), 0);
        let appended = append(&mut appending);
        *out = appending.close();
        appended
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

/// Memory that is open for archives; see [`Archiver::open`].
pub struct Appending<'a> {
    serializer: Serializer<ArchiveWriter, ArenaHandle<'a>, Share>,
}

impl Appending<'_> {
    /// How many bytes there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.serializer.writer.pos()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.serializer.writer.append(bytes);
    }

    /// Appends zeros up to the next multiple of 16 bytes, and returns how many bytes there are then.
    #[inline]
    pub fn align(&mut self) -> usize {
        let len = self.len();
        // None or half of them in most cases, and then without a call.
        match len.next_multiple_of(ARCHIVE_ALIGN) - len {
            0 => {}
            8 => self.bytes(&[0; 8]),
            missing => self.bytes(&[0; ARCHIVE_ALIGN][..missing]),
        }
        self.len()
    }

    /// Appends the archive of `value`, [aligned](Self::align), and returns where it lies.
    ///
    /// # Errors
    /// If a length exceeds rkyv's 32-bit offsets. A part of the archive may be there.
    #[inline]
    pub fn archive<V>(&mut self, value: &V) -> Result<Range<usize>, ArchiveError>
    where
        V: for<'s> Serialize<RecordSerializer<'s>>,
    {
        let start = self.align();
        serialize_using(value, Strategy::<_, ArchiveError>::wrap(&mut self.serializer))?;
        // What two values share is in the archive of each: either is read without the other.
        self.serializer.sharing.clear();
        Ok(start..self.len())
    }

    /// Appends the archive of `value` right here, however many bytes there are: it is to be read where its own first byte is aligned to 16 bytes.
    ///
    /// # Errors
    /// As [`archive`](Self::archive).
    #[inline]
    pub fn archive_here<V>(&mut self, value: &V) -> Result<(), ArchiveError>
    where
        V: for<'s> Serialize<RecordSerializer<'s>>,
    {
        let base = self.serializer.writer.base_here();
        let archived = serialize_using(value, Strategy::<_, ArchiveError>::wrap(&mut self.serializer));
        self.serializer.writer.set_base(base);
        self.serializer.sharing.clear();
        archived.map(drop)
    }

    /// Moves the bytes from `at` on, and writes these before them.
    ///
    /// # Panics
    /// If `at` lies behind the end.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.serializer.writer.insert(at, bytes);
    }

    /// Writes over the bytes from `at` on.
    ///
    /// # Panics
    /// If there are no bytes.
    #[inline]
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        self.serializer.writer.overwrite(at, bytes);
    }

    /// The memory, with all that was appended.
    ///
    /// # Panics
    /// If it is of another kind than the memory that was opened.
    #[inline]
    #[must_use]
    pub fn close<M: ArchiveMemory>(self) -> M {
        M::of_writer(self.serializer.into_writer())
    }
}

/// Canonical bytes of a key, as they are.
impl KeySink for Appending<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
    }
}

impl fmt::Debug for Appending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appending").field("len", &self.len()).finish_non_exhaustive()
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
    fn archives_appended_in_a_row_are_those_that_stand_alone() {
        let lists: Vec<Vec<String>> = (0..20).map(|n| (0..n).map(|i| "text ".repeat(i)).collect()).collect();
        let mut archiver = Archiver::new();
        let alone: Vec<_> = lists.iter().map(|list| archiver.to_bytes(list).unwrap()).collect();
        let mut appending = archiver.open(AlignedVec::<16>::new(), 0);
        assert!(appending.is_empty());
        let mut places = vec![];
        for list in &lists {
            let header = appending.len();
            appending.bytes(&[0; 3]);
            places.push(appending.archive(list).unwrap());
            appending.overwrite(header, &[9; 3]);
        }
        let bytes: AlignedVec = appending.close();
        let mut end = 0;
        for (place, alone) in places.into_iter().zip(alone) {
            assert_eq!((&bytes[end..end + 3], place.start % ARCHIVE_ALIGN), (&[9; 3][..], 0));
            assert_eq!(bytes[place.clone()], alone[..]);
            end = place.end;
        }
        assert_eq!(end, bytes.len());
    }

    #[test]
    fn an_archive_right_behind_others_is_the_one_that_stands_alone() {
        let lists: Vec<Vec<String>> = (0..20).map(|n| (0..n).map(|i| "text ".repeat(i)).collect()).collect();
        let mut archiver = Archiver::new();
        let alone: Vec<_> = lists.iter().map(|list| archiver.to_bytes(list).unwrap()).collect();
        let mut appending = archiver.open(AlignedVec::<16>::new(), 0);
        let mut places = vec![];
        for list in &lists {
            let start = appending.len();
            appending.bytes(&[1, 3]);
            appending.archive_here(list).unwrap();
            appending.insert(start + 1, &[2; 5]);
            places.push(start..appending.len());
        }
        let bytes: AlignedVec = appending.close();
        for (place, alone) in places.into_iter().zip(alone) {
            assert_eq!(bytes[place], [&[1, 2, 2, 2, 2, 2, 3], &alone[..]].concat());
        }
    }

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
