//! The layout of state entries in a section of a snapshot.
//!
//! Each entry is a few bytes of lengths and flags, perhaps a *namespace* of two numbers (a window's span), the canonical bytes of its key and
//! the rkyv archive of its value, one right behind the other (docs/src/formats.md#state-entries). An entry that says that there is none any more (a
//! *tombstone*) has no value:
//!
//! ```text
//! flags u8: 1 there is a namespace, 2 tombstone, 4 lengths are u32
//! length of the key u8 or u32 | length of the value likewise
//! [namespace: i64 i64]
//! key
//! [value]
//! ```
//!
//! Bytes are not trusted: a section that passed its checksum is still checked by length, by the key's type and by rkyv, and an error says what is wrong, never
//! guesses. [`RawEntries`] checks what can be checked of entries of any type, [`Entries`] the rest.

use rkyv::util::AlignedVec;
use thalweg_record::record::{Appending, ArchiveError, Key, Record, RecordLayout, UnreadableRecord};

/// The flag of an entry with a namespace.
const HAS_NAMESPACE: u8 = 1;

/// The flag of a tombstone.
const IS_TOMBSTONE: u8 = 2;

/// The flag of an entry of which the key or the value has 256 bytes or more.
const IS_LONG: u8 = 4;

/// Bytes in front of an entry that is not long, and how many more there are in front of a long one.
const SHORT: usize = 3;
const LONGER: usize = 6;

/// Alignment of a value where it is read, in bytes.
const ALIGN: usize = 16;

/// Distinguishes the entries of one key: the two ends of a window.
pub type Namespace = (i64, i64);

/// Bytes of a namespace.
const NAMESPACE_BYTES: usize = 16;

/// The bytes of a namespace.
pub(crate) fn namespace_bytes((first, second): Namespace) -> [u8; NAMESPACE_BYTES] {
    let mut bytes = [0; NAMESPACE_BYTES];
    let (front, back) = bytes.split_at_mut(NAMESPACE_BYTES / 2);
    front.copy_from_slice(&first.to_le_bytes());
    back.copy_from_slice(&second.to_le_bytes());
    bytes
}

/// Takes a namespace off the front of `bytes`; `None` if there are fewer than it has.
#[must_use]
pub fn take_namespace(bytes: &mut &[u8]) -> Option<Namespace> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    *bytes = rest;
    Some((i64::from_le_bytes(*first), i64::from_le_bytes(*second)))
}

/// An entry as it was read back.
pub struct SavedEntry<K, V> {
    /// Distinguishes the entry from others of its key.
    pub namespace: Option<Namespace>,
    /// The key the entry belongs to.
    pub key: K,
    /// The value kept for the key; `None` in a tombstone: whatever was saved of the entry before, it is gone.
    pub value: Option<V>,
}

/// Appends an entry to a section, or a tombstone if there is no value: the [`Encode`](crate::Encode) of values that are saved as they are.
///
/// # Errors
/// A value that is too long for rkyv's 32-bit offsets.
#[inline]
pub fn append_entry<K: Key, V: Record>(
    section: &mut Appending<'_>,
    namespace: Option<Namespace>,
    key: &K,
    value: Option<&V>,
) -> Result<(), ArchiveError> {
    let start = section.len();
    section.bytes(&[0; SHORT]);
    let mut flags = 0;
    if let Some(namespace) = namespace {
        flags |= HAS_NAMESPACE;
        section.bytes(&namespace_bytes(namespace));
    }
    let key_at = section.len();
    K::write(key.view(), section);
    let value_at = section.len();
    match value {
        Some(value) => section.archive_here(value)?,
        None => flags |= IS_TOMBSTONE,
    }
    match (u8::try_from(value_at - key_at), u8::try_from(section.len() - value_at)) {
        (Ok(key), Ok(value)) => section.overwrite(start, &[flags, key, value]),
        _ => lengthen(section, start, flags, value_at - key_at, section.len() - value_at),
    }
    Ok(())
}

/// Makes room in front of an entry whose lengths have turned out to be long.
#[cold]
fn lengthen(section: &mut Appending<'_>, start: usize, flags: u8, key: usize, value: usize) {
    let length = |bytes: usize| u32::try_from(bytes).expect("invariant: keys and archives of 2^32 bytes have been refused").to_le_bytes();
    let ([k0, k1, k2, k3], [v0, v1, v2, v3]) = (length(key), length(value));
    section.insert(start, &[0; LONGER]);
    section.overwrite(start, &[flags | IS_LONG, k0, k1, k2, k3, v0, v1, v2, v3]);
}

