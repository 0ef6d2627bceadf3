//! A file system as a state machine: files, directories, and the operations of programs on them, with Linux's rules and errors.
//!
//! Pure: no time, no I/O; the only randomness is that of [`DiskModel::crash`], and it is handed in. Everything is numbered in one sequence;
//! a sync covers what was done before the number it was submitted with ([`DiskModel::mark`]), and not what was still under way. What becomes of
//! names in a crash is told in `durability`, what becomes of content in `bytes`; what is done to it from outside of any program, in `outside`.

use super::bytes::FileBytes;
use super::durability::{Change, LogEntry, Name};
use super::faults::FaultCounts;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Component, Path};
use thalweg_io::{DirEntry, EntryKind, OpenMode};

// Linux's numbers: errors then read and compare as they would there.
pub(super) const ENOENT: i32 = 2;
pub(super) const EIO: i32 = 5;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
pub(super) const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const EFBIG: i32 = 27;
pub(super) const ENOSPC: i32 = 28;
const ENOTEMPTY: i32 = 39;
pub(super) const ECANCELED: i32 = 125;

/// How many changes of names are remembered: far more than there are between two looks at a disk.
const CHANGED_NAMES_MAX: usize = 1024;

/// The number of a file or directory. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InodeId(u64);

pub(super) const ROOT: InodeId = InodeId(0);

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) now: BTreeMap<String, InodeId>,
    pub(super) durable: BTreeMap<String, InodeId>,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `names` are those that programs see, `durable_names` those that a power loss leaves. `counted` says whether its length is part of
    /// `used_bytes`: a file that only a crash can bring back is not.
    File {
        bytes: FileBytes,
        names: u32,
        durable_names: u32,
        handles: u32,
        counted: bool,
    },
    Directory(Directory),
}

/// A file system.
#[derive(Clone, Debug)]
pub struct DiskModel {
    pub(super) nodes: BTreeMap<InodeId, Node>,
    pub(super) log: Vec<LogEntry>,
    next_inode: u64,
    pub(super) seq: u64,
    /// How often what programs see of names has changed.
    name_changes: u64,
    /// The last of these changes, latest last; what is older has been forgotten.
    changed_names: VecDeque<Name>,
    capacity_bytes: u64,
    pub(super) used_bytes: u64,
    /// What crashes have done.
    pub(super) tally: FaultCounts,
}

