//! What becomes of names: the log of changes that no sync has covered, and what a crash keeps of it.
//!
//! A directory has entries that programs see and entries that are durable. Creating, linking, renaming, unlinking and making a directory
//! change the first at once and go to a log; [`DiskModel::sync_dir`] applies the log's entries of that directory to the second. A crash keeps
//! an arbitrary part of the rest: a file may be synced and nameless, a rename durable before the data. A rename is one change: the old name or
//! the new one, never neither. Syncing the new name's directory makes the new name durable; the old one is gone for good when its own directory
//! is synced.

use super::model::{DiskModel, InodeId, Node, ROOT};
use super::survival::{CrashStyle, Survival};
use std::collections::{BTreeMap, BTreeSet};
use thalweg_io::Rng;

/// A change of entries.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert { at: Name, inode: InodeId },
    Remove { at: Name, inode: InodeId },
    Move { from: Name, to: Name, inode: InodeId },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) directory: InodeId,
    pub(super) name: String,
}

#[derive(Clone, Debug)]
pub(super) struct LogEntry {
    seq: u64,
    change: Change,
    /// A sync of it failed: no later sync makes it durable, except for the sake of one that builds on it.
    doomed: bool,
}

/// What is decided about an entry of the log.
enum Fate {
    /// It becomes durable.
    Durable,
    /// Of a rename, the new name becomes durable; the old one may still be there after a crash.
    NewNameOnly,
    /// Nothing yet.
    Open,
}

impl DiskModel {
    /// Makes durable what was changed in a directory up to `upto`.
    pub fn sync_dir(&mut self, directory: InodeId, upto: u64) {
        self.log = self.settle(|entry| {
            let covered = |name: &Name| name.directory == directory && entry.seq <= upto;
            match &entry.change {
                Change::Move { to, from, .. } if !entry.doomed && covered(to) && !covered(from) => Fate::NewNameOnly,
                change if !entry.doomed && change.names().into_iter().any(covered) => Fate::Durable,
                _ => Fate::Open,
            }
        });
        let is_out_of_reach = |node: &Node| matches!(node, Node::File { names: 0, handles: 0, .. });
        let inodes: Vec<_> = self.nodes.iter().filter(|(_, node)| is_out_of_reach(node)).map(|(inode, _)| *inode).collect();
        inodes.into_iter().for_each(|inode| self.collect(inode));
    }

    /// A sync of a directory fails: what was changed in it up to `upto` is seen, and no later sync makes it durable by itself.
    pub fn fail_sync_dir(&mut self, directory: InodeId, upto: u64) {
        for entry in self.log.iter_mut().filter(|entry| entry.seq <= upto) {
            entry.doomed |= entry.change.names().into_iter().any(|name| name.directory == directory);
        }
    }

    /// The number of pieces that a crash decides about; see [`CrashStyle::Subset`].
    #[must_use]
    pub fn unsynced_pieces(&self) -> usize {
        let of_node = |node: &Node| if let Node::File { bytes, .. } = node { bytes.pieces() } else { 0 };
        self.log.len() + self.nodes.values().map(of_node).sum::<usize>()
    }

    /// Power fails: what was synced stays, of the rest `style` decides. Open files are closed, files without a durable name are gone.
    pub fn crash(&mut self, rng: &mut dyn Rng, style: CrashStyle) {
        let mut tally = std::mem::take(&mut self.tally);
        let mut survival = Survival::new(style, rng, &mut tally, &self.log.iter().map(|entry| entry.seq).collect::<Vec<_>>());
        let survivors: BTreeSet<u64> = self.log.iter().map(|entry| entry.seq).filter(|&seq| survival.keeps_name(seq)).collect();
        let named: BTreeSet<InodeId> =
            self.log.iter().filter(|entry| survivors.contains(&entry.seq)).map(|entry| entry.change.inode()).collect();
        // What is still open after this is lost.
        drop(self.settle(|entry| if survivors.contains(&entry.seq) { Fate::Durable } else { Fate::Open }));
        for (inode, node) in &mut self.nodes {
            match node {
                Node::File { bytes, handles, .. } => {
                    *handles = 0;
                    if !bytes.crash(&mut survival) && named.contains(inode) {
                        survival.count("crash: name durable before the data");
                    }
                }
                Node::Directory(directory) => directory.now = directory.durable.clone(),
            }
        }
        self.tally = tally;
        self.note_all_names();
        self.recount();
    }

    /// Power fails where unsynced content of `files` lay: of that, `style` decides. Names and open files stay as they are.
    pub(super) fn crash_content(&mut self, rng: &mut dyn Rng, style: CrashStyle, files: &BTreeSet<InodeId>) {
        let mut tally = std::mem::take(&mut self.tally);
        let mut survival = Survival::new(style, rng, &mut tally, &[]);
        for &inode in files {
            self.change_bytes(inode, |bytes| bytes.has_unsynced() && bytes.crash(&mut survival));
        }
        self.tally = tally;
    }

    /// Makes durable what was changed of one name.
    pub(super) fn settle_name(&mut self, at: &Name) {
        self.log = self.settle(|entry| if entry.change.names().contains(&at) { Fate::Durable } else { Fate::Open });
    }