/// An entry as it lies in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEntry<'a> {
    /// Distinguishes the entry from others of its key.
    pub namespace: Option<Namespace>,
    /// The canonical bytes of the key.
    pub key: &'a [u8],
    /// The archive of the value, which may lie anywhere: it is to be moved to a multiple of 16 before it is read. `None` in a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Takes the entries of a section apart, whatever their types are. After an error it returns no more entries.
///
/// ```
/// use thalweg_storage::checkpoint::{RawEntries, RawEntry};
/// let mut entries = RawEntries::new(&[2, 1, 0, b'k', 0, 1, 3, b'n', b'o']);
/// assert_eq!(entries.next(), Some(Ok(RawEntry { namespace: None, key: b"k", value: None })));
/// assert!(entries.next().unwrap().unwrap_err().contains("ends within its value"));
/// assert_eq!(entries.next(), None);
/// ```
#[derive(Clone, Debug)]
pub struct RawEntries<'a> {
    rest: &'a [u8],
}

impl<'a> RawEntries<'a> {
    /// Starts at the first entry of `section`.
    #[must_use]
    pub fn new(section: &'a [u8]) -> Self {
        Self { rest: section }
    }

    /// The bytes of the entries that are still to come.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn read(&mut self) -> Result<RawEntry<'a>, String> {
        let [flags] = self.numbers("its flags")?;
        if flags & !(HAS_NAMESPACE | IS_TOMBSTONE | IS_LONG) != 0 {
            return Err(format!("an entry of state has the flags {flags}"));
        }
        let [key_bytes, value_bytes] = if flags & IS_LONG == 0 {
            self.numbers::<2>("its lengths")?.map(usize::from)
        } else {
            let mut length = || self.numbers("its lengths").map(|bytes| u32::from_le_bytes(bytes) as usize);
            let lengths = [length()?, length()?];
            if lengths.iter().all(|length| *length <= usize::from(u8::MAX)) {
                return Err(format!("an entry of state with lengths of {lengths:?} is said to be long"));
            }
            lengths
        };
        let is_tombstone = flags & IS_TOMBSTONE != 0;
        if is_tombstone && value_bytes != 0 {
            return Err(format!("an entry of state is a tombstone with a value of {value_bytes} bytes"));
        }
        let namespace = if flags & HAS_NAMESPACE == 0 {
            None
        } else {
            Some(take_namespace(&mut self.rest).ok_or_else(|| ends_within("its namespace"))?)
        };
        let (key, value) = (self.split(key_bytes, "its key")?, self.split(value_bytes, "its value")?);
        Ok(RawEntry { namespace, key, value: (!is_tombstone).then_some(value) })
    }

    fn numbers<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let (first, rest) = self.rest.split_first_chunk().ok_or_else(|| ends_within(what))?;
        self.rest = rest;
        Ok(*first)
    }

    fn split(&mut self, bytes: usize, what: &str) -> Result<&'a [u8], String> {
        let (part, rest) = self.rest.split_at_checked(bytes).ok_or_else(|| ends_within(what))?;
        self.rest = rest;
        Ok(part)
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = Result<RawEntry<'a>, String>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// Reads the entries of a section. After an error it returns no more entries.
pub struct Entries<'a> {
    raw: RawEntries<'a>,
    /// A value is read here: in the section it may lie anywhere.
    aligned: AlignedVec<ALIGN>,
}

impl<'a> Entries<'a> {
    /// Starts at the first entry of `section`.
    #[must_use]
    pub fn new(section: &'a [u8]) -> Self {
        Self { raw: RawEntries::new(section), aligned: AlignedVec::new() }
    }

    /// The next entry, with the layouts of its key and value; `None` at the end.
    ///
    /// # Errors
    /// If the entry's bytes are damaged; says how.
    pub fn next<K: Key, V: Record>(&mut self, key: &RecordLayout<K>, value: &RecordLayout<V>) -> Option<Result<SavedEntry<K, V>, String>> {
        let read = self.raw.next()?.and_then(|entry| self.decode(entry, key, value));
        if read.is_err() {
            self.raw = RawEntries::new(&[]);
        }
        Some(read)
    }

