//! What is done to a file system from outside of any program: files are put there before a run, looked at after it, or damaged.
//!
//! What is put is durable at once, with the directories above it.

use super::bytes::FileBytes;
use super::durability::{Change, Name};
use super::model::{Directory, DiskModel, EISDIR, ENOENT, InodeId, Node, ROOT, components, os_error};
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::rc::Rc;

impl DiskModel {
    /// The paths of all files with their lengths, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<(PathBuf, u64)> {
        let (mut files, mut directories) = (vec![], vec![(PathBuf::from("/"), ROOT)]);
        while let Some((path, directory)) = directories.pop() {
            let Ok(directory) = self.directory(directory) else { continue };
            for (name, &inode) in &directory.now {
                match self.bytes(inode) {
                    Ok(bytes) => files.push((path.join(name), bytes.now().len() as u64)),
                    Err(_) => directories.push((path.join(name), inode)),
                }
            }
        }
        files.sort();
        files
    }

    /// A hash of all names and contents, as a program would see them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut mix = |bytes: &[u8]| {
            // FNV-1a by bytes, the length first.
            for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (path, _) in self.paths() {
            mix(path.to_string_lossy().as_bytes());
            mix(self.find(&path).and_then(|inode| self.bytes(inode)).map(FileBytes::now).unwrap_or_default());
        }
        hash
    }

    /// The files directly in a directory as the hardest of power losses would leave them: what was synced, and nothing else.
    ///
    /// # Errors
    /// If it would leave no such directory.
    pub fn durable_files(&self, path: &Path) -> io::Result<Vec<(String, Rc<Vec<u8>>)>> {
        let entries = self.durable_directory(path)?.iter();
        Ok(entries.filter_map(|(name, &inode)| Some((name.clone(), self.bytes(inode).ok()?.shared_durable()))).collect())
    }

    fn durable_directory(&self, path: &Path) -> io::Result<&BTreeMap<String, InodeId>> {
        let mut entries = &self.directory(ROOT)?.durable;
        for name in components(path)? {
            let inode = entries.get(&name).ok_or_else(|| os_error(ENOENT))?;
            entries = &self.directory(*inode)?.durable;
        }
        Ok(entries)
    }

    /// Whether the hardest of power losses would leave this name.
    pub fn is_durable_name(&self, directory: &Path, name: &str) -> bool {
        self.durable_directory(directory).is_ok_and(|entries| entries.contains_key(name))
    }

    /// The directory at `path`, if there is one.
    pub fn directory_at(&self, path: &Path) -> Option<InodeId> {
        self.find(path).ok().filter(|inode| self.directory(*inode).is_ok())
    }

    /// The names in a directory that begin with `prefix`, sorted.
    pub fn names_with<'a>(&'a self, directory: &Path, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let directory = self.find(directory).and_then(|inode| self.directory(inode)).ok();
        let names =
            directory.into_iter().flat_map(move |directory| directory.now.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)));
        names.map(|(name, _)| name.as_str()).take_while(move |name| name.starts_with(prefix))
    }

    /// The content of a file as a program would read it.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn content(&self, path: &Path) -> io::Result<&[u8]> {
        Ok(self.bytes(self.find(path)?)?.now())
    }

    /// Makes a durable directory at `path`, with those above it.
    pub(super) fn put_dir(&mut self, path: &Path) -> io::Result<InodeId> {
        self.put_directories(&components(path)?)
    }

    fn put_directories(&mut self, names: &[String]) -> io::Result<InodeId> {
        let mut directory = ROOT;
        for name in names {
            directory = match self.directory(directory)?.now.get(name) {
                Some(&inode) => inode,
                None => self.add_durable(directory, name, Node::Directory(Directory::default())),
            };
        }
        self.directory(directory).map(|_| directory)
    }

    /// Puts a durable file at `path`, with the directories above it.
    pub(super) fn put(&mut self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        let names = components(path)?;
        let Some((last, above)) = names.split_last() else { return Err(os_error(EISDIR)) };
        let directory = self.put_directories(above)?;
        let replaced = self.lookup(&Name { directory, name: last.clone() });
        if let Some(inode) = replaced {
            self.bytes(inode)?;
        }
        self.used_bytes += content.len() as u64;
        self.add_durable(
            directory,
            last,
            Node::File { bytes: FileBytes::durable(content), names: 1, durable_names: 0, handles: 0, counted: true },
        );
        replaced.into_iter().for_each(|inode| self.lose_name(inode));
        Ok(())
    }

    /// Takes away what is at `path`, durably: a file, or a directory with all that is in it.
    pub(super) fn take(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        let at = self.parent(path)?;
        let inside: Vec<_> = self.directory(inode).map(|directory| directory.now.keys().cloned().collect()).unwrap_or_default();
        inside.iter().try_for_each(|name: &String| self.take(&path.join(name)))?;
        self.change(Change::Remove { at: at.clone(), inode });
        self.settle_name(&at);
        self.collect(inode);
        Ok(())
    }

    /// The files directly in a directory.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn files(&self, path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
        let entries = &self.directory(self.find(path)?)?.now;
        Ok(entries.iter().filter_map(|(name, &inode)| Some((name.clone(), self.bytes(inode).ok()?.now().to_vec()))).collect())
    }

    /// The same, without a copy of the contents.
    pub fn shared_files(&self, path: &Path) -> io::Result<Vec<(String, Rc<Vec<u8>>)>> {
        let entries = &self.directory(self.find(path)?)?.now;
        Ok(entries.iter().filter_map(|(name, &inode)| Some((name.clone(), self.bytes(inode).ok()?.shared_now()))).collect())
    }

    /// Changes the content of a file at rest; `true` if `change` says that it has.
    pub(super) fn change_at_rest(&mut self, path: &Path, change: impl Fn(&mut Vec<u8>) -> bool) -> bool {
        self.find(path).ok().and_then(|inode| self.change_bytes(inode, |bytes| bytes.change_at_rest(change))).unwrap_or(false)
    }

    fn add_durable(&mut self, directory: InodeId, name: &str, node: Node) -> InodeId {
        let inode = self.add_node(node);
        self.add_durable_name(&Name { directory, name: name.to_owned() }, inode);
        inode
    }

    pub(super) fn add_durable_name(&mut self, at: &Name, inode: InodeId) {
        if let Some(Node::Directory(directory)) = self.nodes.get_mut(&at.directory) {
            directory.now.insert(at.name.clone(), inode);
        }
        self.note_name(at);
        self.set_durable_name(at, inode);
    }
}
