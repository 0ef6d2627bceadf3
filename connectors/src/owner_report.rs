//! Who owns an output folder, reported before a job runs: nobody, a process that has died, a process that lives, or an owner of which that cannot be told
//! (docs/src/semantics.md#o-6).
//!
//! The owner is judged as for a job that has no checkpoints and is not to take anything over. Nothing is changed. But only its lock tells whether the owner
//! lives, so the lock of a dead owner is held for the moment of the check: a job that wants the folder in that very moment is refused.

use super::delivery::DeliveryGuarantee;
use super::file_folder::Folder;
use super::file_tenure::{highest, judged, numbers};
use super::owner_file::{Claim, Verdict};
use std::io::ErrorKind;
use std::path::Path;
use thalweg_io::{Io, IoError};
use thalweg_kernel::Refusal;
use thalweg_kernel::checkpoint::{Attempt, JobId};

/// How often a folder is read again because its owner has gone meanwhile.
const LOOKS: usize = 5;

/// Reports who owns `dir`. `Ok` if a job may have it, `Err` with the cure if not.
///
/// # Errors
/// If an operation fails.
pub async fn owner_report(io: &Io, dir: &Path) -> Result<Result<String, Refusal>, IoError> {
    let folder = Folder { disk: io.disk(), dir: dir.to_owned(), io: io.clone(), delivery: DeliveryGuarantee::ExactlyOnce };
    // No job has these numbers: jobs and processes draw theirs at random, and attempts are counted from 1.
    let claim = Claim { job: JobId(0), attempt: Attempt(0), owner: 0, checkpoints: None, process: io.process().clone(), takes_over: false };
    for _ in 0..LOOKS {
        let numbers = match numbers(&folder).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            numbers => numbers?,
        };
        let Some(highest) = highest(&numbers) else { return Ok(Ok("nobody".to_owned())) };
        // The lock is dropped with the verdict.
        let Some((verdict, _)) = judged(&folder, highest, &claim).await? else { continue };
        return Ok(match verdict {
            Verdict::TakeOver(line) => Ok(format!("nobody that lives; a job that begins will say: {line}")),
            Verdict::Refuse(refusal) | Verdict::RefuseIfStillHeld(refusal) => Err(refusal),
        });
    }
    Ok(Ok("one job after the other: it has another owner at each look".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner_file::{OwnerFile, OwnerName, digits};
    use std::rc::Rc;
    use thalweg_io::{File, OpenMode, blocking};

    /// Writes the owner file with this number, and returns it open.
    async fn write(io: &Io, dir: &Path, number: u64, text: &str) -> Rc<dyn File> {
        io.disk().create_dir_all(dir).await.unwrap();
        let path = dir.join(OwnerName::Owner(number).to_string());
        let file = io.disk().open(&path, OpenMode::CreateNew).await.unwrap();
        file.write_at(0, text.as_bytes().into()).await.unwrap();
        file
    }

    /// The file that a process with the number 99 at `host` would have written.
    fn owned_at(host: &str) -> String {
        let owner = OwnerFile {
            job: JobId(7).to_string(),
            attempt: 3,
            owner: digits(8),
            checkpoints: None,
            host: host.to_owned(),
            pid: 99,
            started_ms: 1_700_000_000_000,
            is_locked: true,
        };
        owner.encode()
    }

    async fn look(io: Io, dir: &Path) {
        let report = async |dir: &Path| owner_report(&io, dir).await.unwrap();
        let here = owned_at(&io.process().host);
        assert_eq!(report(&dir.join("nowhere")).await, Ok("nobody".to_owned()));
        assert_eq!(report(dir).await, Ok("nobody".to_owned()));

        let dead = dir.join("dead");
        drop(write(&io, &dead, 1, &here).await);
        let line = report(&dead).await.unwrap();
        assert!(line.contains("is taken over from a process that has died: process 99 on "), "{line}");

        let alive = dir.join("alive");
        let lock = write(&io, &alive, 10, &here).await.try_lock().await.unwrap().unwrap();
        // The file of an earlier owner, whose successor has not removed it yet.
        drop(write(&io, &alive, 9, &owned_at("there")).await);
        let reason = report(&alive).await.unwrap_err();
        let named = ["belongs to a job that runs: process 99 on ", "started 2023-11-14T22:13:20Z", "take the folder over"];
        assert!(named.iter().all(|part| reason.reason().contains(part)), "{reason}");
        // A report leaves no trace, and no lock.
        assert_eq!(io.disk().list(&alive).await.unwrap().len(), 2);
        drop(lock);
        assert!(report(&alive).await.is_ok() && report(&alive).await.is_ok());

        let elsewhere = dir.join("elsewhere");
        drop(write(&io, &elsewhere, 1, &owned_at("there")).await);
        let torn = dir.join("torn");
        drop(write(&io, &torn, 1, "thalweg-owner 1 ").await);
        for (dir, named) in [(elsewhere, "process 99 on there"), (torn, ".thalweg-owner-1: it is torn")] {
            let reason = report(&dir).await.unwrap_err();
            assert!([named, "nobody can tell", "take the folder over"].iter().all(|part| reason.reason().contains(part)), "{reason}");
        }
    }

    #[test]
    fn an_owner_that_is_not_there_or_dead_is_no_hindrance_and_any_other_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        blocking::run(move |io| Box::pin(async move { look(io, &path).await })).unwrap();
    }
}
