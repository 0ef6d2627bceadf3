//! Encoding and decoding of control messages.
//!
//! ```text
//! magic "TWGm" | version u16 | 0 u16 | length of the body u32 | CRC-32 of the body u32 | CRC-32 of the sixteen bytes before u32 | body: kind u8, fields
//! ```
//!
//! The header has a checksum of its own: with a length that was corrupted on its way a reader would wait for a body that is never sent, and take every
//! heartbeat for a part of it.
//!
//! A single version is written and read: the processes of a cluster run the same binary (docs/src/formats.md#control-messages). A message is at most
//! [`MESSAGE_BYTES_MAX`] long; the sender checks the length before sending, the receiver before reading the body.

use super::fields::{Field, Fields, Malformed};
use super::message::Message;
use crate::auth::PROTOCOL_VERSION;
use thalweg_io::Buffer;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 20;

/// The longest body. The longest messages are acknowledgements, with the state of a subtask up to [`INLINE_BYTES_MAX`], the positions of its splits and a
/// transaction; sixteen MiB leave each of them more than any has ever needed, and leave a coordinator of a hundred workers the memory to read one message
/// from each.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The most that a checkpoint's `inline_bytes_max` may be in a cluster: half of a message.
pub(crate) const INLINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

const MAGIC: [u8; 4] = *b"TWGm";

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("what came is not a message of Thalweg")]
    Foreign,
    #[error(
        "what came is a message of version {found} and this process knows version {PROTOCOL_VERSION}: start the same binary everywhere"
    )]
    UnknownVersion { found: u16 },
    #[error("a message of {bytes} bytes was announced and {limit} are the most here")]
    TooLong { bytes: usize, limit: usize },
    #[error("a message was changed on its way: its checksum does not match")]
    Corrupt,
    #[error("a message is intact and makes no sense: {0}")]
    Malformed(#[from] Malformed),
}

/// A message is too long to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} of {bytes} bytes is too long to be sent to another process, {MESSAGE_BYTES_MAX} are the most: let state go into files with a smaller \
     CheckpointConfig::inline_bytes_max, and keep the positions of splits and the transactions of sinks small"
)]
pub(crate) struct TooLong {
    what: &'static str,
    bytes: usize,
}

/// Encodes `message`, header included.
pub(crate) fn encode(message: &Message) -> Result<Buffer, TooLong> {
    let mut body = Vec::new();
    message.put(&mut body);
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(TooLong { what: message.name(), bytes: body.len() });
    }
    let length = u32::try_from(body.len()).expect("invariant: a message is not that long");
    let mut bytes = Buffer::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    let header_crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&header_crc.to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The header's fields about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The length of the body in bytes.
    pub(crate) length: usize,
    /// The CRC-32 of the body.
    crc: u32,
}

impl Header {
    /// Decodes the header of a message whose body may be at most `limit` bytes long.
    pub(crate) fn decode(bytes: &[u8], limit: usize) -> Result<Self, CodecError> {
        let mut fields = Fields::new(bytes);
        if fields.slice(MAGIC.len())? != MAGIC {
            return Err(CodecError::Foreign);
        }
        let version = u16::take(&mut fields)?;
        if version != PROTOCOL_VERSION {
            return Err(CodecError::UnknownVersion { found: version });
        }
        let zero = u16::take(&mut fields)?;
        let length = u32::take(&mut fields)? as usize;
        let crc = u32::take(&mut fields)?;
        let header_crc = u32::take(&mut fields)?;
        if header_crc != crc32fast::hash(&bytes[..HEADER_BYTES - 4]) {
            return Err(CodecError::Corrupt);
        }
        if zero != 0 {
            return Err(CodecError::Foreign);
        }
        if length > limit {
            return Err(CodecError::TooLong { bytes: length, limit });
        }
        Ok(Self { length, crc })
    }
}

/// Decodes a whole message, header included.
pub(crate) fn decode(bytes: &[u8], limit: usize) -> Result<Message, CodecError> {
    let Header { length, crc } = Header::decode(bytes, limit)?;
    let mut fields = Fields::new(&bytes[HEADER_BYTES..]);
    let body = fields.slice(length)?;
    fields.end()?;
    if crc != crc32fast::hash(body) {
        return Err(CodecError::Corrupt);
    }
    let mut fields = Fields::new(body);
    let message = Message::take(&mut fields)?;
    fields.end()?;
    Ok(message)
}

#[cfg(test)]
mod tests;
