//! The reader of a [`CsvSource`](super::CsvSource).
//!
//! A file is read in blocks, the next one under way while the current one is parsed; memory is bounded by three blocks and the longest row allowed.
//!
//! A snapshot holds the place where the last emitted row ended, well-formed or not. A reader that resumes there first reads the header again, and then also
//! the byte before that place: if it is a CR, an LF behind it belongs to the same end of line and makes no further line.

use super::csv_malformed::{MALFORMED, MalformedRecord};
use super::csv_parser::{CsvParser, Parsed};
use super::csv_row::{CsvError, CsvRow, Header};
use super::csv_split::CsvSplit;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, Disk, File, LocalBoxFuture, OpenMode, take_panic_place};
use thalweg_kernel::source::{ReaderContext, ReaderOutput, ReaderStatus, SourceError, SourceReader};
use thalweg_record::NO_TIMESTAMP;
use thalweg_record::record::Record;

/// Blocks that a reader parses before it lets the task send its output: matters only if blocks are smaller than a row.
const BLOCKS_PER_CALL: usize = 4;

/// A read of a block under way, and the file it reads.
type Fetch = LocalBoxFuture<Result<(Rc<dyn File>, Buffer), SourceError>>;

/// The rest of the current split's file, behind the block that is being parsed.
enum OpenFile {
    /// The block at `offset` is being read.
    Fetching { fetch: Fetch, offset: u64 },
    /// The last block has been read.
    Ended,
}

/// The part of the split that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The header, before the reader resumes further on.
    HeaderAgain,
    /// The first block of the rest, which begins one byte early.
    Seeking,
    /// The rows; at the beginning of a file, the header before them.
    Rows,
}

/// The block that is being parsed.
#[derive(Default)]
struct Block {
    bytes: Buffer,
    /// How much of it has been parsed, in bytes.
    at: usize,
    /// The block's offset in the file.
    offset: u64,
    /// Whether it is the last block of the file.
    last: bool,
}

/// Reads one file after the other.
pub struct CsvReader<T, F> {
    disk: Rc<dyn Disk>,
    block_bytes: usize,
    rows: Rows<T, F>,
    /// The current split, up to the last emitted row.
    split: CsvSplit,
    phase: Phase,
    /// `None` if there is no split.
    input: Option<OpenFile>,
    block: Block,
}

impl<T, F> CsvReader<T, F> {
    pub(super) fn new(context: ReaderContext, parse: F, strict: bool, max_record_bytes: usize) -> Self {
        let parser = CsvParser::new(max_record_bytes);
        Self {
            disk: context.io.disk(),
            block_bytes: context.read_block_bytes,
            rows: Rows { parse, strict, file: String::new(), header: None, parser, record: PhantomData },
            split: CsvSplit { file: String::new(), offset: 0, line: 1 },
            phase: Phase::Rows,
            input: None,
            block: Block::default(),
        }
    }

    /// Opens the file and starts reading the block at `offset`.
    fn fetch_from(&mut self, offset: u64) {
        self.block.bytes.clear();
        (self.block.at, self.block.last) = (0, false);
        let (disk, bytes, split) = (Rc::clone(&self.disk), Buffer::with_capacity(self.block_bytes), self.split.clone());
        let fetch = async move {
            let file = disk.open(Path::new(&split.file), OpenMode::Read).await?;
            if split.offset > 0 {
                let length = file.len().await?;
                if length < split.offset {
                    let CsvSplit { file, offset, .. } = split;
                    return Err(SourceError::Invalid(format!(
                        "{file} has {length} bytes and was to be read on from byte {offset}: it has changed since the checkpoint; put the file back that the job began with, or start from the beginning"
                    )));
                }
            }
            let bytes = file.read_at(offset, bytes).await?;
            Ok((file, bytes))
        };
        self.input = Some(OpenFile::Fetching { fetch: Box::pin(fetch), offset });
    }

    fn no_header(&self) -> SourceError {
        let CsvSplit { file, offset, .. } = &self.split;
        SourceError::Invalid(format!(
            "{file} has no header and was to be read on from byte {offset}: it has changed since the checkpoint; put the file back that the job began with, or start from the beginning"
        ))
    }

