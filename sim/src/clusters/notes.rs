//! The notes taken while a scenario runs: the story for people, the marks, and the ledger of results.
//!
//! Clones share the notes. They do not influence the run, with one exception: if the ledger objects when power fails everywhere, the run ends.

use crate::finding::Finding;
use crate::marks::Marks;
use crate::oracles::Ledger;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Notes {
    ledger: Rc<RefCell<Ledger>>,
    marks: Rc<RefCell<Marks>>,
    story: Rc<RefCell<Vec<String>>>,
}

impl Notes {
    /// Empty notes; `ledger` is the one that the oracle of the transactions writes into.
    pub(super) fn new(ledger: Rc<RefCell<Ledger>>) -> Self {
        Self { ledger, marks: Rc::default(), story: Rc::default() }
    }

    /// The ledger, for judging.
    pub(super) fn ledger(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// The ledger, for the oracle that writes into it.
    pub(super) fn shared_ledger(&self) -> Rc<RefCell<Ledger>> {
        Rc::clone(&self.ledger)
    }

    /// Adds a line to the story.
    pub(super) fn tell(&self, what: impl Into<String>) {
        self.story.borrow_mut().push(what.into());
    }

    /// The story from the beginning.
    pub(super) fn story(&self) -> Vec<String> {
        self.story.borrow().clone()
    }

    /// The finding, extended by the story that led to it.
    pub(super) fn told(&self, finding: Finding) -> Finding {
        Finding { reason: format!("{} (after {})", finding.reason, self.story.borrow().join("; ")), ..finding }
    }

    /// See [`Marks::note`].
    pub(super) fn note(&self, mark: &'static str) {
        self.marks.borrow_mut().note(mark);
    }

    /// See [`Marks::note_if`].
    pub(super) fn note_if(&self, condition: bool, mark: &'static str) {
        self.marks.borrow_mut().note_if(condition, mark);
    }

    /// The marks seen, to be added to.
    pub(super) fn marks_mut(&self) -> RefMut<'_, Marks> {
        self.marks.borrow_mut()
    }

    /// The marks seen.
    pub(super) fn marks(&self) -> Marks {
        self.marks.borrow().clone()
    }
}
