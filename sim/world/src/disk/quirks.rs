//! What a file system may be like besides failing: files that may not be opened, no locks, two names for one folder, a listing that misses a name.
//!
//! Worlds draw none of it; a test asks for what it is about.

use super::durability::Name;
use super::model::{DiskModel, ENOENT, InodeId, os_error};
use super::{DiskState, SimulatedDisk};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use thalweg_io::{DirEntry, OpenMode};

const EACCES: i32 = 13;

/// What was asked for.
#[derive(Default)]
pub(super) struct Quirks {
    forbidden: BTreeSet<InodeId>,
    pub(super) has_no_locks: bool,
    passed_over: Option<PathBuf>,
}

impl SimulatedDisk {
    /// The file at `path` is another user's: it is listed, and can be linked and removed, but not opened any more.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn forbid(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let inode = state.model.find(path.as_ref())?;
        state.model.bytes(inode)?;
        state.quirks.forbidden.insert(inode);
        Ok(())
    }

    /// From now on no file can be locked, as on some file systems of a network.
    pub fn do_without_locks(&self) {
        self.state.borrow_mut().quirks.has_no_locks = true;
    }

    /// The next listing in which `path` would stand does not have it: a listing is not of one instant, and this name came while it was under way.
    pub fn pass_over_once(&self, path: impl Into<PathBuf>) {
        self.state.borrow_mut().quirks.passed_over = Some(path.into());
    }

    /// Gives the directory at `path` the further name `other`, durably, as a bind mount does or a symbolic link.
    ///
    /// # Errors
    /// If there is no such directory, or `other` is taken or lies in it.
    pub fn name_also(&self, path: impl AsRef<Path>, other: impl AsRef<Path>) -> io::Result<()> {
        self.state.borrow_mut().model.name_also(path.as_ref(), other.as_ref())
    }
}

impl DiskState {
    /// Opens a file, unless it is forbidden.
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<InodeId> {
        if !mode.creates() && self.model.find(path).is_ok_and(|inode| self.quirks.forbidden.contains(&inode)) {
            return Err(os_error(EACCES));
        }
        self.model.open(path, mode)
    }

    /// Lists a directory, but for what is passed over.
    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = self.model.list(path)?;
        let passed_over = &mut self.quirks.passed_over;
        entries.retain(|entry| passed_over.take_if(|missed| *missed == path.join(&entry.name)).is_none());
        Ok(entries)
    }
}

impl DiskModel {
    fn name_also(&mut self, path: &Path, other: &Path) -> io::Result<()> {
        let directory = self.open_dir(path)?;
        let (Some(above), Some(name)) = (other.parent(), other.file_name().and_then(|name| name.to_str())) else {
            return Err(os_error(ENOENT));
        };
        let at = Name { directory: self.put_dir(above)?, name: name.to_owned() };
        if self.lookup(&at).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.is_below(at.directory, directory) {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.add_durable_name(&at, directory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SteppedDisk;

    #[test]
    fn a_forbidden_file_is_listed_and_removed_and_not_opened() {
        let disk = SteppedDisk::new();
        disk.put("folder/file", "content").unwrap();
        disk.forbid("folder/file").unwrap();
        let door = disk.door();
        for mode in [OpenMode::Read, OpenMode::Write] {
            let error = disk.run(door.open(Path::new("folder/file"), mode)).unwrap().map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
        assert_eq!(disk.run(door.list(Path::new("folder"))).unwrap().unwrap().len(), 1);
        disk.run(door.unlink(Path::new("folder/file"))).unwrap().unwrap();
        disk.put("folder/file", "another").unwrap();
        assert!(disk.run(door.open(Path::new("folder/file"), OpenMode::Read)).unwrap().is_ok(), "it was that file, and not its name");
    }

    #[test]
    fn one_listing_misses_a_name() {
        let disk = SteppedDisk::new();
        ["folder/a", "folder/b", "elsewhere/a"].iter().for_each(|path| disk.put(path, "").unwrap());
        disk.pass_over_once("folder/a");
        let names = |folder: &str| disk.run(disk.door().list(Path::new(folder))).unwrap().unwrap().len();
        assert_eq!([names("elsewhere"), names("folder"), names("folder")], [1, 1, 2]);
    }

    #[test]
    fn a_directory_has_what_it_has_by_both_names() {
        let disk = SteppedDisk::new();
        disk.put("folder/file", "content").unwrap();
        disk.name_also("folder", "another/name").unwrap();
        disk.put("another/name/file", "changed").unwrap();
        disk.crash(crate::CrashStyle::LoseUnsynced);
        for folder in ["folder", "another/name"] {
            assert_eq!(disk.files(folder).unwrap(), [("file".to_owned(), b"changed".to_vec())]);
        }
        assert_eq!(disk.name_also("folder", "another/name").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.name_also("folder", "folder/inner").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
