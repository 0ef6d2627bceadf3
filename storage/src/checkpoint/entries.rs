//! The layout of state entries in a section of a snapshot.
//!
//! Each entry is a header of 16 bytes, perhaps a *namespace* of two numbers (a window's span, a timer's time), and the rkyv archives of key and
//! value, each aligned to 16 bytes (docs/src/formats.md#state-entries). An entry that says that there is none any more (a *tombstone*) has no value:
//!
//! ```text
//! key length u32 | value length u32 | flags u32: 1 there is a namespace, 2 tombstone | 0 u32
//! [namespace: i64 i64]
//! key archive, zeros to 16
//! [value archive, zeros to 16]
//! ```
//!
//! Bytes are not trusted: a section that passed its checksum is still checked by length and by rkyv, and an error says what is wrong, never guesses.

use thalweg_record::record::{Appending, ArchiveError, Key, Record, RecordLayout, UnreadableRecord};

/// Header of an entry, and alignment of its parts, in bytes.
const UNIT: usize = 16;

/// The flag of an entry with a namespace.
const HAS_NAMESPACE: u32 = 1;

/// The flag of a tombstone.
const IS_TOMBSTONE: u32 = 2;

/// Distinguishes the entries of one key: the two ends of a window, or a timer's time.
pub type Namespace = (i64, i64);

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
/// A key or value that is too long for rkyv's 32-bit offsets.
pub fn append_entry<K: Key, V: Record>(
    section: &mut Appending<'_>,
    namespace: Option<Namespace>,
    key: &K,
    value: Option<&V>,
) -> Result<(), ArchiveError> {
    let header = section.align();
    section.bytes(&[0; UNIT]);
    if let Some((first, second)) = namespace {
        section.bytes(&first.to_le_bytes());
        section.bytes(&second.to_le_bytes());
    }
    let key = section.archive(key)?;
    let value_bytes = value.map_or(Ok(0), |value| section.archive(value).map(|value| value.len()))?;
    section.align();
    let mut fields = [0; UNIT];
    let length = |bytes: usize| u32::try_from(bytes).expect("invariant: rkyv refuses archives of 2^31 bytes and more");
    let flags = if namespace.is_some() { HAS_NAMESPACE } else { 0 } | if value.is_none() { IS_TOMBSTONE } else { 0 };
    for (field, number) in fields.chunks_exact_mut(4).zip([length(key.len()), length(value_bytes), flags]) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    section.overwrite(header, &fields);
    Ok(())
}

/// Reads the entries of a section, which must be aligned to 16 bytes. After an error it returns no more entries.
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Starts at the first entry of `section`.
    #[must_use]
    pub fn new(section: &'a [u8]) -> Self {
        Self { rest: section }
    }

    /// The next entry, with the layouts of its key and value; `None` at the end.
    ///
    /// # Errors
    /// If the entry's bytes are damaged; says how.
    pub fn next<K: Key, V: Record>(&mut self, key: &RecordLayout<K>, value: &RecordLayout<V>) -> Option<Result<SavedEntry<K, V>, String>> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read(key, value);
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }

    fn read<K: Key, V: Record>(
        &mut self,
        key_layout: &RecordLayout<K>,
        value_layout: &RecordLayout<V>,
    ) -> Result<SavedEntry<K, V>, String> {
        let header = self.split(UNIT, "its header")?;
        let field = |i: usize| header.get(4 * i..4 * i + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (key_bytes, value_bytes, flags) = (field(0) as usize, field(1) as usize, field(2));
        let is_tombstone = flags & IS_TOMBSTONE != 0;
        if flags & !(HAS_NAMESPACE | IS_TOMBSTONE) != 0 || field(3) != 0 || (is_tombstone && value_bytes != 0) {
            return Err(format!("an entry of state with a value of {value_bytes} bytes has the flags {flags} and {}", field(3)));
        }
        let namespace = if flags & HAS_NAMESPACE == 0 {
            None
        } else {
            let bytes = self.split(UNIT, "its namespace")?;
            let number = |i: usize| bytes.get(8 * i..8 * i + 8).and_then(|b| b.try_into().ok()).map_or(0, i64::from_le_bytes);
            Some((number(0), number(1)))
        };
        let key = self.archive(key_bytes, "its key")?;
        let value = if is_tombstone { None } else { Some(self.archive(value_bytes, "its value")?) };
        let unreadable = |part: &str, error: UnreadableRecord| format!("the {part} of an entry of state cannot be taken: {error}");
        let key = key_layout.read_owned(key).map_err(|error| unreadable("key", error))?;
        let value = value.map(|value| value_layout.read_owned(value)).transpose().map_err(|error| unreadable("value", error))?;
        Ok(SavedEntry { namespace, key, value })
    }

    fn archive(&mut self, bytes: usize, what: &str) -> Result<&'a [u8], String> {
        let padded = self.split(bytes.next_multiple_of(UNIT), what)?;
        Ok(&padded[..bytes])
    }

    fn split(&mut self, bytes: usize, what: &str) -> Result<&'a [u8], String> {
        let (part, rest) = self.rest.split_at_checked(bytes).ok_or_else(|| format!("an entry of state ends within {what}"))?;
        self.rest = rest;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rkyv::util::AlignedVec;
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
