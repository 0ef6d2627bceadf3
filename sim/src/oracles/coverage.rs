//! Objects to nothing: notes which of the marks a run's events reach, and whether the job came to its commit.

use crate::disk::SimulatedDisk;
use crate::marks::{Marks, sometimes};
use crate::trace::{Oracle, Violation};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use thalweg_io::ProbeEvent;

/// See the module. Clones share what they have seen.
#[derive(Clone, Default)]
pub struct Coverage {
    marks: Rc<RefCell<Marks>>,
    committed: Rc<Cell<bool>>,
    disk: Option<SimulatedDisk>,
    faults_at_commit: Rc<Cell<Option<u64>>>,
}

impl Coverage {
    /// The same, which knows how many faults of the disk were injected before the commit was done.
    #[must_use]
    pub fn of(disk: SimulatedDisk) -> Self {
        Self { disk: Some(disk), ..Self::default() }
    }

    /// Faults of the disk that came before the end of the commit; `None` if it did not come to that. Later ones only keep the job from tidying up.
    #[must_use]
    pub fn faults_at_commit(&self) -> Option<u64> {
        self.faults_at_commit.get()
    }

    /// What was seen.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.marks.borrow().clone()
    }

    /// Whether the job's commit has begun.
    #[must_use]
    pub fn has_committed(&self) -> bool {
        self.committed.get()
    }
}

impl Oracle for Coverage {
    fn name(&self) -> &str {
        "coverage"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let mut marks = self.marks.borrow_mut();
        let ProbeEvent { name, place, values } = *event;
        match name {
            "checkpoint.commit" => self.committed.set(true),
            "checkpoint.committed" => self.faults_at_commit.set(self.disk.as_ref().map(SimulatedDisk::faults_injected)),
            "window.late" => marks.note("a late record"),
            // The second number is the kind of the element.
            "channel.control" => sometimes!(marks, values[1] == 1, "an idle input"),
            "task.suspended" => {
                sometimes!(marks, values[0] == 1, "blocked output");
                sometimes!(marks, place.contains("flat-map"), "a suspended flat map");
                sometimes!(marks, values[0] == 0 && place.contains("window"), "firing suspended by its slice");
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
