//! `checkpoints list` and `checkpoints inspect`: the content of a checkpoint folder, for people, and as JSON for programs.
//!
//! Nothing is written and no lock is taken: a job that is running in the folder is not disturbed. That job may remove a checkpoint while it is being read;
//! then the folder is read again.

use super::cures::by_options;
use super::exit_code::{DONE, FAILED, WRONG_USE, fail};
use super::on_core::on_core;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thalweg_io::{Disk, EntryKind, Io};
use thalweg_kernel::Cure;
use thalweg_kernel::format_millis;
use thalweg_storage::checkpoint::{
    CheckpointError, CheckpointSummary, Event, Inspection, Listing, Origin, Place, SnapshotEntry, inspect, list,
};

/// How often a folder is read again because a running job has moved on meanwhile. Only a job that completes a checkpoint per millisecond needs all.
const LOOKS: usize = 5;

/// Looks at checkpoints.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum CheckpointsCommand {
    /// The checkpoints that a folder holds, latest first
    List {
        /// A checkpoint folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// For programs: as JSON
        #[arg(long)]
        json: bool,
    },
    /// What a checkpoint consists of: the state of each operator, how far sources were read, results that wait to be shown
    Inspect {
        /// A checkpoint folder, of which the latest is meant, or a chk-*.metadata file in one
        #[arg(value_name = "DIR|FILE")]
        path: PathBuf,
        /// For programs: as JSON
        #[arg(long)]
        json: bool,
    },
}

impl CheckpointsCommand {
    /// Executes the command. Returns the exit code.
    pub(super) fn run(self) -> u8 {
        let text = match self {
            Self::List { dir, json } => on_core(move |io| Box::pin(async move { listed(&io, &dir, json).await })),
            Self::Inspect { path, json } => on_core(move |io| Box::pin(async move { inspected(&io, &path, json).await })),
        };
        match text {
            Ok(Ok(text)) => {
                // If the reader has closed the pipe, as `head` does, that is no failure.
                let _ = write!(stdout(), "{text}");
                DONE
            }
            Ok(Err(error @ (CheckpointError::NotFound { .. } | CheckpointError::Foreign { .. }))) => fail(error, WRONG_USE),
            Ok(Err(error)) => fail(format_args!("{error}{}", by_options(Cure::of_checkpoint_error(&error))), FAILED),
            Err(error) => fail(error, FAILED),
        }
    }
}

async fn listed(io: &Io, dir: &Path, json: bool) -> Result<String, CheckpointError> {
    match io.disk().kind(dir).await.map_err(|source| CheckpointError::Io { source })? {
        Some(EntryKind::Directory) => {}
        Some(_) => {
            let reason = "is no folder".to_owned();
            return Err(CheckpointError::Foreign { file: dir.display().to_string(), reason });
        }
        None => {
            let cure = "name the folder that the job was given with --checkpoint-dir".to_owned();
            return Err(CheckpointError::NotFound { what: format!("folder {}", dir.display()), cure });
        }
    }
    let listing = settled_list(&*io.disk(), dir).await?;
    let now_ms = io.clock().wall().0;
    Ok(if json { pretty(&list_json(&listing)) } else { list_text(dir, &listing, now_ms) })
}

async fn inspected(io: &Io, path: &Path, json: bool) -> Result<String, CheckpointError> {
    let inspection = settled_inspection(&*io.disk(), path).await?;
    let now_ms = io.clock().wall().0;
    Ok(if json { pretty(&inspection_json(&inspection)) } else { inspection_text(&inspection, now_ms) })
}

/// Lists the checkpoints. Files that a running job removed during one look are not missed at the next.
async fn settled_list(disk: &dyn Disk, dir: &Path) -> Result<Listing, CheckpointError> {
    let mut listing = list(disk, dir).await?;
    for _ in 1..LOOKS {
        if listing.checkpoints.iter().all(|checkpoint| checkpoint.content.is_ok()) {
            break;
        }
        let again = list(disk, dir).await?;
        if again.newest.number == listing.newest.number {
            break;
        }
        listing = again;
    }
    Ok(listing)
}

