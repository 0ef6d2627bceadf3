//! What the contents of a subtask's states are sealed for, and which of them have become durable: a later content may then consist of what has changed since.

use crate::side_bytes::SideBytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use thalweg_record::CheckpointId;

/// Checkpoints that are remembered: nothing builds on older ones.
const REMEMBERED: usize = 128;

/// The checkpoint that a content is sealed for.
#[derive(Clone, Debug)]
pub struct Saving {
    /// Its number: higher than that of any checkpoint that a content of the same state was sealed for.
    pub checkpoint: CheckpointId,
    /// Bounds what is kept aside.
    pub side: Rc<SideBytes>,
    /// The checkpoints whose contents can be built on.
    pub stored: Rc<Stored>,
    /// A state that takes up to so many bytes is saved whole each time.
    pub whole_bytes_max: usize,
    /// A part of it of which more than so many per cent have changed is saved whole, too.
    pub changes_percent_max: usize,
}

#[cfg(test)]
impl Saving {
    /// For a checkpoint that no other one builds on, nor it on any.
    pub(crate) fn alone(side: &Rc<SideBytes>) -> Self {
        Self {
            checkpoint: CheckpointId(1),
            side: Rc::clone(side),
            stored: Rc::default(),
            whole_bytes_max: usize::MAX,
            changes_percent_max: 0,
        }
    }
}

/// The checkpoints of which the content of all states of a subtask is durable, whatever has become of the checkpoints themselves.
#[derive(Debug)]
pub struct Stored {
    /// Oldest first.
    checkpoints: RefCell<VecDeque<CheckpointId>>,
    /// What was stored for earlier ones is gone.
    since: Cell<CheckpointId>,
}

impl Default for Stored {
    fn default() -> Self {
        Self { checkpoints: RefCell::default(), since: Cell::new(CheckpointId(0)) }
    }
}

impl Stored {
    /// The contents that were sealed for `checkpoint` are durable, and so is what they build on.
    pub fn note(&self, checkpoint: CheckpointId) {
        let mut checkpoints = self.checkpoints.borrow_mut();
        checkpoints.push_back(checkpoint);
        if checkpoints.len() > REMEMBERED {
            checkpoints.pop_front();
        }
    }

    /// What was stored before `checkpoint` is gone, or will be: nothing can be added to it.
    pub fn forget_before(&self, checkpoint: CheckpointId) {
        self.since.set(checkpoint);
    }

    /// Whether what was stored for `checkpoint` and later ones can be added to.
    #[must_use]
    pub fn reaches_back_to(&self, checkpoint: CheckpointId) -> bool {
        checkpoint >= self.since.get()
    }

    /// Whether the contents that were sealed for `checkpoint` are known to be durable.
    #[must_use]
    pub fn holds(&self, checkpoint: CheckpointId) -> bool {
        self.checkpoints.borrow().iter().rev().any(|stored| *stored == checkpoint)
    }
}
