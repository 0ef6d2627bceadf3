//! The owner of a table, named when there is no memory for the table to grow.

use std::rc::Rc;
use thalweg_io::out_of_memory;

/// The state that a table holds, in words. Clones share them.
#[derive(Clone, Debug)]
pub struct TableOwner(Rc<str>);

impl Default for TableOwner {
    fn default() -> Self {
        Self(Rc::from("a table"))
    }
}

impl TableOwner {
    /// A state of an operator, by the operator's and the state's names as the user knows them.
    #[must_use]
    pub fn state(state: &str, operator: &str) -> Self {
        Self(Rc::from(format!("state {state} of operator {operator}")))
    }

    /// Ends the process: a table with this many entries, which takes this many bytes, cannot grow.
    #[cold]
    #[inline(never)]
    pub(crate) fn cannot_grow(&self, entries: usize, bytes: usize) -> ! {
        let (owner, mib) = (&self.0, bytes >> 20);
        out_of_memory(format_args!(
            "{owner} has {entries} entries in {mib} MiB in one subtask, what lies outside of its table (strings, lists) not counted, and there is no \
             memory for more. Results so far and complete checkpoints are safe. Give the process more memory (ulimit -v, the limit of its container or \
             service), spread its state over more workers, or keep less: fewer keys, shorter windows, state that is cleared"
        ))
    }
}
