//! A sink into files of a folder, one a subtask that has records.
//!
//! While a job runs its output is hidden: `.part-<subtask>-0.csv.<attempt>.inprogress`. To *prepare* is to write what is left and to make the file and
//! its name durable; to *commit*, to give it its name `part-<subtask>-0.csv` by an exclusive link, make that durable, and drop the hidden name; to
//! *abort*, to unlink it. So a reader of `part-*` sees whole results or none, also after a power loss.
//!
//! Before a job reads anything it is refused if the folder already holds `part-*` files, unless it is to [overwrite](FileSink::overwrite) them: then
//! they go at commit and not before. Hidden files of attempts that died are removed. A folder belongs to one sink of one
//! running job at a time.
//!
//! Writes are gathered into blocks; one may be under way and one waiting while the next is being filled.

use super::file_writer::{FileWriter, Place};
use super::line_format::{CsvRowWriter, CsvRows, LineFormat, Lines};
use crate::record::Record;
use crate::sink::{Sink, SinkContext, SinkError};
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thalweg_io::{Disk, EntryKind, Io, IoError, LocalBoxFuture};

/// Ends the name of a file in progress.
const IN_PROGRESS: &str = ".inprogress";

/// Writes each record as a line.
///
/// ```no_run
/// use thalweg::connectors::FileSink;
/// use thalweg::{Record, StreamExecutionEnvironment};
///
/// #[derive(Clone, Debug, Record)]
/// struct Count { word: String, count: u64 }
///
/// let env = StreamExecutionEnvironment::new();
/// let counts = env.from_collection(vec![Count { word: "to".into(), count: 2 }]).shared();
/// counts.stream().sink(FileSink::<Count>::csv("counts", |count, row| {
///     row.field(count.word).field(count.count);
/// }));
/// counts.stream().sink(FileSink::<Count>::lines("words", |count, line| line.push_str(count.word)).overwrite(true));
/// ```
pub struct FileSink<T, L = ()> {
    dir: PathBuf,
    suffix: String,
    overwrite: bool,
    format: L,
    record: PhantomData<fn(T)>,
}

impl<T, L: Clone> Clone for FileSink<T, L> {
    fn clone(&self) -> Self {
        let Self { overwrite, record, .. } = *self;
        Self { dir: self.dir.clone(), suffix: self.suffix.clone(), overwrite, format: self.format.clone(), record }
    }
}

impl<T: Record> FileSink<T> {
    /// Files `part-*.txt` in the folder `dir`: `function` writes a record into a line that is empty, and without its end.
    pub fn lines<F>(dir: impl Into<PathBuf>, function: F) -> FileSink<T, Lines<F>>
    where
        F: for<'a> FnMut(T::Ref<'a>, &mut String) + Clone + Send + 'static,
    {
        FileSink { dir: dir.into(), suffix: ".txt".to_owned(), overwrite: false, format: Lines::new(function), record: PhantomData }
    }

    /// Files `part-*.csv` in the folder `dir`: `function` gives the fields of a record.
    pub fn csv<F>(dir: impl Into<PathBuf>, function: F) -> FileSink<T, CsvRows<F>>
    where
        F: for<'a> FnMut(T::Ref<'a>, &mut CsvRowWriter) + Clone + Send + 'static,
    {
        FileSink { dir: dir.into(), suffix: ".csv".to_owned(), overwrite: false, format: CsvRows::new(function), record: PhantomData }
    }
}

impl<T, L> FileSink<T, L> {
    /// What the names of the files end with, with its dot.
    #[must_use]
    pub fn suffix(self, suffix: impl Into<String>) -> Self {
        Self { suffix: suffix.into(), ..self }
    }

    /// Whether results that are there already are replaced when the job commits. They are not unless set: the job is refused.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }
}

impl<T: Record, L: LineFormat<T>> Sink for FileSink<T, L> {
    type In = T;
    type Writer = FileWriter<T, L>;

    fn name(&self) -> &'static str {
        "file"
    }

    fn location(&self) -> Option<String> {
        // Without `.` and doubled or trailing slashes, so that one folder has one name.
        Some(self.dir.components().filter(|part| *part != std::path::Component::CurDir).collect::<PathBuf>().display().to_string())
    }

    fn initialize(&self, io: Io) -> LocalBoxFuture<Result<(), SinkError>> {
        Box::pin(initialize(io.disk(), self.dir.clone(), self.overwrite))
    }

    fn writer(&self, context: SinkContext) -> FileWriter<T, L> {
        let SinkContext { io, subtask, parallelism, write_block_bytes } = context;
        let visible = format!("part-{subtask}-0{}", self.suffix);
        // No two attempts have the same stream of random numbers.
        let attempt = io.rng("file-sink-attempt").next_u64();
        let place = Place {
            disk: io.disk(),
            hidden: self.dir.join(format!(".{visible}.{attempt:016x}{IN_PROGRESS}")),
            visible: self.dir.join(visible),
            dir: self.dir.clone(),
            replaces: self.overwrite.then_some((subtask, parallelism)),
        };
        FileWriter::new(place, self.format.clone(), write_block_bytes)
    }
}

/// The subtask whose results the file `name` holds, if it is one of ours.
pub(super) fn subtask_of(name: &str) -> Option<usize> {
    name.strip_prefix("part-")?.split_once('-')?.0.parse().ok()
}

/// Makes the folder, looks whether it may be written to, and removes what dead attempts have left.
async fn initialize(disk: Rc<dyn Disk>, dir: PathBuf, overwrite: bool) -> Result<(), SinkError> {
    let unfit = |error: IoError| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::ReadOnlyFilesystem => {
            SinkError::Invalid(format!("{error}; choose another output folder or give this user the right to write there"))
        }
        _ => SinkError::Io(error),
    };
    create_durably(&*disk, &dir).await.map_err(unfit)?;
    let entries = disk.list(&dir).await.map_err(unfit)?;
    let shown = dir.display();
    if !overwrite && let Some(old) = entries.iter().find(|entry| subtask_of(&entry.name).is_some()) {
        let name = &old.name;
        return Err(SinkError::Invalid(format!(
            "{shown} already holds results ({name}); remove them, choose another folder, or have them replaced (`--overwrite`, in a program `FileSink::overwrite`)"
        )));
    }
    for entry in entries {
        if entry.name.starts_with(".part-") && entry.name.ends_with(IN_PROGRESS) {
            disk.unlink(&dir.join(entry.name)).await.map_err(unfit)?;
        }
    }
    Ok(())
}

/// Creates `dir` and what is missing above it, and makes their names durable.
async fn create_durably(disk: &dyn Disk, dir: &Path) -> Result<(), IoError> {
    let mut parents_of_new = Vec::new();
    for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        if disk.kind(path).await? == Some(EntryKind::Directory) {
            break;
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parents_of_new.push(parent.unwrap_or(Path::new(".")));
    }
    disk.create_dir_all(dir).await?;
    // From the top down, so that no durable name hangs below one that is not.
    for parent in parents_of_new.into_iter().rev() {
        disk.sync_dir(parent).await?;
    }
    Ok(())
}