    fn decode<K: Key, V: Record>(
        &mut self,
        entry: RawEntry<'_>,
        key_layout: &RecordLayout<K>,
        value_layout: &RecordLayout<V>,
    ) -> Result<SavedEntry<K, V>, String> {
        let key = K::decode(entry.key).map_err(|error| format!("the key of an entry of state cannot be taken: {error}"))?;
        key_layout.check(key.view()).map_err(|reason| format!("the key of an entry of state cannot be taken: {reason}"))?;
        let value = entry.value.map(|value| self.value(value, value_layout)).transpose()?;
        Ok(SavedEntry { namespace: entry.namespace, key, value })
    }

    fn value<V: Record>(&mut self, value: &[u8], layout: &RecordLayout<V>) -> Result<V, String> {
        self.aligned.clear();
        self.aligned.extend_from_slice(value);
        layout
            .read_owned(&self.aligned)
            .map_err(|error: UnreadableRecord| format!("the value of an entry of state cannot be taken: {error}"))
    }
}

fn ends_within(what: &str) -> String {
    format!("an entry of state ends within {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use thalweg_record::record::Archiver;

    type Owned = (Option<Namespace>, String, Option<Vec<u64>>);

    fn section_of(entries: &[Owned]) -> AlignedVec {
        let mut archiver = Archiver::new();
        let mut section = archiver.open(AlignedVec::<16>::new(), 0);
        for (namespace, key, value) in entries {
            append_entry(&mut section, *namespace, key, value.as_ref()).unwrap();
        }
        section.close()
    }

    fn read_all(section: &[u8]) -> Result<Vec<Owned>, String> {
        let mut entries = Entries::new(section);
        let (key, value) = (RecordLayout::<String>::default(), RecordLayout::<Vec<u64>>::default());
        std::iter::from_fn(|| entries.next(&key, &value)).map(|e| e.map(|e| (e.namespace, e.key, e.value))).collect()
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_were_written(entries: Vec<Owned>) {
            prop_assert_eq!(read_all(&section_of(&entries)), Ok(entries));
        }
    }

    #[test]
    fn a_short_entry_has_three_bytes_in_front_and_a_long_one_nine() {
        let short = |text: usize, numbers: usize| (None, "k".repeat(text), Some(vec![7; numbers]));
        let length = |entry: &Owned| section_of(std::slice::from_ref(entry)).len();
        let (key, list) = (3, 8);
        assert_eq!(length(&short(1, 0)), SHORT + key + list);
        for long in [short(254, 0), short(1, 31), short(70_000, 9_000), (Some((1, 2)), "k".repeat(300), None)] {
            assert_eq!(read_all(&section_of(&[long.clone(), short(1, 0), long.clone()])), Ok(vec![long.clone(), short(1, 0), long]));
        }
        assert_eq!(length(&short(253, 30)), SHORT + 255 + list + 240);
        assert_eq!(length(&short(254, 30)), SHORT + LONGER + 256 + list + 240);
        assert_eq!(length(&short(1, 31)), SHORT + LONGER + key + list + 248);
    }

    #[test]
    fn lengths_that_are_short_are_not_written_long() {
        let mut section = vec![IS_LONG];
        [3u32, 8].iter().for_each(|length| section.extend(length.to_le_bytes()));
        section.extend(b"k\0\0\0\0\0\0\0\0\0\0");
        assert!(read_all(&section).is_err_and(|reason| reason.contains("said to be long")));
    }

    #[test]
    fn a_section_that_is_cut_anywhere_gives_whole_entries_and_then_an_error() {
        let long = "a longer key than the inline ones".to_owned();
        let entries = vec![(None, "to".to_owned(), Some(vec![1, 2])), (Some((3, 4)), long, Some(vec![])), (None, "gone".to_owned(), None)];
        let section = section_of(&entries);
        for length in 0..section.len() {
            let mut cut = AlignedVec::<16>::new();
            cut.extend_from_slice(&section[..length]);
            match read_all(&cut) {
                Ok(read) => assert_eq!(read, entries[..read.len()], "cut at {length}"),
                Err(reason) => assert!(reason.contains("entry of state"), "{reason}"),
            }
        }
    }

    #[test]
    fn a_flipped_bit_never_panics() {
        let entries =
            vec![(Some((3, 4)), "a longer key than the inline ones".to_owned(), Some(vec![1, 2, 3])), (None, "gone".to_owned(), None)];
        let section = section_of(&entries);
        for bit in 0..section.len() * 8 {
            let mut flipped = AlignedVec::<16>::new();
            flipped.extend_from_slice(&section);
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = read_all(&flipped);
        }
    }
}
