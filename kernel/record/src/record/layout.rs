//! A layout as a value: the form of the records of an edge, a state, a split or a transaction.
//!
//! By default it is the layout that their Rust type describes. One type can stand for many layouts, though: a row whose columns are known only when the job
//! runs is one struct, and rows of two schemas must be told apart wherever bytes are read. For such a type the layout is given where the job is described,
//! and a wire, a checkpoint and the job's fingerprint know the records by that value and by nothing else.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fingerprint::{LayoutFingerprint, LayoutHasher};
use super::{ArchiveError, Record, access};

/// A layout, in words and as a number that follows from them. Clones share the words. Files hold the words.
///
/// ```
/// use thalweg_record::record::Layout;
/// let layout = Layout::of::<(u64, String)>();
/// assert_eq!(layout.text(), "tuple{0:u64,1:string,}");
/// assert_eq!(layout, Layout::described(layout.text()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    text: Arc<str>,
    fingerprint: LayoutFingerprint,
}

impl Layout {
    /// The layout of `T`.
    #[must_use]
    pub fn of<T: Record>() -> Self {
        let mut hasher = LayoutHasher::new();
        T::layout(&mut hasher);
        Self { text: hasher.description().into(), fingerprint: hasher.finish() }
    }

    /// The layout with this description.
    #[must_use]
    pub fn described(text: &str) -> Self {
        let mut hasher = LayoutHasher::new();
        hasher.leaf(text);
        Self { text: text.into(), fingerprint: hasher.finish() }
    }

    /// The empty layout, for the key of a state that has none.
    #[must_use]
    pub fn none() -> Self {
        Self::described("")
    }

    /// The layout of an option of this one, as an `Option` of its type describes itself.
    #[must_use]
    pub fn optional(&self) -> Self {
        Self::described(&format!("option{{{}}}", self.text))
    }

    /// The canonical description.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fingerprint of the description.
    #[must_use]
    pub fn fingerprint(&self) -> LayoutFingerprint {
        self.fingerprint
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::none()
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Layout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::described(&text))
    }
}

/// The description.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks each record that arrives.
type Check<T> = Arc<dyn for<'a> Fn(<T as Record>::Ref<'a>) -> Result<(), String> + Send + Sync>;

/// The [`Layout`] of records of type `T`, and perhaps a check that a record must pass where it arrives as bytes. The default is the type's own layout,
/// without a check.
///
/// By then rkyv's check has seen that the bytes are a `T`. It cannot know whether that `T` is a record of this layout: a row with as many columns as its
/// schema has, say.
///
/// ```
/// use thalweg_record::record::{Layout, RecordLayout};
///
/// let pair = RecordLayout::<Vec<i64>>::given(Layout::described("row{x:i64,y:i64,}"))
///     .with_check(|row| if row.len() == 2 { Ok(()) } else { Err(format!("a row of {} columns", row.len())) });
/// assert_eq!(pair.layout().text(), "row{x:i64,y:i64,}");
/// assert_eq!(pair.check(vec![1, 2, 3].view()), Err("a row of 3 columns".to_owned()));
/// # use thalweg_record::record::Record;
/// ```
pub struct RecordLayout<T: Record> {
    layout: Layout,
    check: Option<Check<T>>,
}

impl<T: Record> RecordLayout<T> {
    /// Records with this layout instead of the type's own.
    #[must_use]
    pub fn given(layout: Layout) -> Self {
        Self { layout, check: None }
    }

    /// The same with a check of each record that arrives from another process or out of a checkpoint. The error says what is wrong with the record; it fails
    /// the attempt, or refuses the checkpoint.
    #[must_use]
    pub fn with_check(self, check: impl for<'a> Fn(T::Ref<'a>) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { check: Some(Arc::new(check)), ..self }
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether records are checked one by one.
    #[must_use]
    pub fn has_check(&self) -> bool {
        self.check.is_some()
    }

    /// Checks a record that has arrived.
    ///
    /// # Errors
    /// The reason for which the record is refused.
    pub fn check(&self, record: T::Ref<'_>) -> Result<(), String> {
        self.check.as_ref().map_or(Ok(()), |check| check(record))
    }

