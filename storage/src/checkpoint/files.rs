//! Files of a checkpoint folder, written once and read whole.
//!
//! A file is created under a name that is used once, written from front to back, and synced; only then does anything refer to it, after syncing the directory.

use super::names::is_state_file;
use super::{CheckpointError, FileRef, ImageEnd, Snapshot};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::path::Path;
use std::task::{Context, Poll};
use thalweg_io::{Buffer, Disk, OpenMode};

/// Creates the file `name` with these bytes and makes them durable; its name is not yet. Gives their memory back.
///
/// If that fails the file is removed again, as far as possible: nothing refers to it.
pub(super) async fn create(disk: &dyn Disk, dir: &Path, name: &str, bytes: Buffer) -> Result<Buffer, CheckpointError> {
    let path = dir.join(name);
    let file = disk.open(&path, OpenMode::CreateNew).await.map_err(CheckpointError::writing)?;
    let written = async {
        let bytes = file.write_at(0, bytes).await?;
        file.sync().await?;
        Ok(bytes)
    };
    let error = match written.await {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error,
    };
    drop(file);
    // The result does not matter: nothing refers to the file, and a later cleaning will find it.
    let _ = disk.unlink(&path).await;
    Err(CheckpointError::writing(error))
}

/// The next piece of an image.
#[derive(Debug)]
pub enum Piece {
    /// More follows.
    Part(Buffer),
    /// The last piece.
    End(ImageEnd),
    /// There will be no more: the image is of no use.
    GivenUp,
}

/// Makes an image while it is written.
pub trait Pieces {
    /// The next piece, when there is one; registers for it otherwise.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Piece>;

    /// Takes back the memory of a piece that was written.
    fn give_back(&mut self, memory: Buffer);
}

/// Writes the image of a subtask's state to a file of its own, piece by piece. May run on any core.
///
/// The bytes are durable when it returns, the name is once the checkpoint is complete. `None` if the image was given up.
///
/// # Errors
/// If the disk is full or fails. The file is removed again as far as possible, as it is if the image is given up.
///
/// # Panics
/// If `name` is not from [`state_file_name`](super::state_file_name).
pub async fn write_snapshot(disk: &dyn Disk, dir: &Path, name: &str, pieces: &mut impl Pieces) -> Result<Option<FileRef>, CheckpointError> {
    assert!(is_state_file(name), "{name} is the name of a state file");
    let path = dir.join(name);
    let file = disk.open(&path, OpenMode::CreateUncached).await.map_err(CheckpointError::writing)?;
    let written = async {
        let mut at = 0;
        loop {
            let (piece, end) = match poll_fn(|cx| pieces.poll_next(cx)).await {
                Piece::Part(piece) => (piece, None),
                Piece::End(ImageEnd { rest, len, root_crc, .. }) => (rest, Some(FileRef { name: name.to_owned(), len, crc: root_crc })),
                Piece::GivenUp => return Ok(None),
            };
            let len = piece.len() as u64;
            pieces.give_back(file.write_at(at, piece).await?);
            at += len;
            if let Some(whole) = end {
                assert_eq!(at, whole.len, "the pieces are the image");
                file.sync().await?;
                return Ok(Some(whole));
            }
        }
    };
    let outcome = written.await;
    drop(file);
    if !matches!(outcome, Ok(Some(_))) {
        // The result does not matter: nothing refers to the file, and a later cleaning will find it.
        let _ = disk.unlink(&path).await;
    }
    outcome.map_err(CheckpointError::writing)
}

/// Removes files of state that no checkpoint names or will name. A missing file is no error.
///
/// # Errors
/// If the disk fails; the remaining files are tried nevertheless.
pub async fn discard(disk: &dyn Disk, dir: &Path, names: impl IntoIterator<Item = &str>) -> Result<(), CheckpointError> {
    let mut outcome = Ok(());
    for name in names {
        // The names may come from another process: only names of state files, which lie in the folder, are removed.
        if !is_state_file(name) {
            outcome = Err(CheckpointError::Foreign { file: name.to_owned(), reason: "does not have the name of a state file".to_owned() });
        } else if let Err(error) = remove(disk, dir, name).await {
            outcome = Err(error);
        }
    }
    outcome
}

/// Removes a file; `false` if it was not there.
pub(super) async fn remove(disk: &dyn Disk, dir: &Path, name: &str) -> Result<bool, CheckpointError> {
    match disk.unlink(&dir.join(name)).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(CheckpointError::io(error)),
    }
}

/// Reads a whole file. A file whose length is not `expected`, or exceeds `at_most`, is refused before memory is allocated.
pub(super) async fn read(disk: &dyn Disk, path: &Path, expected: Option<u64>, at_most: u64) -> Result<Buffer, CheckpointError> {
    let name = path.display().to_string();
    let file = match disk.open(path, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let cure = "the checkpoint is incomplete, or a running job has just removed it: restore another one".to_owned();
            return Err(CheckpointError::NotFound { what: format!("file {name}"), cure });
        }
        Err(error) => return Err(CheckpointError::io(error)),
    };
    let len = file.len().await.map_err(CheckpointError::io)?;
    if let Some(expected) = expected.filter(|expected| *expected != len) {
        let reason = format!("{expected} bytes are expected and there are {len}");
        return Err(CheckpointError::corrupt(&name, usize::try_from(len.min(expected)).unwrap_or(usize::MAX), reason));
    }
    let length = usize::try_from(len).ok().filter(|_| len <= at_most);
    let Some(length) = length else {
        return Err(CheckpointError::corrupt(&name, 0, format!("a file of this kind is never {len} bytes long")));
    };
    let mut bytes = file.read_at(0, Buffer::with_capacity(length)).await.map_err(CheckpointError::io)?;
    if bytes.len() < length {
        return Err(CheckpointError::corrupt(&name, bytes.len(), format!("the file ends before its length of {length} bytes")));
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads a metadata file, whose length and checksum the log holds.
pub(super) async fn read_metadata(disk: &dyn Disk, dir: &Path, child: &FileRef) -> Result<Buffer, CheckpointError> {
    let path = dir.join(&child.name);
    let bytes = read(disk, &path, Some(child.len), u64::MAX).await?;
    check_crc(&path, crc32fast::hash(&bytes), child)?;
    Ok(bytes)
}

/// Reads the image in a state file, whose length and root checksum the metadata holds.
pub(super) async fn read_image(disk: &dyn Disk, dir: &Path, child: &FileRef) -> Result<Snapshot, CheckpointError> {
    let path = dir.join(&child.name);
    let bytes = read(disk, &path, Some(child.len), u64::MAX).await?;
    let image = Snapshot::parse(&path.display().to_string(), bytes)?;
    check_crc(&path, image.root_crc(), child)?;
    Ok(image)
}

/// A file may be intact and not the one that its parent means.
fn check_crc(path: &Path, found: u32, child: &FileRef) -> Result<(), CheckpointError> {
    if found == child.crc {
        return Ok(());
    }
    Err(CheckpointError::corrupt(&path.display().to_string(), 0, "its checksum is not the one that the checkpoint names"))
}
