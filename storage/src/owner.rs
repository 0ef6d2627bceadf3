//! Whose table it is: what is said when there is no memory for it to grow.

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
    /// A state of an operator, both by the names that the user knows.
    #[must_use]
    pub fn state(state: &str, operator: &str) -> Self {
        Self(Rc::from(format!("state {state} of operator {operator}")))
    }

    /// The process ends: a table of so many entries, which takes so many bytes, cannot grow.
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
