//! A checkpoint is a consistent cut: what was sent on a channel before its barrier is what was received before it (docs/src/semantics.md#c-2).
//!
//! Told twice of each channel: by the tasks at its ends, which count the records that they have sent before the barrier, and those that they have taken
//! before their snapshot; and, if its ends are in different processes, by the links between them, which count what they carry. Numbers of channels are
//! the same in every process of an attempt, and those of attempts come once. Of a complete checkpoint no barrier is left under way.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module.
#[derive(Default)]
pub struct Cuts {
    at_tasks: Ends,
    at_links: Ends,
}

/// What the senders of channels have told.
#[derive(Default)]
struct Ends {
    /// Records before a barrier, by attempt and channel, and checkpoint.
    sent: BTreeMap<(String, i64), i64>,
}

impl Ends {
    fn send(&mut self, place: &str, checkpoint: i64, records: i64) -> Result<(), String> {
        match self.sent.insert((place.to_owned(), checkpoint), records) {
            Some(_) => Err(format!("the barrier of checkpoint {checkpoint} is sent twice")),
            None => Ok(()),
        }
    }

    fn receive(&mut self, place: &str, checkpoint: i64, records: i64) -> Result<(), String> {
        match self.sent.remove(&(place.to_owned(), checkpoint)) {
            Some(sent) if sent == records => Ok(()),
            sent => Err(format!("{records} records were taken before the barrier of checkpoint {checkpoint}, and {sent:?} were sent")),
        }
    }

    /// Every barrier of a checkpoint that is complete has come.
    fn is_whole(&self, checkpoint: i64) -> Result<(), String> {
        match self.sent.keys().find(|(_, of)| *of == checkpoint) {
            Some((place, _)) => Err(format!("checkpoint {checkpoint} is complete, and its barrier has not come by {place}")),
            None => Ok(()),
        }
    }
}

impl Oracle for Cuts {
    fn name(&self) -> &str {
        "cuts"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let ProbeEvent { name, place, values: [checkpoint, records, _] } = *event;
        let judged = match name {
            "channel.barrier.out" => self.at_tasks.send(place, checkpoint, records),
            "channel.barrier.in" => self.at_tasks.receive(place, checkpoint, records),
            "link.barrier.out" => self.at_links.send(place, checkpoint, records),
            "link.barrier.in" => self.at_links.receive(place, checkpoint, records),
            "checkpoint.complete" => self.at_tasks.is_whole(checkpoint),
            "attempt.begin" => {
                *self = Self::default();
                Ok(())
            }
            _ => Ok(()),
        };
        judged.map_err(|reason| Violation::new(format!("{place}: {reason}")))
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
