//! An attempt that is over does nothing at a worker that knows of a newer one, and nothing runs at a worker without a coordinator
//! (docs/src/semantics.md#r-1).
//!
//! Whether an attempt that is over writes to the log, or shows results, is checked on the disk: see `transactions`.

use super::apart::Attempts;
use std::collections::BTreeSet;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Origin, Violation};

/// See the module's documentation.
#[derive(Default)]
pub struct Fences {
    attempts: Attempts,
    /// Attempts that have begun.
    begun: BTreeSet<i64>,
    /// Workers that have closed all their subtasks.
    closed: BTreeSet<(String, u64)>,
}

/// The attempt in `attempt 3 channel 7`.
fn attempt_of(place: &str) -> Option<i64> {
    place.strip_prefix("attempt ")?.split(' ').next()?.parse().ok()
}

impl Fences {
    fn judge(&mut self, origin: Origin<'_>, event: &ProbeEvent<'_>) -> Result<(), String> {
        let ProbeEvent { name, place, values } = *event;
        let process = (origin.process.to_owned(), origin.incarnation);
        let before = self.attempts.observe(origin, &ProbeEvent { name: "", place, values });
        let attempt = self.attempts.observe(origin, event);
        match name {
            "attempt.begin" if !self.begun.insert(attempt) => return Err(format!("attempt {attempt} begins twice")),
            "worker.deploy" => {
                if attempt <= before || !self.begun.contains(&attempt) {
                    return Err(format!("attempt {attempt} is deployed after {before}, and those that have begun are {:?}", self.begun));
                }
                self.closed.remove(&process);
            }
            "worker.closed" => drop(self.closed.insert(process)),
            "link.frame.in" | "link.frame.out" if attempt_of(place) != Some(attempt) || values[2] != attempt => {
                return Err(format!("a frame of attempt {} passes as one of {place}, and attempt {attempt} is deployed", values[2]));
            }
            "link.frame.in"
            | "link.frame.out"
            | "task.start"
            | "task.control"
            | "channel.frame"
            | "channel.control"
            | "subtask.start"
            | "subtask.finish"
            | "sink.prepared"
            | "checkpoint.snapshot"
                if self.closed.contains(&process) =>
            {
                return Err(format!("{name} at {place}, and everything was closed"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Oracle for Fences {
    fn name(&self) -> &str {
        "fences"
    }

    fn observe(&mut self, _now_ms: u64, _event: &ProbeEvent<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn observe_in(&mut self, origin: Origin<'_>, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        self.judge(origin, event).map_err(|reason| Violation::new(format!("{}#{}: {reason}", origin.process, origin.incarnation)))
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
