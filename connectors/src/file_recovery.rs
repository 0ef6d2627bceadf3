//! How a [`FileSink`](super::FileSink) recovers its folder before an attempt begins, and tidies it after the last attempt.
//!
//! It looks first, and refuses before it changes anything: a folder that belongs to a running job; results of other jobs, unless they are to be replaced;
//! results of this job that are later than the checkpoint it starts from, unless those are to be discarded. Then it takes the folder, shows the files that
//! the checkpoint names, and removes every file in progress, of whichever job and version, except those of a later attempt: a folder belongs to one sink of
//! one running job. Each step can be interrupted and repeated.

use super::delivery::DeliveryGuarantee;
use super::file_folder::{FileTransaction, Folder, Refused, is_of_others, refused, unfit};
use super::file_tenure::{Tenure, is_seen_in};
use super::owner_file::Claim;
use super::part_name::{PartName, is_in_progress, is_result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use thalweg_io::{Disk, EntryKind};
use thalweg_kernel::sink::{Recovery, SinkError};
use thalweg_kernel::{Cure, Refusal};

/// Fails where [`recover`] would refuse. Changes nothing.
pub(super) async fn check(
    folder: &Folder,
    overwrite: bool,
    tenure: &Tenure,
    recovery: &Recovery<FileTransaction>,
) -> Result<(), SinkError> {
    if let Some(input) = recovery.inputs.iter().find(|input| plain(input) == plain(&folder.dir)) {
        return Err(input_is_output(folder, input));
    }
    if let Some(input) = recovery.inputs.iter().find(|input| as_result(input).is_some_and(|dir| plain(dir) == plain(&folder.dir))) {
        return Err(input_is_a_result(folder, input));
    }
    if folder.disk.kind(&folder.dir).await.map_err(unfit)?.is_none() {
        return Ok(());
    }
    let names = folder.names().await.map_err(unfit)?;
    refuse(folder, overwrite, recovery, &names)?;
    tenure.check(folder, &claim_of(folder, recovery)).await
}

/// A path without `.` and without doubled or trailing slashes, so that one folder has one name.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

fn input_is_output(folder: &Folder, input: &Path) -> SinkError {
    let (shown, input) = (folder.dir.display(), input.display());
    SinkError::invalid(format!("the input {input} and the output {shown} are one folder; choose another one for the results"))
}

/// The folder that contains `input`, if `input` has the name of a file that a sink may remove there.
fn as_result(input: &Path) -> Option<&Path> {
    let name = input.file_name()?.to_str()?;
    (is_result(name) || is_in_progress(name)).then(|| parent(input))
}

fn input_is_a_result(folder: &Folder, input: &Path) -> SinkError {
    let (shown, input) = (folder.dir.display(), input.display());
    SinkError::invalid(format!("the input {input} lies in the output {shown}, among results; choose another folder for the results"))
}

/// The job's claim on the folder.
fn claim_of(folder: &Folder, recovery: &Recovery<FileTransaction>) -> Claim {
    Claim {
        job: recovery.job,
        attempt: recovery.attempt,
        owner: recovery.owner,
        checkpoints: recovery.checkpoints.clone(),
        process: folder.io.process().clone(),
        takes_over: recovery.take_over_output,
    }
}

fn refuse(folder: &Folder, overwrite: bool, recovery: &Recovery<FileTransaction>, names: &[String]) -> Result<(), SinkError> {
    let shown = folder.dir.display();
    if !overwrite && let Some(name) = names.iter().find(|name| is_of_others(name, recovery.job)) {
        let reason = format!("{shown} already holds results ({name}); remove them, choose another folder, or have them replaced");
        return Err(SinkError::Invalid(Refusal::from(reason).curable_by([Cure::ReplaceOutput])));
    }
    // Results shown at least once cannot be told from epochs that were shown early.
    let is_tolerated = recovery.discard_later_output || folder.delivery == DeliveryGuarantee::AtLeastOnce;
    if !is_tolerated && let Some(name) = names.iter().find(|name| is_later(name, recovery)) {
        let from = recovery.restored.map_or("the beginning".to_owned(), |restored| format!("checkpoint {restored}"));
        let reason = format!(
            "{shown} holds results of this job ({name}) that are later than {from}, and starting from there would show them twice; restore the latest checkpoint, or have the later results removed"
        );
        return Err(SinkError::Invalid(Refusal::from(reason).curable_by([Cure::DiscardLaterOutput])));
    }
    Ok(())
}

/// Whether `name` is that of a visible result of this job that the restored checkpoint does not know.
fn is_later(name: &str, recovery: &Recovery<FileTransaction>) -> bool {
    let part = PartName::of_visible(name).filter(|part| part.job == recovery.job);
    part.is_some_and(|part| recovery.restored.is_none_or(|restored| part.epoch > restored))
}

/// See the module's documentation. Returns whether there are results of other jobs, which the first commit is to remove.
pub(super) async fn recover(
    folder: Folder,
    overwrite: bool,
    tenure: &Tenure,
    mut recovery: Recovery<FileTransaction>,
) -> Result<bool, SinkError> {
    check(&folder, overwrite, tenure, &recovery).await?;
    create_durably(&*folder.disk, &folder.dir).await.map_err(refused)?;
    tenure.claim(&folder, &claim_of(&folder, &recovery)).await?;
    for input in &recovery.inputs {
        let place = |dir: &Path| Folder { dir: dir.to_owned(), ..folder.clone() };
        if is_seen_in(&place(input), tenure).await? {
            return Err(input_is_output(&folder, input));
        }
        if let Some(dir) = as_result(input)
            && is_seen_in(&place(dir), tenure).await?
        {
            return Err(input_is_a_result(&folder, input));
        }
    }
    let committed = std::mem::take(&mut recovery.committed);
    let names = folder.names().await.map_err(unfit)?;
    // The files listed belong to nobody else as long as the folder does not.
    tenure.ensure(&folder).await?;
    refuse(&folder, overwrite, &recovery, &names)?;
    if recovery.discard_later_output {
        for name in names.iter().filter(|name| is_later(name, &recovery)) {
            folder.remove(name).await.map_err(unfit)?;
        }
        // Sync before any new file can be shown; an interrupted recovery may have removed more than can be seen now.
        folder.sync().await.map_err(unfit)?;
    }
    let job = recovery.job;
    let mut others: Vec<String> = names.iter().filter(|name| is_of_others(name, job)).cloned().collect();
    let replaced: &[String] = if overwrite { &others } else { &[] };
    let shown = committable(&folder, committed);
    folder.commit(&shown, replaced).await?;
    if overwrite && !shown.is_empty() {
        others.clear();
    }
    // A later attempt may have begun meanwhile: a checkpoint may already name files that it has prepared.
    let is_left_over = |name: &&String| is_in_progress(name) && !is_of_a_later_attempt(name, &recovery);
    for name in names.iter().filter(is_left_over) {
        folder.remove(name).await.map_err(unfit)?;
    }
    folder.sync().await.map_err(unfit)?;
    Ok(!others.is_empty())
}

/// The transactions of the checkpoint that are to be shown.
fn committable(folder: &Folder, committed: Vec<FileTransaction>) -> Vec<FileTransaction> {
    match folder.delivery {
        DeliveryGuarantee::ExactlyOnce | DeliveryGuarantee::AtLeastOnce => committed,
        // Files that may have been shown before must not be shown now: they are removed with all other hidden files.
        DeliveryGuarantee::AtMostOnce => Vec::new(),
    }
}

fn is_of_a_later_attempt(name: &str, recovery: &Recovery<FileTransaction>) -> bool {
    let of_this_job = PartName::of_hidden(name).filter(|part| part.job == recovery.job);
    of_this_job.is_some_and(|part| part.attempt.is_some_and(|of| of > recovery.attempt))
}

/// After the last attempt: shows files that the checkpoint names, removes other hidden ones, and releases the folder. Leaves another owner's folder alone.
///
/// # Errors
/// Also if the job had the folder and has lost it: then it is unknown what became of its results.
pub(super) async fn finish(
    folder: Folder,
    overwrite: bool,
    tenure: &Tenure,
    mut recovery: Recovery<FileTransaction>,
) -> Result<(), SinkError> {
    let committed = committable(&folder, std::mem::take(&mut recovery.committed));
    if committed.is_empty() && !tenure.is_taken_by(recovery.owner) && folder.disk.kind(&folder.dir).await?.is_none() {
        return Ok(());
    }
    // Nobody has been asked whether to take it over.
    let claim = Claim { takes_over: false, ..claim_of(&folder, &recovery) };
    match tenure.claim(&folder, &claim).await {
        // The folder was never this job's.
        Err(SinkError::Invalid(_)) => return Ok(()),
        claimed => claimed?,
    }
    let names = folder.names().await.map_err(unfit)?;
    tenure.ensure(&folder).await?;
    let others: Vec<String> =
        if overwrite { names.iter().filter(|name| is_of_others(name, recovery.job)).cloned().collect() } else { vec![] };
    folder.commit(&committed, &others).await?;
    // A later attempt, of a process that has taken over, cleans up its own files.
    let is_own = |name: &&String| {
        PartName::of_hidden(name).is_some_and(|part| part.job == recovery.job && part.attempt.is_none_or(|of| of <= recovery.attempt))
    };
    for name in names.iter().filter(is_own) {
        folder.remove(name).await.map_err(unfit)?;
    }
    folder.sync().await.map_err(unfit)?;
    tenure.release(&folder).await
}

/// Creates `dir` and its missing ancestors, and makes their names durable.
///
/// Creates folder by folder from the top: none inside a folder whose own name may still be lost. So after an interruption at most one name may be lost:
/// that of the lowest existing folder.
async fn create_durably(disk: &dyn Disk, dir: &Path) -> Result<(), Refused> {
    let mut missing = Vec::new();
    for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        if disk.kind(path).await? != Some(EntryKind::Directory) {
            missing.push(path);
            continue;
        }
        match disk.sync_dir(parent(path)).await {
            // An interrupted job did not create this folder: it would have been refused.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            result => result?,
        }
        break;
    }
    for path in missing.into_iter().rev() {
        disk.create_dir_all(path).await.map_err(Refused::room)?;
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
