//! A checkpoint is collected when every subtask has acknowledged it, or has finished, and not before (docs/src/semantics.md#c-2).
//!
//! An acknowledgement counts only for the checkpoint it names: a late one, for a checkpoint that was given up, says nothing about the next.

use std::collections::{BTreeMap, BTreeSet};
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation.
#[derive(Default)]
pub struct Acknowledgements {
    /// The subtasks that this attempt has started, and the latest checkpoint that each has acknowledged.
    last: BTreeMap<String, Option<i64>>,
    finished: BTreeSet<String>,
}

impl Oracle for Acknowledgements {
    fn name(&self) -> &str {
        "acknowledgements"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let ProbeEvent { name, place, values: [number, ..] } = *event;
        match name {
            "attempt.begin" => *self = Self::default(),
            "subtask.start" => drop(self.last.insert(place.to_owned(), None)),
            "subtask.finish" => drop(self.finished.insert(place.to_owned())),
            "checkpoint.acknowledge" => drop(self.last.insert(place.to_owned(), Some(number))),
            "checkpoint.collected" => {
                // Checkpoints are taken in order, and the next begins when this one is over: a subtask's latest acknowledgement is for this one, or an
                // older one.
                let missing = self.last.iter().find(|(subtask, last)| **last != Some(number) && !self.finished.contains(*subtask));
                if let Some((subtask, last)) = missing {
                    return Err(Violation::new(format!(
                        "checkpoint {number} is taken for whole, but {subtask} has not acknowledged it (its last was {last:?}) and has not finished"
                    )));
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
