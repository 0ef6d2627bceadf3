//! A source that reads rows of CSV files.
//!
//! Every file is a split and has a header row of its own; a checkpoint holds how many bytes and lines of it have been emitted. Rows that cannot be
//! understood leave through the side output [`MALFORMED`](super::MALFORMED), or fail the job if it is [strict](CsvSource::strict) (docs/src/semantics.md#s-3).
//!
//! Files must not change while a job reads them or may still be restored. A file that has become shorter than the position to resume at is refused; other
//! changes are not noticed.
//!
//! Not supported: other separators, files without a header, compressed files.

use super::csv_reader::CsvReader;
use super::csv_row::{CsvError, CsvRow};
use super::csv_split::CsvSplit;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thalweg_io::{Disk, EntryKind, Io, IoError, LocalBoxFuture, OpenMode};
use thalweg_kernel::source::{ReaderContext, Source, SourceError};
use thalweg_record::record::Record;

/// The longest row allowed by default, in bytes.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// The function that turns a row into a record, if it is a plain function.
pub type RowFunction<T> = fn(&CsvRow<'_>) -> Result<T, CsvError>;

/// Reads a CSV file, or every `*.csv` of a folder in the order of the names (hidden files and folders within are left out).
///
/// ```no_run
/// # mod thalweg { pub use thalweg_connectors as connectors; pub use thalweg_kernel::*; }
/// use serde::Deserialize;
/// use thalweg::connectors::{CsvSource, MALFORMED};
/// use thalweg::{Record, StreamExecutionEnvironment};
///
/// #[derive(Clone, Debug, Record, Deserialize)]
/// # #[record(crate = thalweg_record)]
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
    /// Turns rows into records by the names of their fields.
    pub fn deserialize(path: impl Into<PathBuf>) -> Self {
        Self::with(path, |row| row.deserialize())
    }
}

impl<T: Record, F> CsvSource<T, F>
where
    F: Fn(&CsvRow<'_>) -> Result<T, CsvError> + Clone + Send + 'static,
{
    /// Turns rows into records by a function.
    pub fn with(path: impl Into<PathBuf>, parse: F) -> Self {
        Self { path: path.into(), parse, strict: false, max_record_bytes: MAX_RECORD_BYTES, record: PhantomData }
    }

    /// Whether a malformed row fails the job; false by default.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// The longest row allowed, in bytes; 1 MiB by default. A longer row is malformed.
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
    type Split = CsvSplit;
    type Reader = CsvReader<T, F>;

    fn name(&self) -> &'static str {
        "csv"
    }

    fn location(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }

    fn splits(&self, io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<CsvSplit>, SourceError>> {
        Box::pin(find_files(io.disk(), self.path.clone()))
    }

    fn reader(&self, context: ReaderContext) -> CsvReader<T, F> {
        CsvReader::new(context, self.parse.clone(), self.strict, self.max_record_bytes)
    }
}

/// The CSV files that `path` stands for, from their beginnings; each can be opened.
async fn find_files(disk: Rc<dyn Disk>, path: PathBuf) -> Result<Vec<CsvSplit>, SourceError> {
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
    let mut splits = Vec::with_capacity(files.len());
    for file in files {
        disk.open(&file, OpenMode::Read).await.map_err(unreadable)?;
        let file = file
            .into_os_string()
            .into_string()
            .map_err(|name| SourceError::Invalid(format!("the path {} is not valid UTF-8; rename the file or folder", name.display())))?;
        splits.push(CsvSplit { file, offset: 0, line: 1 });
    }
    Ok(splits)
}