pub(super) fn os_error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl DiskModel {
    /// An empty file system with room for `capacity_bytes` bytes of content.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]);
        Self {
            nodes,
            log: vec![],
            next_inode: 1,
            seq: 0,
            name_changes: 0,
            changed_names: VecDeque::new(),
            capacity_bytes,
            used_bytes: 0,
            tally: FaultCounts::new(),
        }
    }

    /// The number of the last change: what a sync submitted now has to cover.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.seq
    }

    /// Grows whenever a name that programs see comes, goes, or stands for something else.
    #[must_use]
    pub fn name_changes(&self) -> u64 {
        self.name_changes
    }

    /// Names that have changed since [`DiskModel::name_changes`] was `before`, some of them several times: of which directory, and which. `None` if that
    /// is too long ago, or everything may have changed.
    #[must_use]
    pub fn names_changed_since(&self, before: u64) -> Option<impl Iterator<Item = (InodeId, &str)>> {
        let changes = usize::try_from(self.name_changes.checked_sub(before)?).ok()?;
        let forgotten = self.changed_names.len().checked_sub(changes)?;
        Some(self.changed_names.iter().skip(forgotten).map(|at| (at.directory, at.name.as_str())))
    }

    /// Notes that programs see another file, or none, by this name.
    pub(super) fn note_name(&mut self, at: &Name) {
        self.name_changes += 1;
        if self.changed_names.len() == CHANGED_NAMES_MAX {
            self.changed_names.pop_front();
        }
        self.changed_names.push_back(at.clone());
    }

    /// Notes that any name may stand for something else.
    pub(super) fn note_all_names(&mut self) {
        self.name_changes += 1;
        self.changed_names.clear();
    }

    /// Bytes that files occupy, those included that are open without having a name.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// From now on there is room for everything.
    pub(super) fn make_room(&mut self) {
        self.capacity_bytes = u64::MAX;
    }

    /// Bytes for which there is room.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes)
    }

    /// Opens the file at `path`; [`DiskModel::close`] it in the end.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<InodeId> {
        let inode = if mode.creates() {
            let at = self.vacant(path)?;
            let inode = self.add_node(Node::File { bytes: FileBytes::default(), names: 0, durable_names: 0, handles: 0, counted: true });
            self.change(Change::Insert { at, inode });
            inode
        } else {
            self.find(path)?
        };
        let Some(Node::File { handles, .. }) = self.nodes.get_mut(&inode) else { return Err(os_error(EISDIR)) };
        *handles += 1;
        Ok(inode)
    }

    /// Gives up what `open` returned. A file that a crash has closed already is passed over.
    pub fn close(&mut self, inode: InodeId) {
        if let Some(Node::File { handles, .. }) = self.nodes.get_mut(&inode) {
            *handles = handles.saturating_sub(1);
        }
        self.collect(inode);
    }

    /// Closes all files: the programs that had them open are gone.
    pub fn close_all(&mut self) {
        let inodes: Vec<_> = self.nodes.keys().copied().collect();
        for inode in inodes {
            if let Some(Node::File { handles, .. }) = self.nodes.get_mut(&inode) {
                *handles = 0;
            }
            self.collect(inode);
        }
    }

    /// The length of an open file.
    ///
    /// # Errors
    /// If a crash took the file.
    pub fn len(&self, inode: InodeId) -> io::Result<u64> {
        Ok(self.bytes(inode)?.now().len() as u64)
    }

    /// Copies what is at `offset` into `target`; returns how much it was.
    ///
    /// # Errors
    /// If a crash took the file.
    pub fn read(&self, inode: InodeId, offset: u64, target: &mut [u8]) -> io::Result<usize> {
        Ok(self.bytes(inode)?.read(offset, target))
    }

    /// Writes `bytes` at `offset`, all or, on an error, nothing.
    ///
    /// # Errors
    /// If there is no room, or a crash took the file.
    pub fn write(&mut self, inode: InodeId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| os_error(EFBIG))?;
        let end = offset.checked_add(bytes.len()).ok_or_else(|| os_error(EFBIG))?;
        let before = self.bytes(inode)?.now().len();
        let grown = if bytes.is_empty() { 0 } else { end.saturating_sub(before) as u64 };
        if grown > self.room_bytes() {
            return Err(os_error(ENOSPC));
        }
        self.used_bytes += grown;
        self.seq += 1;
        let seq = self.seq;
        if let Some(Node::File { bytes: content, .. }) = self.nodes.get_mut(&inode) {
            content.write(seq, offset, bytes);
        }
        Ok(())
    }

    /// Makes durable what was written to the file up to `upto`, a [`DiskModel::mark`].
    pub fn sync(&mut self, inode: InodeId, upto: u64) {
        if let Some(Node::File { bytes, .. }) = self.nodes.get_mut(&inode) {
            bytes.sync(upto);
        }
    }

    /// A sync fails: what was written up to `upto` stays visible, and no later sync makes it durable.
    pub fn fail_sync(&mut self, inode: InodeId, upto: u64) {
        if let Some(Node::File { bytes, .. }) = self.nodes.get_mut(&inode) {
            bytes.fail_sync(upto);
        }
    }

    /// After a failed sync: what it should have made durable is not seen any more either.
    pub fn forget_failed(&mut self, inode: InodeId) {
        self.change_bytes(inode, FileBytes::forget_failed);
    }

    /// The last write to the file is seen and never reaches the drive, whatever syncs say.
    pub(super) fn doom_last_write(&mut self, inode: InodeId) {
        self.change_bytes(inode, FileBytes::doom_last_write);
    }

    /// Changes content, and keeps the account of the room.
    pub(super) fn change_bytes<T>(&mut self, inode: InodeId, change: impl FnOnce(&mut FileBytes) -> T) -> Option<T> {
        let Some(Node::File { bytes, counted, .. }) = self.nodes.get_mut(&inode) else { return None };
        let before = bytes.now().len() as u64;
        let result = change(bytes);
        if *counted {
            self.used_bytes = (self.used_bytes + bytes.now().len() as u64).saturating_sub(before);
        }
        Some(result)
    }

    /// What crashes have done to unsynced pieces, by name.
    #[must_use]
    pub fn tally(&self) -> &FaultCounts {
        &self.tally
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// If there is no directory at `path`.
    pub fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let directory = self.directory(self.find(path)?)?;
        Ok(directory.now.iter().map(|(name, &inode)| DirEntry { name: name.clone(), kind: self.kind_of(inode) }).collect())
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// If something on the way is not a directory.
    pub fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        match self.find(path) {
            Ok(inode) => Ok(Some(self.kind_of(inode))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the directory at `path` and those above it.
    ///
    /// # Errors
    /// If a file is in the way.
    pub fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut directory = ROOT;
        for name in components(path)? {
            directory = match self.directory(directory)?.now.get(&name) {
                Some(&inode) => {
                    self.directory(inode).map_err(|_| os_error(EEXIST))?;
                    inode
                }
                None => {
                    let inode = self.add_node(Node::Directory(Directory::default()));
                    self.change(Change::Insert { at: Name { directory, name }, inode });
                    inode
                }
            };
        }
        Ok(())
    }

    /// Gives what is at `from` the name `to`.
    ///
    /// # Errors
    /// As `rename(2)`; a directory may only take a name that is free.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        match self.lookup(&to) {
            // As POSIX has it: two names of one file stay two names.
            Some(existing) if existing == inode => return Ok(()),
            Some(existing) => match (self.kind_of(inode), self.kind_of(existing)) {
                (EntryKind::Directory, EntryKind::Directory) => return Err(os_error(ENOTEMPTY)),
                (EntryKind::Directory, _) => return Err(os_error(ENOTDIR)),
                (_, EntryKind::Directory) => return Err(os_error(EISDIR)),
                _ => {}
            },
            None => {}
        }
        if self.is_below(to.directory, inode) {
            return Err(os_error(EINVAL));
        }
        self.change(Change::Move { from, to, inode });
        Ok(())
    }

    /// Gives the file at `from` the further name `to`.
    ///
    /// # Errors
    /// As `link(2)`.
    pub fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let at = self.vacant(to)?;
        self.bytes(inode).map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
        self.change(Change::Insert { at, inode });
        Ok(())
    }

    /// Removes the name `path` of a file.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        self.bytes(inode)?;
        let at = self.parent(path)?;
        self.change(Change::Remove { at, inode });
        Ok(())
    }

    /// The directory at `path`, to sync it.
    ///
    /// # Errors
    /// If there is none.
    pub fn open_dir(&self, path: &Path) -> io::Result<InodeId> {
        let inode = self.find(path)?;
        self.directory(inode).map(|_| inode)
    }

    pub(super) fn add_node(&mut self, node: Node) -> InodeId {
        let inode = InodeId(self.next_inode);
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        inode
    }

    pub(super) fn bytes(&self, inode: InodeId) -> io::Result<&FileBytes> {
        match self.nodes.get(&inode) {
            Some(Node::File { bytes, .. }) => Ok(bytes),
            Some(Node::Directory(_)) => Err(os_error(EISDIR)),
            None => Err(os_error(EIO)),
        }
    }

    pub(super) fn directory(&self, inode: InodeId) -> io::Result<&Directory> {
        match self.nodes.get(&inode) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(os_error(ENOTDIR)),
        }
    }

    fn kind_of(&self, inode: InodeId) -> EntryKind {
        if self.directory(inode).is_ok() { EntryKind::Directory } else { EntryKind::File }
    }

    pub(super) fn lookup(&self, at: &Name) -> Option<InodeId> {
        self.directory(at.directory).ok()?.now.get(&at.name).copied()
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        components(path)?
            .iter()
            .try_fold(ROOT, |directory, name| self.directory(directory)?.now.get(name).copied().ok_or_else(|| os_error(ENOENT)))
    }

    /// The directory that holds the last name of `path`, and that name.
    pub(super) fn parent(&self, path: &Path) -> io::Result<Name> {
        let mut names = components(path)?;
        let name = names.pop().ok_or_else(|| os_error(EINVAL))?;
        let directory = names
            .iter()
            .try_fold(ROOT, |directory, name| self.directory(directory)?.now.get(name).copied().ok_or_else(|| os_error(ENOENT)))?;
        self.directory(directory)?;
        Ok(Name { directory, name })
    }

    /// As [`DiskModel::parent`]; the name must be free.
    fn vacant(&self, path: &Path) -> io::Result<Name> {
        let at = self.parent(path)?;
        if self.lookup(&at).is_some() { Err(os_error(EEXIST)) } else { Ok(at) }
    }

    /// Whether `directory` is `above` or lies below it.
    pub(super) fn is_below(&self, directory: InodeId, above: InodeId) -> bool {
        if directory == above {
            return true;
        }
        let Ok(above) = self.directory(above) else { return false };
        above.now.values().any(|&inode| self.is_below(directory, inode))
    }
}

/// The names on the way to `path` from the root. A relative path starts there as well.
pub(super) fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut names = vec![];
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or_else(|| os_error(EINVAL))?.to_owned()),
            Component::ParentDir => _ = names.pop(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}
