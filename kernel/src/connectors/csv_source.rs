//! A source of the rows of CSV files.
//!
//! Every file is a split and has a header row of its own. Files are read in blocks, the next one under way while the current one is parsed; memory is
//! bounded by three blocks and the longest row allowed. Rows that cannot be understood leave through the side output [`MALFORMED`], or fail the job
//! if it is [strict](CsvSource::strict).
//!
//! Not here: other separators, files without a header, compressed files.

use super::csv_parser::{CsvParser, Parsed};
use super::csv_row::{CsvError, CsvRow, Header};
use crate::operators::OutputTag;
use crate::record::Record;
use crate::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use crate::time::NO_TIMESTAMP;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, Disk, EntryKind, File, Io, IoError, LocalBoxFuture, OpenMode, take_panic_place};

/// Where the rows go that cannot be understood. Take it right behind the source: `rows.side_output(&MALFORMED)`.
pub const MALFORMED: OutputTag<MalformedRecord> = OutputTag::new("malformed");

/// The longest row allowed unless set, in bytes.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// Blocks a reader works off before it lets the task's output go: only blocks smaller than a row make this matter.
const BLOCKS_PER_CALL: usize = 4;

/// A row that could not be understood.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct MalformedRecord {
    /// The file it stands in.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The field that is to blame, from 1.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
    /// The row as it stands in the file (what is not UTF-8 replaced); of one that is too long, the beginning.
    pub text: String,
}

