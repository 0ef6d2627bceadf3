//! A window fires at the first watermark that reaches its last millisecond and never twice for all its keys, not even after a restart; a record is late only
//! if the watermark says so (docs/src/semantics.md#win-2, #l-2, #c-5).

use crate::reference::elements::window_starts;
use crate::scenario::elements_plan::WindowPlan;
use std::collections::{BTreeMap, BTreeSet};
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation.
pub struct Windows {
    /// The windows of each operator, by its name.
    plans: BTreeMap<&'static str, WindowPlan>,
    /// Whether all subtasks had received the same watermark at each checkpoint.
    agree: bool,
    /// The watermark with which each task was restored.
    restored: BTreeMap<String, i64>,
    /// The watermark of each task.
    watermarks: BTreeMap<String, i64>,
    /// The one before, of tasks that have been given one.
    before: BTreeMap<String, i64>,
    /// The ends of the windows that each place has fired.
    fired: BTreeMap<String, BTreeSet<i64>>,
}

impl Windows {
    /// An oracle for a job with these windowed operators.
    #[must_use]
    pub fn new(plans: BTreeMap<&'static str, WindowPlan>) -> Self {
        Self {
            plans,
            agree: false,
            restored: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            before: BTreeMap::new(),
            fired: BTreeMap::new(),
        }
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

    fn check_watermark(&self, place: &str, watermark: i64) -> Result<(), Violation> {
        let known = self.watermarks.get(place).copied().unwrap_or(i64::MIN);
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
                self.watermarks.insert(place.to_owned(), restored);
                self.restored.insert(place.to_owned(), restored);
                self.before.remove(place);
                self.fired.remove(place);
            }
            // 0: a watermark.
            ("task.control", [0, watermark, _]) => {
                let before = self.watermarks.insert(place.to_owned(), watermark).unwrap_or(i64::MIN);
                self.before.insert(place.to_owned(), before);
            }
            ("window.fire", [end, watermark, _]) => {
                self.check_watermark(place, watermark)?;
                if watermark < end - 1 {
                    return Err(Violation::new(format!("{place} fires the window that ends at {end} at the watermark {watermark}")));
                }
                // Those that are due where a task begins fire there, before it is given any.
                if let Some(before) = self.before.get(place).filter(|before| end - 1 <= **before) {
                    return Err(Violation::new(format!(
                        "{place} fires the window that ends at {end} at the watermark {watermark}, and had been given {before} before"
                    )));
                }
                let restored = self.restored.get(place).copied().unwrap_or(i64::MIN);
                if self.agree && end - 1 <= restored {
                    return Err(Violation::new(format!(
                        "{place} fires the window that ends at {end} for all its keys, which had fired before the checkpoint: {restored} was restored"
                    )));
                }
                if !self.fired.entry(place.to_owned()).or_default().insert(end) {
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
