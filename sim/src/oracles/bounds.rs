//! Queues stay within their bounds: no more frames wait for a task than its channels have room for.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation.
#[derive(Default)]
pub struct Bounds {
    /// The number of frames that may wait for a task, by its place.
    room: BTreeMap<String, i64>,
}

impl Oracle for Bounds {
    fn name(&self) -> &str {
        "bounds"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        match (event.name, event.values) {
            ("task.start", [channels, frames, _]) => {
                self.room.insert(event.place.to_owned(), channels * frames);
            }
            ("task.queue", [queued, ..]) => {
                // A source has no channels.
                let room = self.room.get(event.place).copied().unwrap_or(0);
                if queued > room {
                    return Err(Violation::new(format!("{queued} frames wait for {}, whose channels have room for {room}", event.place)));
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
