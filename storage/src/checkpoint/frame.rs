//! The first 32 bytes of every durable file, and how bytes are read without trusting them.
//!
//! The header has the same shape in every version of every file, so that a program of any age can say what a file is. It is checked in this order:
//! magic (is it ours at all), checksum (is the header what was written), kind, version. See docs/src/formats.md#the-header.

use super::CheckpointError;

/// The length of a header.
pub(super) const HEADER_BYTES: usize = 32;

/// Every part of a file begins at a multiple of this many bytes, the strictest alignment of an archived type.
pub(super) const ALIGN: usize = 16;

/// The line break shows a transfer that took the file for text.
const MAGIC: [u8; 8] = *b"THALWEG\n";

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The image of one subtask's state.
    Snapshot,
    /// A checkpoint's metadata.
    Metadata,
    /// An entry of the log.
    LogEntry,
}

impl FileKind {
    const ALL: [Self; 3] = [Self::Snapshot, Self::Metadata, Self::LogEntry];

    fn tag(self) -> [u8; 4] {
        match self {
            Self::Snapshot => *b"snap",
            Self::Metadata => *b"meta",
            Self::LogEntry => *b"logn",
        }
    }

    /// The version that is written, and the only version that is read.
    #[must_use]
    pub fn version(self) -> u32 {
        match self {
            Self::Snapshot => 5,
            Self::Metadata => 4,
            Self::LogEntry => 1,
        }
    }

    /// What a file of this kind is, in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "a snapshot",
            Self::Metadata => "a checkpoint's metadata",
            Self::LogEntry => "a log entry",
        }
    }
}

/// The header's fields besides magic, kind and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The length of the body; zero for a snapshot, which is written before its length is known.
    pub(super) length: u64,
    /// The CRC-32 of the body; zero for a snapshot, whose index holds its checksums.
    pub(super) crc: u32,
}

impl Header {
    pub(super) fn encode(self, kind: FileKind) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&kind.tag());
        bytes.extend_from_slice(&kind.version().to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().expect("invariant: the fields of a header are 32 bytes")
    }

    /// Reads the header of a file that should be of the kind `kind`.
    pub(super) fn decode(reader: &mut Reader<'_>, kind: FileKind) -> Result<Self, CheckpointError> {
        let file = || reader.file.to_owned();
        let FileHeader { kind: found, version, length, crc } = FileHeader::take(reader)?;
        if found != Some(kind) {
            return Err(CheckpointError::Foreign { file: file(), reason: format!("is intact, but not {}", kind.name()) });
        }
        if version != kind.version() {
            return Err(CheckpointError::UnknownVersion { file: file(), found: version, known: kind.version() });
        }
        Ok(Self { length, crc })
    }
}

/// What the header of a file says, whatever its kind and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The kind of the file; `None` if this program does not know it.
    pub kind: Option<FileKind>,
    /// The version of its format.
    pub version: u32,
    /// The length of the body in bytes; zero in a snapshot.
    pub length: u64,
    /// The CRC-32 of the body; zero in a snapshot.
    pub crc: u32,
}

impl FileHeader {
    /// Reads the header of a durable file from its first bytes. What follows is not looked at. Errors name `file`.
    ///
    /// ```
    /// use thalweg_storage::checkpoint::{FileHeader, FileKind, SnapshotWriter};
    /// let header = FileHeader::read("x.state", &SnapshotWriter::new().finish().rest)?;
    /// assert_eq!((header.kind, header.version), (Some(FileKind::Snapshot), FileKind::Snapshot.version()));
    /// # Ok::<_, thalweg_storage::checkpoint::CheckpointError>(())
    /// ```
    ///
    /// # Errors
    /// If the file was not written by Thalweg, or the header is torn or damaged.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, CheckpointError> {
        Self::take(&mut Reader::new(file, bytes, 0))
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let start = reader.at;
        let magic = reader.take(MAGIC.len(), "the header")?;
        if magic != MAGIC {
            return Err(CheckpointError::Foreign { file: reader.file.to_owned(), reason: "was not written by Thalweg".to_owned() });
        }
        let tag = reader.take(4, "the header")?;
        let version = reader.u32("the header")?;
        let length = reader.u64("the header")?;
        let crc = reader.u32("the header")?;
        let covered = reader.since(start);
        if reader.u32("the header")? != crc32fast::hash(covered) {
            return Err(reader.corrupt(start, "the checksum of the header does not match"));
        }
        let kind = FileKind::ALL.into_iter().find(|kind| kind.tag() == tag);
        Ok(Self { kind, version, length, crc })
    }
}

/// The bytes of a header and a body.
pub(super) fn framed(kind: FileKind, body: &[u8]) -> Vec<u8> {
    let header = Header { length: body.len() as u64, crc: crc32fast::hash(body) };
    [&header.encode(kind)[..], body].concat()
}

/// Reads header and body; the bytes that follow stay in the reader.
pub(super) fn unframe<'a>(reader: &mut Reader<'a>, kind: FileKind) -> Result<&'a [u8], CheckpointError> {
    let header = Header::decode(reader, kind)?;
    let start = reader.at;
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let body = reader.take(length, "the body")?;
    if crc32fast::hash(body) != header.crc {
        return Err(reader.corrupt(start, "the checksum of the body does not match"));
    }
    Ok(body)
}

/// Takes bytes from the front of the rest. Every length is compared with the bytes that are left before it is used.
pub(super) struct Reader<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begins in the file, for messages.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8], base: usize) -> Self {
        Self { file, bytes, at: 0, base }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn corrupt(&self, at: usize, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::corrupt(self.file, self.base + at, reason)
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], CheckpointError> {
        let end = self.at.checked_add(length);
        let Some((end, taken)) = end.and_then(|end| Some((end, self.bytes.get(self.at..end)?))) else {
            let reason = format!("{what} needs {length} bytes here and {} are left", self.left());
            return Err(self.corrupt(self.at, reason));
        };
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], CheckpointError> {
        let taken = self.take(N, what)?;
        Ok(taken.try_into().expect("invariant: as many bytes were taken as asked for"))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, CheckpointError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, CheckpointError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A length or an offset; a number too large for this machine becomes the largest possible one.
    pub(super) fn length(&mut self, what: &str) -> Result<usize, CheckpointError> {
        Ok(usize::try_from(self.u64(what)?).unwrap_or(usize::MAX))
    }

    /// A count of items of at least `size` bytes each that are still to be read: never more than there is room for.
    pub(super) fn count(&mut self, size: usize, what: &str) -> Result<usize, CheckpointError> {
        let at = self.at;
        let count = self.u32(what)? as usize;
        if count > self.left() / size {
            return Err(self.corrupt(at, format!("{count} {what} are announced and there is no room for them")));
        }
        Ok(count)
    }

    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, CheckpointError> {
        let length = self.u32(what)? as usize;
        let at = self.at;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|_| self.corrupt(at, format!("{what} is not UTF-8")))
    }

    /// Takes the zeros up to the next multiple of [`ALIGN`].
    pub(super) fn padding(&mut self) -> Result<(), CheckpointError> {
        let at = self.at;
        let zeros = self.take(at.next_multiple_of(ALIGN) - at, "padding")?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(self.corrupt(at, "padding is not zero"));
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), CheckpointError> {
        if self.left() == 0 { Ok(()) } else { Err(self.corrupt(self.at, format!("{} bytes too many", self.left()))) }
    }
}
