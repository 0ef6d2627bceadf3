//! The files that the subtasks of an attempt have stored, as far as the coordinator has been told.
//!
//! A file that was stored for a checkpoint which was given up is as good as any for the later ones, and only its subtask knows until when. So nothing is removed
//! that a subtask has named in its latest acknowledgement. What it has named before, and names no more, it will not name again: the cleaning after the next
//! checkpoint removes that, or, if that checkpoint is given up, too, whoever asks for [`StoredFiles::take_superseded`].

use crate::graph_ids::SubtaskId;
use std::collections::BTreeSet;
use std::mem;
use thalweg_storage::checkpoint::{Image, StateFile};

/// See the module's documentation.
pub(crate) struct StoredFiles {
    /// By subtask: what its latest acknowledgement names.
    latest: Vec<BTreeSet<String>>,
    superseded: Vec<String>,
    /// Whether a checkpoint may be complete without the coordinator knowing it: then it is not known what it names.
    keeps_all: bool,
}

impl StoredFiles {
    pub(crate) fn new(subtasks: usize) -> Self {
        Self { latest: vec![BTreeSet::new(); subtasks], superseded: Vec::new(), keeps_all: false }
    }

    /// A subtask has acknowledged a checkpoint, which may have been given up.
    pub(crate) fn acknowledged(&mut self, subtask: SubtaskId, state: &[StateFile]) {
        let name = |file: &StateFile| if let Image::File(file) = &file.image { Some(file.name.clone()) } else { None };
        let named: BTreeSet<String> = state.iter().filter_map(name).collect();
        let before = mem::replace(&mut self.latest[subtask], named);
        self.superseded.extend(before.difference(&self.latest[subtask]).cloned());
    }

    /// A checkpoint is complete: the cleaning that follows removes what it supersedes.
    pub(crate) fn completed(&mut self) {
        self.superseded.clear();
    }

    /// It is unknown whether a checkpoint is complete: from now on everything stays. The next attempt knows, and its cleaning removes what is left over.
    pub(crate) fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// The attempt is over: no checkpoint will name any of them from now on.
    pub(crate) fn close(&mut self) {
        self.superseded.extend(self.latest.iter_mut().flat_map(mem::take));
    }

    /// The files that no checkpoint will name from now on; some that are complete may.
    pub(crate) fn take_superseded(&mut self) -> Vec<String> {
        let superseded = mem::take(&mut self.superseded);
        if self.keeps_all { Vec::new() } else { superseded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_record::HashRange;
    use thalweg_storage::checkpoint::FileRef;

    fn files(names: &[&str]) -> Vec<StateFile> {
        let file = |name: &&str| Image::File(FileRef { name: (*name).to_owned(), len: 0, crc: 0 });
        names.iter().map(|name| StateFile { hashes: HashRange::ALL, image: file(name) }).collect()
    }

    #[test]
    fn a_file_is_superseded_once_its_subtask_names_it_no_more() {
        let mut stored = StoredFiles::new(2);
        stored.acknowledged(0, &files(&["a", "b"]));
        stored.acknowledged(1, &files(&["x"]));
        stored.acknowledged(0, &files(&["a", "b", "c"]));
        assert!(stored.take_superseded().is_empty());
        stored.acknowledged(0, &files(&["c", "d"]));
        assert_eq!(stored.take_superseded(), ["a", "b"]);
        assert!(stored.take_superseded().is_empty());
        stored.acknowledged(1, &files(&["y"]));
        stored.completed();
        assert!(stored.take_superseded().is_empty(), "the cleaning removes them");
        stored.close();
        assert_eq!(stored.take_superseded(), ["c", "d", "y"]);
    }

    /// A log entry may be there although writing it has failed, and name what the subtasks have stored.
    #[test]
    fn nothing_is_given_up_where_a_checkpoint_may_be_complete() {
        let mut stored = StoredFiles::new(1);
        stored.acknowledged(0, &files(&["a"]));
        stored.keep_all();
        stored.acknowledged(0, &files(&["b"]));
        stored.close();
        assert!(stored.take_superseded().is_empty());
    }
}
