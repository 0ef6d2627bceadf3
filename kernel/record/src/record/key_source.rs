//! Reads the canonical bytes of keys, from the front.
//!
//! Bytes are never trusted: bytes that no key writes are a [`KeyError`] that says where and why. Each key has one form, so a key that was read writes the
//! same bytes again.

use super::key::{ESCAPED_ZERO, STRING_END};
use std::fmt;

/// Why bytes are not those of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// Where the error was found, in bytes from the beginning.
    pub offset: usize,
    /// The problem.
    pub reason: &'static str,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no key: {} before byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for KeyError {}

/// The bytes of a key that are left to read. See [`Key::read`](super::Key::read).
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
    /// If fewer than `N` are left.
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

    /// Checks that no bytes are left.
    ///
    /// # Errors
    /// If bytes are left.
    pub fn finish(&self) -> Result<(), KeyError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error("something follows it")) }
    }

    /// An error at this offset.
    #[must_use]
    pub fn error(&self, reason: &'static str) -> KeyError {
        KeyError { offset: self.offset, reason }
    }
}