    /// Waits for the next block, which the parser needs, and starts reading the one after it.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        let Some(OpenFile::Fetching { fetch, offset }) = &mut self.input else {
            unreachable!("invariant: behind the last block the parser is at the end of the file");
        };
        let (file, bytes) = ready!(fetch.as_mut().poll(cx))?;
        let (offset, next_offset) = (*offset, *offset + bytes.len() as u64);
        // A read is short only at the end of the file.
        let last = bytes.len() < bytes.capacity();
        let mut spare = std::mem::replace(&mut self.block, Block { bytes, at: 0, offset, last }).bytes;
        self.input = Some(if last {
            OpenFile::Ended
        } else {
            spare.clear();
            let spare = if spare.capacity() == 0 { Buffer::with_capacity(self.block_bytes) } else { spare };
            let fetch = async move {
                let bytes = file.read_at(next_offset, spare).await?;
                Ok((file, bytes))
            };
            OpenFile::Fetching { fetch: Box::pin(fetch), offset: next_offset }
        });
        if self.phase == Phase::Seeking {
            self.phase = Phase::Rows;
            self.rows.parser.resume(self.split.line, self.block.bytes.first() == Some(&b'\r'));
            self.block.at = self.block.bytes.len().min(1);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Record, F> SourceReader for CsvReader<T, F>
where
    F: Fn(&CsvRow<'_>) -> Result<T, CsvError> + Clone + Send + 'static,
{
    type Out = T;
    type Split = CsvSplit;

    fn start(&mut self, split: CsvSplit) {
        self.rows.begin(&split.file);
        self.phase = if split.offset > 0 { Phase::HeaderAgain } else { Phase::Rows };
        self.split = split;
        self.fetch_from(0);
    }

    fn snapshot(&self) -> CsvSplit {
        self.split.clone()
    }

    fn poll_next<O: ReaderOutput<T>>(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        let mut left = limit;
        for _ in 0..BLOCKS_PER_CALL {
            let header_only = self.phase == Phase::HeaderAgain;
            match self.rows.emit(&mut self.block, header_only, output, &mut left, &mut self.split)? {
                Emitted::NeedsBlock => match self.poll_block(cx) {
                    Poll::Ready(result) => result?,
                    // Pending, so that the task passes on the emitted rows before it waits.
                    Poll::Pending => return Poll::Pending,
                },
                Emitted::Header => {
                    self.phase = Phase::Seeking;
                    self.fetch_from(self.split.offset - 1);
                }
                Emitted::Enough => break,
                Emitted::All => {
                    self.input = None;
                    return Poll::Ready(if header_only { Err(self.no_header()) } else { Ok(ReaderStatus::EndOfSplit) });
                }
            }
        }
        Poll::Ready(Ok(ReaderStatus::MoreAvailable))
    }
}

/// Why no more rows are emitted for now.
enum Emitted {
    NeedsBlock,
    /// The header has been read, and only the header was wanted.
    Header,
    /// The limit is reached or the output is full.
    Enough,
    /// The file has ended.
    All,
}

/// Turns records into rows, and rows into the user's records.
struct Rows<T, F> {
    parse: F,
    strict: bool,
    /// The file being read, for messages.
    file: String,
    /// `None` before the first record of the file.
    header: Option<Header>,
    parser: CsvParser,
    record: PhantomData<fn() -> T>,
}

impl<T: Record, F: Fn(&CsvRow<'_>) -> Result<T, CsvError>> Rows<T, F> {
    fn begin(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        self.header = None;
        self.parser.restart();
    }

    /// Emits rows of `block` from `block.at` on, at most `*left`, and sets `done` to the end of each.
    fn emit<O: ReaderOutput<T>>(
        &mut self,
        block: &mut Block,
        header_only: bool,
        output: &mut O,
        left: &mut usize,
        done: &mut CsvSplit,
    ) -> Result<Emitted, SourceError> {
        let Block { bytes, at, offset, last } = block;
        let Self { parse, strict, file, header, parser, .. } = self;
        let malformed =
            |line: u64, error: CsvError| SourceError::Malformed { file: file.clone(), line, column: error.column, reason: error.reason };
        while *left > 0 && output.is_ready() {
            let (line, text, error) = match parser.next(bytes, at, *last) {
                Parsed::NeedsBlock => return Ok(Emitted::NeedsBlock),
                Parsed::End => return Ok(Emitted::All),
                Parsed::TooLong { line, last_line, excerpt } => {
                    let reason = format!("the row is too long (lines {line} to {last_line}); is a closing quote missing?");
                    (line, excerpt, CsvError::new(reason))
                }
                Parsed::Record(record) => match header {
                    None => {
                        // Without a header no row of the file has a meaning.
                        *header = Some(Header::new(&record).map_err(|error| malformed(record.line, error))?);
                        if header_only {
                            return Ok(Emitted::Header);
                        }
                        continue;
                    }
                    Some(header) => match CsvRow::new(&record, header).and_then(|row| call(parse, &row, file)) {
                        Ok(value) => {
                            *left -= 1;
                            (done.offset, done.line) = (*offset + *at as u64, parser.line());
                            output.collect(value, NO_TIMESTAMP);
                            continue;
                        }
                        Err(error) => (record.line, record.text, error),
                    },
                },
            };
            if *strict || header.is_none() {
                return Err(malformed(line, error));
            }
            *left -= 1;
            let CsvError { column, reason } = error;
            let text = String::from_utf8_lossy(text).into_owned();
            output.malformed(&MALFORMED, MalformedRecord { file: file.clone(), line, column, reason, text });
            (done.offset, done.line) = (*offset + *at as u64, parser.line());
        }
        Ok(Emitted::Enough)
    }
}

/// Calls the user's function. If it panics, the panic continues with the place of the row added.
fn call<T>(parse: &impl Fn(&CsvRow<'_>) -> Result<T, CsvError>, row: &CsvRow<'_>, file: &str) -> Result<T, CsvError> {
    catch_unwind(AssertUnwindSafe(|| parse(row))).unwrap_or_else(|payload| {
        let known = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = known.unwrap_or("(a panic without a text)");
        let place = take_panic_place().map(|place| format!(" ({place})")).unwrap_or_default();
        resume_unwind(Box::new(format!("{message}{place}\n  in row {file}:{}: {}", row.line(), row.text())))
    })
}
