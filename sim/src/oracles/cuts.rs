//! A checkpoint is a consistent cut: what was sent on a channel before its barrier is what was received before it (docs/src/semantics.md#c-2).
//!
//! Of the channels between processes. Numbers of channels are the same in every process of an attempt, and those of attempts come once.

use crate::trace::{Oracle, Violation};
use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;

/// See the module.
#[derive(Default)]
pub struct Cuts {
    /// Records before a barrier, by attempt and channel, and checkpoint.
    sent: BTreeMap<(String, i64), i64>,
}

impl Oracle for Cuts {
    fn name(&self) -> &str {
        "cuts"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let ProbeEvent { name, place, values: [checkpoint, records, _] } = *event;
        match name {
            "link.barrier.out" if self.sent.insert((place.to_owned(), checkpoint), records).is_some() => {
                return Err(Violation::new(format!("{place}: the barrier of checkpoint {checkpoint} is sent twice")));
            }
            "link.barrier.in" => match self.sent.remove(&(place.to_owned(), checkpoint)) {
                Some(sent) if sent == records => {}
                sent => {
                    return Err(Violation::new(format!(
                        "{place}: {records} records have come before the barrier of checkpoint {checkpoint}, and {sent:?} were sent"
                    )));
                }
            },
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
