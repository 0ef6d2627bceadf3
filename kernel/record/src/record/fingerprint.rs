//! Layout fingerprints: which layout do these bytes have?
//!
//! A fingerprint is the XXH3-64 of a canonical description such as `struct{id:u64,tags:[string]}`. It covers names, order and types of fields
//! and variants, recursively; it does not cover the Rust names of types, so that renaming or moving a type keeps old bytes readable. Two
//! layouts with equal fingerprints are read as each other's bytes; nothing is migrated here.

use core::fmt;

use xxhash_rust::xxh3::xxh3_64;

use super::Record;

/// Prefix of each description. To be raised when the archived form of a layout changes (another rkyv format, another byte order).
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

    /// Adds a type without parts, such as `u64`.
    pub fn leaf(&mut self, name: &str) {
        self.text.push_str(name);
    }

    /// Adds a type made of others: `kind{...}`, the parts written by `parts`.
    pub fn group(&mut self, kind: &str, parts: impl FnOnce(&mut Self)) {
        self.text.push_str(kind);
        self.text.push('{');
        parts(self);
        self.text.push('}');
    }

    /// Adds a field of a struct, tuple or variant.
    pub fn field<T: Record>(&mut self, name: &str) {
        self.text.push_str(name);
        self.text.push(':');
        T::layout(self);
        self.text.push(',');
    }

    /// Adds a variant of an enum.
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