    /// The same layout and check for an option of such a record.
    #[must_use]
    pub fn optional(&self) -> RecordLayout<Option<T>> {
        let layout = RecordLayout::given(self.layout.optional());
        match self.check.clone() {
            Some(check) => layout.with_check(move |record: Option<T::Ref<'_>>| record.map_or(Ok(()), |record| check(record))),
            None => layout,
        }
    }

    /// Checks `bytes` and rebuilds the owned record.
    ///
    /// # Errors
    /// As [`access`], and the error of the layout's own check.
    pub fn read_owned(&self, bytes: &[u8]) -> Result<T, UnreadableRecord> {
        let view = T::view_archived(access::<T>(bytes)?);
        self.check(view).map_err(UnreadableRecord::Refused)?;
        Ok(T::from_view(view))
    }
}

/// What state has several of for each key, under hashes that are spread over all there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The entries of a map.
    MapEntries,
    /// The pieces of a list.
    Pieces,
    /// Timers.
    Timers,
}

impl Parts {
    const ALL: [Self; 3] = [Self::MapEntries, Self::Pieces, Self::Timers];

    /// How a layout says so (docs/src/formats.md#state-entries).
    fn word(self) -> &'static str {
        match self {
            Self::MapEntries => "map",
            Self::Pieces => "list",
            Self::Timers => "timers",
        }
    }
}

impl Layout {
    /// Whether it is the layout of [parts](Parts) of which a key has several.
    #[must_use]
    pub fn is_of_parts(&self) -> bool {
        Parts::ALL.into_iter().any(|what| self.text().strip_prefix(what.word()).is_some_and(|rest| rest.starts_with("{of:")))
    }
}

impl<A: Record, B: Record> RecordLayout<(A, B)> {
    /// The layout of one of several things that an `A` has, each under a `B`: of an entry of its map, say, or of a piece of its list. It is another one than that
    /// of the pair. A given layout and a check of `of` hold for it.
    #[must_use]
    pub fn part(what: Parts, of: &RecordLayout<A>) -> Self {
        let layout = Layout::described(&format!("{}{{of:{},under:{},}}", what.word(), of.layout, Layout::of::<B>()));
        match of.check.clone() {
            Some(check) => Self::given(layout).with_check(move |(first, _): (A::Ref<'_>, B::Ref<'_>)| check(first)),
            None => Self::given(layout),
        }
    }
}

impl<T: Record> Default for RecordLayout<T> {
    fn default() -> Self {
        Self::given(Layout::of::<T>())
    }
}

impl<T: Record> Clone for RecordLayout<T> {
    fn clone(&self) -> Self {
        Self { layout: self.layout.clone(), check: self.check.clone() }
    }
}

impl<T: Record> fmt::Debug for RecordLayout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordLayout").field("layout", &self.layout.text()).field("has_check", &self.has_check()).finish()
    }
}

/// Why bytes are not a record of a layout.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnreadableRecord {
    /// The bytes are not an archive of the type.
    Damaged(ArchiveError),
    /// The layout's own check refuses the record.
    Refused(String),
}

impl From<ArchiveError> for UnreadableRecord {
    fn from(error: ArchiveError) -> Self {
        Self::Damaged(error)
    }
}

impl fmt::Display for UnreadableRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(error) => write!(f, "it is damaged: {error}"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for UnreadableRecord {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_given_layout_is_described_as_an_option_of_a_type_is() {
        assert_eq!(RecordLayout::<u64>::default().optional().layout(), &Layout::of::<Option<u64>>());
    }

    #[test]
    fn a_record_that_the_layout_refuses_is_not_rebuilt() {
        let even = RecordLayout::<u64>::default().with_check(|n| if n % 2 == 0 { Ok(()) } else { Err(format!("{n} is odd")) });
        let read = |n: u64| even.read_owned(&crate::record::Archiver::new().to_bytes(&n).unwrap());
        assert_eq!(read(4).unwrap(), 4);
        assert!(matches!(read(5), Err(UnreadableRecord::Refused(reason)) if reason == "5 is odd"));
        assert!(matches!(even.read_owned(&[0; 3]), Err(UnreadableRecord::Damaged(_))));
        assert_eq!(even.optional().check(None), Ok(()));
        assert_eq!(even.optional().check(Some(5)), Err("5 is odd".to_owned()));
    }
}