/// How a row becomes a record, if that is a plain function.
pub type RowFunction<T> = fn(&CsvRow<'_>) -> Result<T, CsvError>;

/// Reads a CSV file, or every `*.csv` of a folder in the order of the names (hidden files and folders within are left out).
///
/// ```no_run
/// use serde::Deserialize;
/// use thalweg::connectors::{CsvSource, MALFORMED};
/// use thalweg::{Record, StreamExecutionEnvironment};
///
/// #[derive(Clone, Debug, Record, Deserialize)]
/// struct Trip { distance: f64, passengers: u8 }
///
/// let env = StreamExecutionEnvironment::new();
/// let trips = env.source(CsvSource::<Trip>::deserialize("trips.csv"));
/// trips.side_output(&MALFORMED).for_each(|row| eprintln!("{}:{}: {}", row.file, row.line, row.reason));
///
/// // The same by hand, which is faster and can compute:
/// let trips = env.source(CsvSource::with("trips.csv", |row| {
///     Ok(Trip { distance: row.parse("distance")?, passengers: row.parse("passengers")? })
/// }));
/// ```
pub struct CsvSource<T, F = RowFunction<T>> {
    path: PathBuf,
    parse: F,
    strict: bool,
    max_record_bytes: usize,
    record: PhantomData<fn() -> T>,
}

impl<T, F: Clone> Clone for CsvSource<T, F> {
    fn clone(&self) -> Self {
        let Self { strict, max_record_bytes, record, .. } = *self;
        Self { path: self.path.clone(), parse: self.parse.clone(), strict, max_record_bytes, record }
    }
}

impl<T: Record + DeserializeOwned> CsvSource<T> {
    /// Rows become records by the names of their fields.
    pub fn deserialize(path: impl Into<PathBuf>) -> Self {
        Self::with(path, |row| row.deserialize())
    }
}

impl<T: Record, F> CsvSource<T, F>
where
    F: Fn(&CsvRow<'_>) -> Result<T, CsvError> + Clone + Send + 'static,
{
    /// Rows become records by a function.
    pub fn with(path: impl Into<PathBuf>, parse: F) -> Self {
        Self { path: path.into(), parse, strict: false, max_record_bytes: MAX_RECORD_BYTES, record: PhantomData }
    }

    /// Whether a malformed row fails the job. It does not unless set.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// The longest row allowed, in bytes; 1 MiB unless set. A longer one is malformed.
    #[must_use]
    pub fn max_record_bytes(self, max_record_bytes: usize) -> Self {
        Self { max_record_bytes, ..self }
    }
}

impl<T: Record, F> Source for CsvSource<T, F>
where
    F: Fn(&CsvRow<'_>) -> Result<T, CsvError> + Clone + Send + 'static,
{
    type Out = T;
    type Split = PathBuf;
    type Reader = CsvReader<T, F>;

    fn name(&self) -> &'static str {
        "csv"
    }

    fn splits(&self, io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<PathBuf>, SourceError>> {
        Box::pin(find_files(io.disk(), self.path.clone()))
    }

    fn reader(&self, context: ReaderContext) -> CsvReader<T, F> {
        CsvReader {
            disk: context.io.disk(),
            block_bytes: context.read_block_bytes,
            rows: Rows {
                parse: self.parse.clone(),
                strict: self.strict,
                file: String::new(),
                header: None,
                parser: CsvParser::new(self.max_record_bytes),
                record: PhantomData,
            },
            input: None,
            block: Buffer::default(),
            at: 0,
            last: false,
        }
    }
}

/// The CSV files that `path` stands for, each of which can be opened.
async fn find_files(disk: Rc<dyn Disk>, path: PathBuf) -> Result<Vec<PathBuf>, SourceError> {
    let shown = path.display();
    let unreadable = |error: IoError| match error.kind() {
        ErrorKind::PermissionDenied => SourceError::Invalid(format!("{error}; give this user the right to read it")),
        ErrorKind::NotADirectory => SourceError::Invalid(format!("{error}; name a CSV file or a folder of them")),
        _ => SourceError::Io(error),
    };
    let files = match disk.kind(&path).await.map_err(unreadable)? {
        Some(EntryKind::File) => vec![path.clone()],
        Some(EntryKind::Directory) => {
            let entries = disk.list(&path).await.map_err(unreadable)?;
            let is_input =
                |name: &str| !name.starts_with('.') && Path::new(name).extension().is_some_and(|it| it.eq_ignore_ascii_case("csv"));
            let inputs = entries.into_iter().filter(|entry| entry.kind == EntryKind::File && is_input(&entry.name));
            inputs.map(|entry| path.join(entry.name)).collect()
        }
        Some(EntryKind::Other) => {
            return Err(SourceError::Invalid(format!("{shown} is neither a file nor a folder; name a CSV file or a folder of them")));
        }
        None => return Err(SourceError::Invalid(format!("there is no file or folder {shown}; name a CSV file or a folder of them"))),
    };
    if files.is_empty() {
        return Err(SourceError::Invalid(format!("the folder {shown} holds no *.csv file; name a CSV file or a folder of them")));
    }
    for file in &files {
        disk.open(file, OpenMode::Read).await.map_err(unreadable)?;
    }
    Ok(files)
}

/// A block on its way, and the file it comes from.
type Fetch = LocalBoxFuture<Result<(Rc<dyn File>, Buffer), IoError>>;

/// The file of the current split behind the block that is being parsed.
enum Input {
    /// The block at `offset` is under way.
    Fetching { fetch: Fetch, offset: u64 },
    /// The last block has come.
    Ended,
}

/// Reads one file after the other.
pub struct CsvReader<T, F> {
    disk: Rc<dyn Disk>,
    block_bytes: usize,
    rows: Rows<T, F>,
    /// `None` without a split.
    input: Option<Input>,
    block: Buffer,
    at: usize,
    /// Whether `block` is the last one.
    last: bool,
}

impl<T, F> CsvReader<T, F> {
    /// Waits for the next block, which the parser needs, and has the one after it fetched.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        let Some(Input::Fetching { fetch, offset }) = &mut self.input else {
            self.block.clear();
            self.last = true;
            return Poll::Ready(Ok(()));
        };
        let (file, block) = ready!(fetch.as_mut().poll(cx))?;
        let next_offset = *offset + block.len() as u64;
        // Only the end of the file makes a read short.
        self.last = block.len() < block.capacity();
        let mut spare = std::mem::replace(&mut self.block, block);
        self.at = 0;
        self.input = Some(if self.last {
            Input::Ended
        } else {
            spare.clear();
            let spare = if spare.capacity() == 0 { Buffer::with_capacity(self.block_bytes) } else { spare };
            let fetch = async move {
                let block = file.read_at(next_offset, spare).await?;
                Ok((file, block))
            };
            Input::Fetching { fetch: Box::pin(fetch), offset: next_offset }
        });
        Poll::Ready(Ok(()))
    }
}

impl<T: Record, F> SourceReader for CsvReader<T, F>
where
    F: Fn(&CsvRow<'_>) -> Result<T, CsvError> + Clone + Send + 'static,
{
    type Out = T;
    type Split = PathBuf;

    fn start(&mut self, split: PathBuf) {
        self.rows.begin(&split);
        self.block.clear();
        (self.at, self.last) = (0, false);
        let (disk, block) = (Rc::clone(&self.disk), Buffer::with_capacity(self.block_bytes));
        let fetch = async move {
            let file = disk.open(&split, OpenMode::Read).await?;
            let block = file.read_at(0, block).await?;
            Ok((file, block))
        };
        self.input = Some(Input::Fetching { fetch: Box::pin(fetch), offset: 0 });
    }

    fn poll_next<O: ReaderOutput<T>>(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        let mut left = limit;
        for _ in 0..BLOCKS_PER_CALL {
            match self.rows.emit(&self.block, &mut self.at, self.last, output, &mut left)? {
                Emitted::NeedsBlock => match self.poll_block(cx) {
                    Poll::Ready(result) => result?,
                    // What was emitted is worth passing on before the task waits.
                    Poll::Pending => return Poll::Pending,
                },
                Emitted::Enough => break,
                Emitted::All => {
                    self.input = None;
                    return Poll::Ready(Ok(ReaderStatus::EndOfSplit));
                }
            }
        }
        Poll::Ready(Ok(ReaderStatus::MoreAvailable))
    }
}

/// Why no more rows are emitted for now.
enum Emitted {
    NeedsBlock,
    /// The limit is reached or the output is full.
    Enough,
    /// The file has ended.
    All,
}

/// Turns records into rows and rows into what the user wants.
struct Rows<T, F> {
    parse: F,
    strict: bool,
    /// The file being read, for messages.
    file: String,
    /// Absent before the first record of the file.
    header: Option<Header>,
    parser: CsvParser,
    record: PhantomData<fn() -> T>,
}

impl<T: Record, F: Fn(&CsvRow<'_>) -> Result<T, CsvError>> Rows<T, F> {
    fn begin(&mut self, file: &Path) {
        self.file = file.display().to_string();
        self.header = None;
        self.parser.restart();
    }

    /// Emits rows of `block` from `*at` on, at most `*left`.
    fn emit<O: ReaderOutput<T>>(
        &mut self,
        block: &[u8],
        at: &mut usize,
        last: bool,
        output: &mut O,
        left: &mut usize,
    ) -> Result<Emitted, SourceError> {
        let Self { parse, strict, file, header, parser, .. } = self;
        let malformed =
            |line: u64, error: CsvError| SourceError::Malformed { file: file.clone(), line, column: error.column, reason: error.reason };
        while *left > 0 && output.is_ready() {
            let (line, text, error) = match parser.next(block, at, last) {
                Parsed::NeedsBlock => return Ok(Emitted::NeedsBlock),
                Parsed::End => return Ok(Emitted::All),
                Parsed::TooLong { line, last_line, excerpt } => {
                    let reason = format!("the row is too long (lines {line} to {last_line}); is a closing quote missing?");
                    (line, excerpt, CsvError::new(reason))
                }
                Parsed::Record(record) => match header {
                    None => {
                        // Without its header nothing in the file has a meaning.
                        *header = Some(Header::new(&record).map_err(|error| malformed(record.line, error))?);
                        continue;
                    }
                    Some(header) => match CsvRow::new(&record, header).and_then(|row| call(parse, &row, file)) {
                        Ok(value) => {
                            *left -= 1;
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
        }
        Ok(Emitted::Enough)
    }
}

/// Calls the user's function. If it panics, the panic goes on with the place of the row.
fn call<T>(parse: &impl Fn(&CsvRow<'_>) -> Result<T, CsvError>, row: &CsvRow<'_>, file: &str) -> Result<T, CsvError> {
    catch_unwind(AssertUnwindSafe(|| parse(row))).unwrap_or_else(|payload| {
        let known = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = known.unwrap_or("(a panic without a text)");
        let place = take_panic_place().map(|place| format!(" ({place})")).unwrap_or_default();
        resume_unwind(Box::new(format!("{message}{place}\n  in row {file}:{}: {}", row.line(), row.text())))
    })
}