    /// Decides about the log's entries, latest first, makes durable what is to be, and returns the rest. An entry that a later one builds on, because
    /// both change one name, goes with it: no disk has a name's second change without its first, and a file that is renamed out of another's way
    /// is not lost to it.
    fn settle(&mut self, mut fate_of: impl FnMut(&LogEntry) -> Fate) -> Vec<LogEntry> {
        let (mut durable, mut open, mut decided) = (vec![], vec![], Vec::<Name>::new());
        for entry in std::mem::take(&mut self.log).into_iter().rev() {
            let (fate, LogEntry { seq, change, doomed }) = (fate_of(&entry), entry);
            match (fate, change) {
                (Fate::NewNameOnly, Change::Move { from, to, inode }) if !decided.contains(&from) => {
                    open.push(LogEntry { seq, change: Change::Remove { at: from, inode }, doomed });
                    decided.push(to.clone());
                    durable.push(Change::Insert { at: to, inode });
                }
                (Fate::Open, change) if !change.names().into_iter().any(|name| decided.contains(name)) => {
                    open.push(LogEntry { seq, change, doomed })
                }
                (_, change) => {
                    decided.extend(change.names().into_iter().cloned());
                    durable.push(change);
                }
            }
        }
        durable.iter().rev().for_each(|change| self.make_durable(change));
        open.reverse();
        open
    }

    /// Applies a change to what programs see and logs it.
    pub(super) fn change(&mut self, change: Change) {
        self.seq += 1;
        match &change {
            Change::Insert { at, inode } => self.set_name(at, Some(*inode)),
            Change::Remove { at, .. } => self.set_name(at, None),
            Change::Move { from, to, inode } => {
                self.set_name(to, Some(*inode));
                self.set_name(from, None);
            }
        }
        self.log.push(LogEntry { seq: self.seq, change, doomed: false });
    }

    fn set_name(&mut self, at: &Name, inode: Option<InodeId>) {
        self.note_name(at);
        let Some(Node::Directory(directory)) = self.nodes.get_mut(&at.directory) else {
            unreachable!("a name lies in a directory");
        };
        let before = match inode {
            Some(inode) => directory.now.insert(at.name.clone(), inode),
            None => directory.now.remove(&at.name),
        };
        if let Some(Node::File { names, .. }) = inode.and_then(|inode| self.nodes.get_mut(&inode)) {
            *names += 1;
        }
        before.into_iter().for_each(|inode| self.lose_name(inode));
    }

    pub(super) fn lose_name(&mut self, inode: InodeId) {
        if let Some(Node::File { names, .. }) = self.nodes.get_mut(&inode) {
            *names -= 1;
        }
        self.collect(inode);
    }

    fn make_durable(&mut self, change: &Change) {
        match change {
            Change::Insert { at, inode } => self.set_durable_name(at, *inode),
            Change::Remove { at, inode } => self.remove_durable_name(at, *inode),
            Change::Move { from, to, inode } => {
                self.remove_durable_name(from, *inode);
                self.set_durable_name(to, *inode);
            }
        }
    }

    pub(super) fn set_durable_name(&mut self, at: &Name, inode: InodeId) {
        let Some(Node::Directory(directory)) = self.nodes.get_mut(&at.directory) else { return };
        let before = directory.durable.insert(at.name.clone(), inode);
        self.count_durable_name(inode, 1);
        before.into_iter().for_each(|inode| self.count_durable_name(inode, -1));
    }

    fn remove_durable_name(&mut self, at: &Name, inode: InodeId) {
        let Some(Node::Directory(directory)) = self.nodes.get_mut(&at.directory) else { return };
        if directory.durable.get(&at.name) == Some(&inode) {
            directory.durable.remove(&at.name);
            self.count_durable_name(inode, -1);
        }
    }

    fn count_durable_name(&mut self, inode: InodeId, change: i32) {
        if let Some(Node::File { durable_names, .. }) = self.nodes.get_mut(&inode) {
            *durable_names =
                durable_names.checked_add_signed(change).expect("invariant: a durable name is counted once and discounted once");
        }
    }

    /// Frees the room of a file that nobody can reach any more; forgets it if no crash can bring it back either.
    pub(super) fn collect(&mut self, inode: InodeId) {
        let Some(Node::File { bytes, names: 0, durable_names, handles: 0, counted }) = self.nodes.get_mut(&inode) else { return };
        if std::mem::take(counted) {
            self.used_bytes = self.used_bytes.saturating_sub(bytes.now().len() as u64);
        }
        let comes_back = *durable_names > 0 || self.log.iter().any(|entry| entry.change.inode() == inode);
        if !comes_back {
            self.nodes.remove(&inode);
        }
    }

    /// After a crash: forgets what no name reaches, and counts names and bytes anew.
    fn recount(&mut self) {
        let mut names_of: BTreeMap<InodeId, u32> = BTreeMap::from([(ROOT, 1)]);
        let mut directories = vec![ROOT];
        while let Some(directory) = directories.pop() {
            let Some(Node::Directory(directory)) = self.nodes.get(&directory) else { continue };
            for &inode in directory.now.values() {
                let names = names_of.entry(inode).or_insert(0);
                *names += 1;
                if *names == 1 {
                    directories.push(inode);
                }
            }
        }
        self.nodes.retain(|inode, _| names_of.contains_key(inode));
        self.used_bytes = 0;
        for (inode, node) in &mut self.nodes {
            if let Node::File { names, bytes, counted, .. } = node {
                (*names, *counted) = (names_of[inode], true);
                self.used_bytes += bytes.now().len() as u64;
            }
        }
    }
}

impl Change {
    fn inode(&self) -> InodeId {
        match self {
            Self::Insert { inode, .. } | Self::Remove { inode, .. } | Self::Move { inode, .. } => *inode,
        }
    }

    fn names(&self) -> Vec<&Name> {
        match self {
            Self::Insert { at, .. } | Self::Remove { at, .. } => vec![at],
            Self::Move { from, to, .. } => vec![from, to],
        }
    }
}
