//! What a [`FileSink`](super::FileSink) does to its folder before an attempt begins, and after the last one.
//!
//! Looks first, and refuses before it changes anything: results of other jobs, unless they are to be replaced, and results of this job that are later than
//! the checkpoint it starts from, unless those are to be discarded. Then it shows what that checkpoint names, and removes every file in progress, of
//! whichever job and version, but those of a later attempt: a folder belongs to one sink of one running job. Each step can be interrupted and done again.

use super::delivery::DeliveryGuarantee;
use super::file_folder::{FileTransaction, Folder, is_of_others};
use super::part_name::{PartName, is_in_progress};
use crate::sink::{Recovery, SinkError};
use std::io::ErrorKind;
use std::path::Path;
use thalweg_io::{Disk, EntryKind, IoError};

/// Refuses results of other jobs, and later ones of this job, unless they may be removed. Changes nothing.
pub(super) async fn check(folder: &Folder, overwrite: bool, recovery: &Recovery<FileTransaction>) -> Result<(), SinkError> {
    if folder.disk.kind(&folder.dir).await.map_err(unfit)?.is_none() {
        return Ok(());
    }
    let names = folder.names().await.map_err(unfit)?;
    refuse(folder, overwrite, recovery, &names)
}

fn refuse(folder: &Folder, overwrite: bool, recovery: &Recovery<FileTransaction>, names: &[String]) -> Result<(), SinkError> {
    let shown = folder.dir.display();
    if !overwrite && let Some(name) = names.iter().find(|name| is_of_others(name, recovery.job)) {
        return Err(SinkError::Invalid(format!(
            "{shown} already holds results ({name}); remove them, choose another folder, or have them replaced (`--overwrite`, in a program `FileSink::overwrite`)"
        )));
    }
    // What is shown at least once cannot be told from epochs that were shown early.
    let is_tolerated = recovery.discard_later_output || folder.delivery == DeliveryGuarantee::AtLeastOnce;
    if !is_tolerated && let Some(name) = names.iter().find(|name| is_later(name, recovery)) {
        let from = recovery.restored.map_or("the beginning".to_owned(), |restored| format!("checkpoint {restored}"));
        return Err(SinkError::Invalid(format!(
            "{shown} holds results of this job ({name}) that are later than {from}, and starting from there would show them twice; restore the latest checkpoint, or have the later results removed (`--discard-later-output`)"
        )));
    }
    Ok(())
}

/// Whether `name` is that of a visible result of this job that the restored checkpoint does not know.
fn is_later(name: &str, recovery: &Recovery<FileTransaction>) -> bool {
    let part = PartName::of_visible(name).filter(|part| part.job == recovery.job);
    part.is_some_and(|part| recovery.restored.is_none_or(|restored| part.epoch > restored))
}

/// See the module. Returns whether there are results of other jobs, which the first commit is to remove.
pub(super) async fn recover(folder: Folder, overwrite: bool, mut recovery: Recovery<FileTransaction>) -> Result<bool, SinkError> {
    let committed = std::mem::take(&mut recovery.committed);
    let Recovery { job, attempt, discard_later_output, is_last, .. } = recovery;
    let committed = match folder.delivery {
        DeliveryGuarantee::ExactlyOnce | DeliveryGuarantee::AtLeastOnce => committed,
        // What might have been shown must not be shown now: it goes with everything else that is hidden.
        DeliveryGuarantee::AtMostOnce => Vec::new(),
    };
    if is_last {
        if committed.is_empty() && folder.disk.kind(&folder.dir).await?.is_none() {
            return Ok(false);
        }
    } else {
        create_durably(&*folder.disk, &folder.dir).await.map_err(unfit)?;
    }
    let names = folder.names().await.map_err(unfit)?;
    if !is_last {
        refuse(&folder, overwrite, &recovery, &names)?;
        if discard_later_output {
            for name in names.iter().filter(|name| is_later(name, &recovery)) {
                folder.remove(name).await.map_err(unfit)?;
            }
            // Before anything new can be shown; an interrupted recovery may have removed more than can be seen now.
            folder.sync().await.map_err(unfit)?;
        }
    }
    folder.commit(&committed, overwrite).await?;
    let is_left_over = |name: &&String| match is_last {
        // A later attempt, of a process that has taken over, looks after its own.
        true => PartName::of_hidden(name).is_some_and(|part| part.job == job && part.attempt.is_none_or(|of| of <= attempt)),
        // A later attempt may have begun meanwhile: what it has prepared a checkpoint may name by now.
        false => {
            is_in_progress(name)
                && PartName::of_hidden(name).is_none_or(|part| part.job != job || part.attempt.is_none_or(|of| of <= attempt))
        }
    };
    for name in names.iter().filter(is_left_over) {
        folder.remove(name).await.map_err(unfit)?;
    }
    folder.sync().await.map_err(unfit)?;
    Ok(names.iter().any(|name| is_of_others(name, job)))
}

/// Tells what is wrong with the folder from what is wrong with the disk.
fn unfit(error: IoError) -> SinkError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::ReadOnlyFilesystem => {
            SinkError::Invalid(format!("{error}; choose another output folder or give this user the right to write there"))
        }
        _ => SinkError::Io(error),
    }
}

/// Creates `dir` and what is missing above it, and makes their names durable.
///
/// Folder by folder from the top: none is created in one whose own name may still be lost. So after an interruption there is at most one such name, that of
/// the lowest folder that is there.
async fn create_durably(disk: &dyn Disk, dir: &Path) -> Result<(), IoError> {
    let mut missing = Vec::new();
    for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        if disk.kind(path).await? != Some(EntryKind::Directory) {
            missing.push(path);
            continue;
        }
        match disk.sync_dir(parent(path)).await {
            // It was not made by a job that was interrupted here, for that one would have been refused.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            result => result?,
        }
        break;
    }
    for path in missing.into_iter().rev() {
        disk.create_dir_all(path).await?;
        disk.sync_dir(parent(path)).await?;
    }
    Ok(())
}

/// The folder that holds the name of `path`; of the root itself, the root.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}
