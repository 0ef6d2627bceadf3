//! A checkpoint is a consistent cut: the records sent on a channel before its barrier are those received before it (docs/src/semantics.md#c-2).
//!
//! Each channel is observed twice: by the tasks at its ends, which count the records sent before the barrier, and the records taken before the snapshot;
//! and, if its ends are in different processes, by the links between them, which count the records they carry. Channels have the same numbers in every
//! process of an attempt, and attempt numbers are not reused. When a checkpoint is complete, none of its barriers is still under way.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation.
#[derive(Default)]
pub struct Cuts {
    at_tasks: Ends,
    at_links: Ends,
}

/// The reports of the channels' senders.
#[derive(Default)]
struct Ends {
    /// The number of records before a barrier, by attempt and channel, and checkpoint.
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

    /// Checks that every barrier of a complete checkpoint has arrived.
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