/// The same for one checkpoint.
async fn settled_inspection(disk: &dyn Disk, path: &Path) -> Result<Inspection, CheckpointError> {
    for _ in 1..LOOKS {
        match inspect(disk, path).await {
            Err(error) if error.is_damage() => {}
            result => return result,
        }
    }
    inspect(disk, path).await
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn span(millis: u64) -> String {
    // Whole seconds are precise enough for minutes.
    let shown = if millis < 10_000 { Duration::from_millis(millis) } else { Duration::from_secs(millis / 1000) };
    humantime::format_duration(shown).to_string()
}

/// A time and its age.
fn moment(millis: i64, now_ms: i64) -> String {
    let ago = u64::try_from(now_ms.saturating_sub(millis)).unwrap_or(0);
    format!("{} ({} ago)", format_millis(millis), span(ago))
}

/// Rows of cells, the first of which is the heading: each column as wide as its widest cell, numbers at its right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let is_number = |text: &str| text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains('-');
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
    let right = |column| rows.iter().skip(1).all(|row| is_number(&cell(row, column)));
    let shape: Vec<(usize, bool)> = (0..columns).map(|column| (width(column), right(column))).collect();
    let mut text = String::new();
    for row in rows {
        let cells = shape.iter().enumerate().map(|(column, (width, right))| {
            let cell = cell(row, column);
            if *right { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

fn heading(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The job that owns the folder, and its latest log entry.
pub(super) async fn owner_of(io: &Io, dir: &Path) -> Result<String, CheckpointError> {
    let listing = settled_list(&*io.disk(), dir).await?;
    Ok(owner_text(&listing, io.clock().wall().0))
}

fn owner_text(listing: &Listing, now_ms: i64) -> String {
    let newest = &listing.newest;
    let last = match &newest.event {
        Event::AttemptStarted { restored: Origin::Fresh } => "it began without a checkpoint".to_owned(),
        Event::AttemptStarted { restored: Origin::Checkpoint(id) } => format!("it began with checkpoint {id}"),
        Event::AttemptStarted { restored: Origin::Elsewhere { id, path } } => format!("it began with checkpoint {id} of {path}"),
        Event::CheckpointCompleted { id } => format!("checkpoint {id} was complete"),
        Event::JobFinished => "the job finished".to_owned(),
    };
    format!("job {}, attempt {}; {last} at {}", newest.job, newest.attempt, moment(newest.written_at_ms, now_ms))
}

fn list_text(dir: &Path, listing: &Listing, now_ms: i64) -> String {
    let checkpoints = &listing.checkpoints;
    let mut text = format!("{}: {}\n", dir.display(), owner_text(listing, now_ms));
    if checkpoints.is_empty() {
        text.push_str("  no checkpoint is complete yet\n");
        return text;
    }
    let mut rows = vec![heading(&["checkpoint", "attempt", "completed", "took", "written", "in full", "files", "per subtask", "state"])];
    for CheckpointSummary { retained, content } in checkpoints {
        let mut row = vec![retained.id.to_string(), retained.attempt.to_string(), moment(retained.completed_at_ms, now_ms)];
        match content {
            Ok(content) => {
                let state = if content.finished { "whole; the input had ended" } else { "whole" };
                let bytes = [content.written_bytes, content.bytes].map(|bytes| HumanBytes(bytes).to_string());
                let files = [content.files, content.subtask_files].map(|files| files.to_string());
                row.push(span(content.duration_ms));
                row.extend(bytes.into_iter().chain(files).chain([state.to_owned()]));
            }
            Err(reason) => row.extend(iter::repeat_n("?".to_owned(), 5).chain([format!("damaged: {reason}")])),
        }
        rows.push(row);
    }
    text + &table(&rows)
}

fn list_json(listing: &Listing) -> Value {
    let checkpoint = |CheckpointSummary { retained, content }: &CheckpointSummary| {
        let mut value = json!({
            "checkpoint": retained.id.0,
            "attempt": retained.attempt.0,
            "completed_at_ms": retained.completed_at_ms,
            "metadata": retained.metadata.name,
        });
        match content {
            Ok(content) => {
                value["finished"] = content.finished.into();
                value["duration_ms"] = content.duration_ms.into();
                value["files"] = content.files.into();
                value["bytes"] = content.bytes.into();
                value["written_bytes"] = content.written_bytes.into();
                value["subtask_files"] = content.subtask_files.into();
            }
            Err(reason) => value["damaged"] = reason.clone().into(),
        }
        value
    };
    let Listing { newest, checkpoints } = listing;
    json!({
        "job": newest.job.to_string(),
        "attempt": newest.attempt.0,
        "log_entry": newest.number,
        "finished": newest.event == Event::JobFinished,
        "checkpoints": checkpoints.iter().map(checkpoint).collect::<Vec<_>>(),
    })
}

/// The name of operator `uid` in the checkpoint.
fn name_of<'a>(inspection: &'a Inspection, uid: &'a str) -> &'a str {
    inspection.metadata.operators.iter().find(|operator| operator.uid == uid).map_or(uid, |operator| &operator.name)
}

fn inspection_text(inspection: &Inspection, now_ms: i64) -> String {
    let Inspection { metadata, content, states, source_positions } = inspection;
    let mut text = format!("checkpoint {} of job {}, attempt {}\n", metadata.id, metadata.job, metadata.attempt);
    let mut line = |what: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {what:<10} {value}");
    };
    line("completed", moment(metadata.completed_at_ms, now_ms));
    line("took", span(content.duration_ms));
    line("size", format!("{} in {} files", HumanBytes(content.bytes), content.files));
    line("written", format!("{} of it for this checkpoint, the rest for earlier ones", HumanBytes(content.written_bytes)));
    let within = |files: u64| format!("the state of one lies in up to {} {}", HumanCount(files), if files == 1 { "file" } else { "files" });
    line(
        "subtasks",
        if content.subtask_files == 0 { "their state lies within the metadata".to_owned() } else { within(content.subtask_files) },
    );
    line("key groups", metadata.key_groups.to_string());
    line("input", (if content.finished { "had ended: nothing is left to do" } else { "goes on" }).to_owned());

    let mut rows = vec![heading(&["operator", "subtasks", "uid"])];
    rows.extend(
        metadata.operators.iter().map(|operator| vec![operator.name.clone(), operator.parallelism.to_string(), operator.uid.clone()]),
    );
    section(&mut text, "operators", &rows);
    let mut rows = vec![heading(&["operator", "state", "subtasks", "entries", "written", "in full", "files"])];
    rows.extend(states.iter().map(|state| {
        let name = name_of(inspection, &state.operator).to_owned();
        let entries = format!("{}{}", if state.is_layered { "up to " } else { "" }, HumanCount(state.entries));
        let [written, full] = [state.written_bytes, state.bytes].map(|bytes| HumanBytes(bytes).to_string());
        vec![name, state.state.clone(), state.subtasks.to_string(), entries, written, full, state.files.to_string()]
    }));
    section(&mut text, "state", &rows);
    let mut rows = vec![heading(&["source", "splits"])];
    rows.extend(metadata.sources.iter().map(|source| vec![name_of(inspection, &source.uid).to_owned(), source.splits.len().to_string()]));
    section(&mut text, &format!("positions of sources ({source_positions})"), &rows);
    let mut rows = vec![heading(&["sink", "prepared for checkpoint", "size"])];
    rows.extend(metadata.transactions.iter().map(|transaction| {
        let bytes = HumanBytes(transaction.transaction.len() as u64).to_string();
        vec![name_of(inspection, &transaction.sink_uid).to_owned(), transaction.checkpoint.to_string(), bytes]
    }));
    section(&mut text, "results that this checkpoint shows (transactions to be committed)", &rows);
    let mut rows = vec![heading(&["task", "subtask"])];
    rows.extend(metadata.finished_subtasks.iter().map(|ended| vec![ended.task.clone(), ended.subtask.to_string()]));
    section(&mut text, "subtasks that had ended", &rows);
    text
}

/// A table under its title, or a note that it is empty.
fn section(text: &mut String, title: &str, rows: &[Vec<String>]) {
    match rows.len() {
        0 | 1 => text.push_str(&format!("\n{title}: none\n")),
        _ => text.push_str(&format!("\n{title}:\n{}", table(rows))),
    }
}

fn inspection_json(inspection: &Inspection) -> Value {
    let Inspection { metadata, content, states, .. } = inspection;
    let file = |place: &Place| match place {
        Place::File(file) => Some(file.name.clone()),
        Place::Inline { .. } => None,
    };
    let files = |snapshot: &SnapshotEntry| snapshot.places.iter().filter_map(file).collect::<Vec<_>>();
    json!({
        "job": metadata.job.to_string(),
        "attempt": metadata.attempt.0,
        "checkpoint": metadata.id.0,
        "completed_at_ms": metadata.completed_at_ms,
        "duration_ms": metadata.duration_ms,
        "key_groups": metadata.key_groups,
        "finished": metadata.finished,
        "files": content.files,
        "bytes": content.bytes,
        "written_bytes": content.written_bytes,
        "subtask_files": content.subtask_files,
        "operators": metadata.operators,
        "states": states.iter().map(|state| json!({
            "operator": name_of(inspection, &state.operator),
            "uid": state.operator,
            "state": state.state,
            "subtasks": state.subtasks,
            "entries": state.entries,
            "entries_is_upper_bound": state.is_layered,
            "bytes": state.bytes,
            "written_bytes": state.written_bytes,
            "files": state.files,
        })).collect::<Vec<_>>(),
        "snapshots": metadata.snapshots.iter().map(|snapshot| json!({
            "task": snapshot.task,
            "subtask": snapshot.subtask,
            "parallelism": snapshot.parallelism,
            "files": files(snapshot),
        })).collect::<Vec<_>>(),
        "sources": metadata.sources,
        "transactions": metadata.transactions,
        "finished_subtasks": metadata.finished_subtasks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_at_the_right() {
        let row = |cells: &[&str]| heading(cells);
        let text = table(&[row(&["state", "entries"]), row(&["count", "7"]), row(&["a longer name", "1,234,567"])]);
        assert_eq!(text, "  state            entries\n  count                  7\n  a longer name  1,234,567\n");
    }

    #[test]
    fn spans_and_moments_are_told_as_people_tell_them() {
        assert_eq!([span(0), span(1_250), span(61_999)], ["0s", "1s 250ms", "1m 1s"]);
        assert_eq!(moment(1_000, 63_500), "1970-01-01T00:00:01Z (1m 2s ago)");
        assert_eq!(moment(2_000, 1_000), "1970-01-01T00:00:02Z (0s ago)", "a clock that was set back");
    }
}
