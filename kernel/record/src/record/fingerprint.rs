//! Layout fingerprints: which layout do these bytes have?
//!
//! A fingerprint is the XXH3-64 of a canonical description such as `struct{id:u64,tags:[string]}`. It covers names, order and types of fields
//! and variants, recursively; it does not cover the Rust names of types, so that renaming or moving a type keeps old bytes readable. Two
//! layouts with equal fingerprints are read as each other's bytes; nothing is migrated here.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::Record;

/// Stands before each description. To be raised when the archived form of a layout changes (another rkyv format, another byte order).
const FORMAT: &str = "thalweg-layout-1:rkyv-0.8-le:";

/// Identifies the layout of a record's archive. Frames, files and savepoints carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayoutFingerprint(u64);

impl LayoutFingerprint {
    /// The fingerprint read from a header.
    #[inline]
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The number to write into a header.
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for LayoutFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A layout, in words and as a number that follows from them. Clones share the words. In files it is the words.
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
    /// That of `T`.
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

    /// That of nothing: where a state has no key.
    #[must_use]
    pub fn none() -> Self {
        Self::described("")
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

/// Collects the canonical description of a layout.
///
/// Names are Rust identifiers, so the punctuation between them keeps any two layouts apart.
#[derive(Debug)]
pub struct LayoutHasher {
    text: String,
}

impl Default for LayoutHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl LayoutHasher {
    /// An empty description.
    pub fn new() -> Self {
        Self { text: FORMAT.to_string() }
    }

    /// A type without parts, such as `u64`.
    pub fn leaf(&mut self, name: &str) {
        self.text.push_str(name);
    }

    /// A type made of others: `kind{...}`, the parts written by `parts`.
    pub fn group(&mut self, kind: &str, parts: impl FnOnce(&mut Self)) {
        self.text.push_str(kind);
        self.text.push('{');
        parts(self);
        self.text.push('}');
    }

    /// A field of a struct, tuple or variant.
    pub fn field<T: Record>(&mut self, name: &str) {
        self.text.push_str(name);
        self.text.push(':');
        T::layout(self);
        self.text.push(',');
    }

    /// A variant of an enum.
    pub fn variant(&mut self, name: &str, fields: impl FnOnce(&mut Self)) {
        self.group(name, fields);
        self.text.push(',');
    }

    /// The description so far, for error messages and tests.
    pub fn description(&self) -> &str {
        self.text.strip_prefix(FORMAT).unwrap_or(&self.text)
    }

    /// The fingerprint of the description.
    pub fn finish(&self) -> LayoutFingerprint {
        LayoutFingerprint(xxh3_64(self.text.as_bytes()))
    }
}
