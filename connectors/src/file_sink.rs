//! A sink that writes files into a folder: one per subtask and epoch that has records, and more if they grow long.
//!
//! While an epoch is being written its files are hidden. To *prepare* is to make the files and their names durable; the transaction is their names. When
//! the checkpoint is complete the *commit* gives the files of all subtasks their visible names, `part-<job>-<subtask>-<epoch>-<roll>.csv`. So a reader of
//! `part-*` sees whole files that belong to a complete checkpoint, also after a power loss, and over failures and restarts each result once
//! (docs/src/semantics.md#o-1); [`DeliveryGuarantee`] can be chosen otherwise.
//!
//! An attempt is refused before it reads anything if the folder holds results of another job, unless the sink is to [overwrite](FileSink::overwrite) them:
//! then they are removed by its first commit and not before. A folder belongs to one sink of one running job at a time, and a file in it says to which
//! (docs/src/semantics.md#o-6).
//!
//! In other files: owning the folder (`file_tenure`), writing (`file_writer`), showing (`file_folder`) and recovery (`file_recovery`).

#[cfg(feature = "csv")]
use super::csv_rows::{CsvRowWriter, CsvRows};
use super::delivery::DeliveryGuarantee;
use super::file_folder::{FileTransaction, Folder};
use super::file_recovery::{check, finish, plain, recover};
use super::file_tenure::Tenure;
use super::file_writer::{FileWriter, WriterSettings};
#[cfg(feature = "json")]
use super::json_lines::{JsonLines, JsonObjectWriter};
use super::line_format::{LineFormat, Lines};
use super::part_name::suffix_fault;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thalweg_io::{Io, LocalBoxFuture};
use thalweg_kernel::checkpoint::JobId;
use thalweg_kernel::sink::{Recovery, Sink, SinkContext, SinkError};
use thalweg_record::record::Record;

/// The length at which a file is closed by default: large enough to be read with little overhead, small enough to be shared out among readers.
const ROLL_AT_BYTES: u64 = 128 << 20;

/// Writes each record as a line.
///
/// ```no_run
/// # mod thalweg { pub use thalweg_connectors as connectors; pub use thalweg_kernel::*; }
/// use thalweg::connectors::FileSink;
/// use thalweg::{Record, StreamExecutionEnvironment};
///
/// #[derive(Clone, Debug, Record)]
/// # #[record(crate = thalweg_record)]
/// struct Count { word: String, count: u64 }
///
/// let env = StreamExecutionEnvironment::new();
/// let counts = env.from_collection(vec![Count { word: "to".into(), count: 2 }]).shared();
/// counts.stream().sink(FileSink::<Count>::csv("counts", |count, row| {
///     row.field(count.word).field(count.count);
/// }));
/// counts.stream().sink(FileSink::<Count>::json_lines("objects", |count, object| {
///     object.field("word", count.word).field("count", count.count);
/// }));
/// counts.stream().sink(FileSink::<Count>::lines("words", |count, line| line.push_str(count.word)).overwrite(true));
/// ```
#[derive(Clone)]
pub struct FileSink<T, L = ()> {
    dir: PathBuf,
    overwrite: bool,
    suffix: String,
    roll_at_bytes: u64,
    delivery: DeliveryGuarantee,
    format: L,
    /// Set when the recovery, or a commit since, has found that no results of other jobs are there. Read once per commit, on core 0.
    others_gone: Arc<AtomicBool>,
    tenure: Tenure,
    record: PhantomData<fn(T)>,
}

impl<T: Record> FileSink<T> {
    /// Files `part-*.txt` in the folder `dir`: `function` writes a record, without a line end, into a line that is empty.
    pub fn lines<F>(dir: impl Into<PathBuf>, function: F) -> FileSink<T, Lines<F>>
    where
        F: for<'a> FnMut(T::Ref<'a>, &mut String) + Clone + Send + 'static,
    {
        FileSink::new(dir.into(), ".txt", Lines::new(function))
    }

    /// Files `part-*.csv` in the folder `dir`: `function` writes the fields of a record.
    #[cfg(feature = "csv")]
    pub fn csv<F>(dir: impl Into<PathBuf>, function: F) -> FileSink<T, CsvRows<F>>
    where
        F: for<'a> FnMut(T::Ref<'a>, &mut CsvRowWriter) + Clone + Send + 'static,
    {
        FileSink::new(dir.into(), ".csv", CsvRows::new(function))
    }

    /// Files `part-*.jsonl` in the folder `dir`, one JSON object per line: `function` writes the fields of a record.
    #[cfg(feature = "json")]
    pub fn json_lines<F>(dir: impl Into<PathBuf>, function: F) -> FileSink<T, JsonLines<F>>
    where
        F: for<'a> FnMut(T::Ref<'a>, &mut JsonObjectWriter) + Clone + Send + 'static,
    {
        FileSink::new(dir.into(), ".jsonl", JsonLines::new(function))
    }
}

