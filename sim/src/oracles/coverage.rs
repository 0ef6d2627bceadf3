//! Never objects: notes which marks a run's events reach, and whether the job reached its commit.

use crate::marks::{Marks, sometimes};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use thalweg_io::ProbeEvent;
use thalweg_world::SimulatedDisk;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation. Clones share what they have seen.
#[derive(Clone, Default)]
pub struct Coverage {
    marks: Rc<RefCell<Marks>>,
    committed: Rc<Cell<bool>>,
    disk: Option<SimulatedDisk>,
    faults_at_commit: Rc<Cell<Option<u64>>>,
    course: Rc<RefCell<Course>>,
    lateness_ms: i64,
    /// The windows that have fired, by their ends and their operators, in this life or an earlier one.
    fired: Rc<RefCell<BTreeSet<(String, i64)>>>,
}

/// The progress of an attempt's checkpoints.
#[derive(Default)]
struct Course {
    given_up: Option<i64>,
    /// Whether the sinks are committing.
    committing: bool,
    /// Whether the checkpoint that is being stored was collected meanwhile.
    collected_meanwhile: bool,
    /// The tasks that have saved some and not all of what their last barrier has sealed: in how many slices.
    slices: BTreeMap<String, u32>,
}

const BARRIER: i64 = 6;

impl Coverage {
    /// Also counts the disk faults that were injected before the commit was done.
    #[must_use]
    pub fn of(disk: SimulatedDisk) -> Self {
        Self { disk: Some(disk), ..Self::default() }
    }

    /// Also knows how long windows are kept after they have fired.
    #[must_use]
    pub fn of_windows(lateness_ms: i64) -> Self {
        Self { lateness_ms, ..Self::default() }
    }

    /// Disk faults before the end of the commit; `None` if the commit did not end. Later faults only keep the job from tidying up.
    #[must_use]
    pub fn faults_at_commit(&self) -> Option<u64> {
        self.faults_at_commit.get()
    }

    /// The marks seen.
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

/// The operator at the head of the task at `place`.
fn head(place: &str) -> &str {
    place.split(" -> ").next().and_then(|head| head.split('(').next()).unwrap_or(place)
}

/// The mark that an event about a full disk reaches.
fn of_room(event: &str) -> Option<&'static str> {
    match event {
        "sink.no-room" => Some("results waited for room"),
        "sink.goes-on" => Some("results went on when there was room"),
        "recovery.no-room" => Some("the place of the results waited for room"),
        "checkpoint.commit-no-room" => Some("a commit waited for room"),
        _ => None,
    }
}

impl Coverage {
    fn checkpoints(&self, event: &ProbeEvent<'_>, marks: &mut Marks) {
        let course = &mut *self.course.borrow_mut();
        let ProbeEvent { name, place, values: [number, second, third] } = *event;
        match name {
            "attempt.begin" => *course = Course::default(),
            "checkpoint.give-up" => course.given_up = Some(number),
            "checkpoint.acknowledge" => {
                sometimes!(marks, course.given_up == Some(number), "an acknowledgement of a checkpoint that was given up");
                sometimes!(marks, second > 1, "a checkpoint added to an earlier one");
            }
            "checkpoint.collected" => course.collected_meanwhile = course.committing,
            "checkpoint.complete" => {
                sometimes!(marks, course.given_up.is_some_and(|before| before < number), "a checkpoint expired and a later one completed");
                sometimes!(marks, course.collected_meanwhile, "a checkpoint completed while the one before was being committed");
            }
            "checkpoint.commit" => course.committing = true,
            "checkpoint.committed" => course.committing = false,
            "task.control" if number == BARRIER => drop(course.slices.remove(place)),
            "checkpoint.snapshot" => drop(course.slices.remove(place)),
            "task.saving" => {
                let slices = course.slices.entry(place.to_owned()).or_default();
                *slices += 1;
                sometimes!(marks, *slices > 1, "a snapshot in slices");
            }
            "channel.frame" => {
                let is_being_saved = course.slices.contains_key(place);
                sometimes!(marks, is_being_saved && event.values[1] > 0, "records taken while their state was being saved");
            }
            "window.fire" if self.lateness_ms > 0 => drop(self.fired.borrow_mut().insert((head(place).to_owned(), number))),
            "task.start" if self.lateness_ms > 0 && third > i64::MIN => {
                let is_kept = |end: i64| end - 1 <= third && (end - 1).saturating_add(self.lateness_ms) > third;
                let is_restored = self.fired.borrow().iter().any(|(operator, end)| operator == head(place) && is_kept(*end));
                sometimes!(marks, is_restored, "a restored window that had fired");
            }
            _ => {}
        }
    }
}

impl Oracle for Coverage {
    fn name(&self) -> &str {
        "coverage"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let mut marks = self.marks.borrow_mut();
        let ProbeEvent { name, place, values } = *event;
        self.checkpoints(event, &mut marks);
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
            _ => of_room(name).into_iter().for_each(|mark| marks.note(mark)),
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
