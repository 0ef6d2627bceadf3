//! Canonical bytes of keys, to be read from the front.
//!
//! Bytes are never trusted: what no key writes is a [`KeyError`] that says where and why. Each key has one form, so what is read writes the same bytes again.

use super::key::{ESCAPED_ZERO, STRING_END};
use std::fmt;

/// Why bytes are those of no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// Where it was found out, in bytes from the beginning.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no key: {} before byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for KeyError {}

/// What is left of the bytes of a key. See [`Key::read`](super::Key::read).
#[derive(Clone, Debug)]
pub struct KeySource<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> KeySource<'a> {
    /// Reads `bytes` from their beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.error("it ends"))?;
        (self.bytes, self.offset) = (rest, self.offset + N);
        Ok(*first)
    }

    /// Bytes that [`write_terminated`](super::write_terminated) has written.
    ///
    /// # Errors
    /// If they have no end.
    pub fn take_terminated(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut taken = Vec::new();
        loop {
            let zero = self.bytes.iter().position(|byte| *byte == 0).ok_or_else(|| self.error("it has no end"))?;
            let (piece, rest) = self.bytes.split_at(zero);
            taken.extend_from_slice(piece);
            (self.bytes, self.offset) = (rest, self.offset + zero);
            match self.take_array()? {
                STRING_END => return Ok(taken),
                ESCAPED_ZERO => taken.push(0),
                _ => return Err(self.error("a zero byte that says neither that it is one nor that this is the end")),
            }
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// If something is.
    pub fn finish(&self) -> Result<(), KeyError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error("something follows it")) }
    }

    /// An error at this place.
    #[must_use]
    pub fn error(&self, reason: &'static str) -> KeyError {
        KeyError { offset: self.offset, reason }
    }
}