impl<T, L> FileSink<T, L> {
    fn new(dir: PathBuf, suffix: &str, format: L) -> Self {
        Self {
            dir,
            overwrite: false,
            suffix: suffix.to_owned(),
            roll_at_bytes: ROLL_AT_BYTES,
            delivery: DeliveryGuarantee::default(),
            format,
            others_gone: Arc::default(),
            tenure: Tenure::default(),
            record: PhantomData,
        }
    }

    /// The suffix of the files' names, with its dot.
    #[must_use]
    pub fn suffix(self, suffix: impl Into<String>) -> Self {
        Self { suffix: suffix.into(), ..self }
    }

    /// Whether the first commit of this job removes the existing results of other jobs. False by default: the job is refused.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// The length in bytes at which a file is closed and the next one begun; 128 MiB by default. A file exceeds it by one record at most. At every
    /// checkpoint files are closed however short they are.
    #[must_use]
    pub fn roll_at_bytes(self, roll_at_bytes: u64) -> Self {
        Self { roll_at_bytes, ..self }
    }

    /// The guarantee for results if the job is interrupted; exactly once by default.
    #[must_use]
    pub fn delivery_guarantee(self, delivery: DeliveryGuarantee) -> Self {
        Self { delivery, ..self }
    }

    fn folder(&self, io: &Io) -> Folder {
        Folder { disk: io.disk(), io: io.clone(), dir: self.dir.clone(), delivery: self.delivery }
    }
}

impl<T: Record, L: LineFormat<T>> Sink for FileSink<T, L> {
    type In = T;
    type Transaction = FileTransaction;
    type Writer = FileWriter<T, L>;

    fn name(&self) -> &'static str {
        "file"
    }

    fn location(&self) -> Option<String> {
        Some(plain(&self.dir).display().to_string())
    }

    fn check(&self, io: Io, recovery: Recovery<FileTransaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        let (folder, tenure, overwrite) = (self.folder(&io), self.tenure.clone(), self.overwrite);
        let fault = suffix_fault(&self.suffix);
        Box::pin(async move {
            fault.map_or_else(|| Ok(()), |fault| Err(SinkError::invalid(fault))).and(check(&folder, overwrite, &tenure, &recovery).await)
        })
    }

    fn recover(&self, io: Io, recovery: Recovery<FileTransaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        if let Some(fault) = suffix_fault(&self.suffix) {
            return Box::pin(std::future::ready(Err(SinkError::invalid(fault))));
        }
        let (folder, tenure, others_gone) = (self.folder(&io), self.tenure.clone(), Arc::clone(&self.others_gone));
        let overwrite = self.overwrite;
        Box::pin(async move {
            if recovery.is_last {
                return finish(folder, overwrite, &tenure, recovery).await;
            }
            let others = recover(folder, overwrite, &tenure, recovery).await?;
            others_gone.store(!others, Ordering::Relaxed);
            Ok(())
        })
    }

    fn commit(&self, io: Io, transactions: Vec<FileTransaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        let (folder, tenure, others_gone) = (self.folder(&io), self.tenure.clone(), Arc::clone(&self.others_gone));
        let replaces = self.overwrite && !others_gone.load(Ordering::Relaxed);
        Box::pin(async move {
            let others = match transactions.first() {
                Some(FileTransaction { job, .. }) if replaces => folder.results_of_others(JobId(*job)).await?,
                _ => Vec::new(),
            };
            tenure.ensure(&folder).await?;
            if let Err(error) = folder.commit(&transactions, &others).await {
                // A job that has just taken the folder over may have removed the files to be shown.
                tenure.ensure(&folder).await?;
                return Err(error.into());
            }
            if !transactions.is_empty() {
                others_gone.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    fn writer(&self, context: SinkContext) -> FileWriter<T, L> {
        let settings = WriterSettings { suffix: self.suffix.clone(), roll_at_bytes: self.roll_at_bytes, replaces: self.overwrite };
        FileWriter::new(self.folder(&context.io), settings, self.format.clone(), &context)
    }
}
