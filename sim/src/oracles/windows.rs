//! A window fires at the first watermark that reaches its last millisecond and never twice for all its keys, not even after a restart; a record is late only
//! if the watermark says so (docs/src/semantics.md#win-2, #l-2, #c-5).

use crate::reference::elements::window_starts;
use crate::scenario::elements_plan::WindowPlan;
use std::collections::{BTreeMap, BTreeSet};
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// A task with a window at its head.
struct Task {
    /// The watermark with which it was restored.
    restored: i64,
    /// Its watermark, and the one before if it was given one.
    watermark: i64,
    before: Option<i64>,
    /// The ends of the windows that it has fired.
    fired: BTreeSet<i64>,
}

impl Task {
    fn restored(watermark: i64) -> Self {
        Self { restored: watermark, watermark, before: None, fired: BTreeSet::new() }
    }
}

/// See the module's documentation.
pub struct Windows {
    /// The windows of each operator, by its name.
    plans: BTreeMap<&'static str, WindowPlan>,
    /// Whether all subtasks had received the same watermark at each checkpoint.
    agree: bool,
    /// What each task has been told and has fired.
    tasks: BTreeMap<String, Task>,
}

impl Windows {
    /// An oracle for a job with these windowed operators.
    #[must_use]
    pub fn new(plans: BTreeMap<&'static str, WindowPlan>) -> Self {
        Self { plans, agree: false, tasks: BTreeMap::new() }
    }

    /// Sets whether all subtasks have always received the same watermark at a checkpoint, so that the restored watermark tells which windows had fired.
    #[must_use]
    pub fn agreeing(self, agree: bool) -> Self {
        Self { agree, ..self }
    }

    /// The windows of the operator at the head of the task at `place`.
    fn plan(&self, place: &str) -> Option<&WindowPlan> {
        // `window -> map(1/2)`, or `window(1/2)`.
        let operator = place.split(" -> ").next().and_then(|head| head.split('(').next())?;
        self.plans.get(operator)
    }

    fn task(&mut self, place: &str) -> &mut Task {
        self.tasks.entry(place.to_owned()).or_insert_with(|| Task::restored(i64::MIN))
    }

    fn check_watermark(&self, place: &str, watermark: i64) -> Result<(), Violation> {
        let known = self.tasks.get(place).map_or(i64::MIN, |task| task.watermark);
        if known == watermark {
            Ok(())
        } else {
            Err(Violation::new(format!("{place} goes by the watermark {watermark}, but was given {known}")))
        }
    }
}

impl Oracle for Windows {
    fn name(&self) -> &str {
        "windows"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let place = event.place;
        match (event.name, event.values) {
            ("task.start", [_, _, restored]) => {
                self.tasks.insert(place.to_owned(), Task::restored(restored));
            }
            // 0: a watermark.
            ("task.control", [0, watermark, _]) => {
                let task = self.task(place);
                task.before = Some(std::mem::replace(&mut task.watermark, watermark));
            }
            ("window.fire", [end, watermark, _]) => {
                self.check_watermark(place, watermark)?;
                if watermark < end - 1 {
                    return Err(Violation::new(format!("{place} fires the window that ends at {end} at the watermark {watermark}")));
                }
                // Those that are due where a task begins fire there, before it is given any.
                let agree = self.agree;
                let task = self.task(place);
                if let Some(before) = task.before.filter(|before| end - 1 <= *before) {
                    return Err(Violation::new(format!(
                        "{place} fires the window that ends at {end} at the watermark {watermark}, and had been given {before} before"
                    )));
                }
                if agree && end - 1 <= task.restored {
                    return Err(Violation::new(format!(
                        "{place} fires the window that ends at {end} for all its keys, which had fired before the checkpoint: {} was restored",
                        task.restored
                    )));
                }
                if !task.fired.insert(end) {
                    return Err(Violation::new(format!("{place} fires the window that ends at {end} twice")));
                }
            }
            ("window.late", [timestamp, watermark, lateness_ms]) => {
                self.check_watermark(place, watermark)?;
                let Some(plan) = self.plan(place) else {
                    return Err(Violation::new(format!("{place} finds records late and is no window that the job has")));
                };
                if plan.lateness_ms != lateness_ms {
                    return Err(Violation::new(format!("{place} allows a lateness of {lateness_ms} ms, not {} ms", plan.lateness_ms)));
                }
                match window_starts(plan, timestamp).last() {
                    Some(start) if (start + plan.size_ms - 1).saturating_add(lateness_ms) <= watermark => {}
                    last => {
                        return Err(Violation::new(format!(
                            "{place} finds a record late at {timestamp} while the watermark is {watermark}; its last window begins at {last:?}"
                        )));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
