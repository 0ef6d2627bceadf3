//! What is noted while a scenario takes place: the story for people, the marks, and the ledger of results.
//!
//! Clones share what is noted. It decides nothing of what happens next, with one exception: a ledger that objects when power fails everywhere ends
//! the run.

use crate::finding::Finding;
use crate::marks::Marks;
use crate::oracles::Ledger;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// See the module.
#[derive(Clone)]
pub(super) struct Notes {
    ledger: Rc<RefCell<Ledger>>,
    marks: Rc<RefCell<Marks>>,
    story: Rc<RefCell<Vec<String>>>,
}

impl Notes {
    /// Nothing has happened yet; `ledger` is what the oracle of the transactions writes into.
    pub(super) fn new(ledger: Rc<RefCell<Ledger>>) -> Self {
        Self { ledger, marks: Rc::default(), story: Rc::default() }
    }

    /// The ledger, to be judged by.
    pub(super) fn ledger(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// The ledger, to be written into.
    pub(super) fn shared_ledger(&self) -> Rc<RefCell<Ledger>> {
        Rc::clone(&self.ledger)
    }

    /// Goes on with the story.
    pub(super) fn tell(&self, what: impl Into<String>) {
        self.story.borrow_mut().push(what.into());
    }

    /// What has happened, from the beginning.
    pub(super) fn story(&self) -> Vec<String> {
        self.story.borrow().clone()
    }

    /// The finding, with the story that led to it.
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

    /// The marks that were noted, to be added to.
    pub(super) fn marks_mut(&self) -> RefMut<'_, Marks> {
        self.marks.borrow_mut()
    }

    /// The marks that were noted.
    pub(super) fn marks(&self) -> Marks {
        self.marks.borrow().clone()
    }
}
