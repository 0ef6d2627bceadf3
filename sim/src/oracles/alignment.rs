//! A subtask aligns its inputs, and saves its state once (docs/src/semantics.md#c-2).
//!
//! From the barrier of a channel until the task receives the barrier, no frame of that channel is processed; the task receives it as soon as, and not
//! before, every channel that has not ended has delivered it; checkpoints come in order, and a subtask takes one snapshot for each.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

const END: i64 = 5;
const BARRIER: i64 = 6;

#[derive(Clone, Copy, Default)]
struct Channel {
    /// The latest barrier that the channel has delivered, and whether the task has received it.
    barrier: i64,
    blocked: bool,
    ended: bool,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Alignment {
    tasks: BTreeMap<String, Vec<Channel>>,
    /// The latest checkpoint of each place.
    snapshots: BTreeMap<String, i64>,
    acknowledged: BTreeMap<String, i64>,
}

impl Alignment {
    fn step(&mut self, place: &str, channel: i64, kind: i64, value: i64) -> Result<(), String> {
        let Some(channels) = self.tasks.get_mut(place) else { return Ok(()) };
        let Some(state) = channels.get_mut(channel.unsigned_abs() as usize) else { return Ok(()) };
        if state.blocked {
            return Err(format!(
                "channel {channel} is blocked by the barrier of checkpoint {}, and an element behind it is taken",
                state.barrier
            ));
        }
        match kind {
            END => state.ended = true,
            BARRIER if value <= state.barrier => return Err(format!("channel {channel} delivers barrier {value} after {}", state.barrier)),
            BARRIER => (state.barrier, state.blocked) = (value, true),
            _ => {}
        }
        Ok(())
    }

    fn pass(&mut self, place: &str, barrier: i64) -> Result<(), String> {
        let Some(channels) = self.tasks.get_mut(place) else { return Ok(()) };
        if let Some((channel, state)) =
            channels.iter().enumerate().find(|(_, state)| !(state.ended || state.blocked && state.barrier == barrier))
        {
            return Err(format!(
                "the barrier of checkpoint {barrier} is passed on, but channel {channel} has delivered that of {}",
                state.barrier
            ));
        }
        channels.iter_mut().for_each(|state| state.blocked = false);
        Ok(())
    }
}

impl Oracle for Alignment {
    fn name(&self) -> &str {
        "alignment"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let ProbeEvent { name, place, values } = *event;
        let checked = match (name, values) {
            ("attempt.begin", _) => {
                *self = Self::default();
                Ok(())
            }
            ("task.start", [channels, ..]) => {
                self.tasks.insert(place.to_owned(), vec![Channel::default(); channels.unsigned_abs() as usize]);
                Ok(())
            }
            ("channel.control", [channel, kind, value]) => self.step(place, channel, kind, value),
            ("channel.frame", [channel, records, _]) => {
                let blocked =
                    self.tasks.get(place).and_then(|channels| channels.get(channel.unsigned_abs() as usize)).filter(|state| state.blocked);
                match blocked {
                    Some(state) => {
                        Err(format!("a frame of {records} records of channel {channel}, which the barrier of {} blocks", state.barrier))
                    }
                    None => Ok(()),
                }
            }
            ("task.control", [BARRIER, barrier, _]) => self.pass(place, barrier),
            ("checkpoint.snapshot", [checkpoint, ..]) => once(&mut self.snapshots, place, checkpoint, "takes a snapshot for"),
            ("checkpoint.acknowledge", [checkpoint, ..]) => {
                if self.snapshots.get(place).is_none_or(|taken| *taken < checkpoint) {
                    Err(format!("acknowledges checkpoint {checkpoint} and has taken no snapshot for it"))
                } else {
                    once(&mut self.acknowledged, place, checkpoint, "acknowledges")
                }
            }
            _ => Ok(()),
        };
        checked.map_err(|reason| Violation::new(format!("{place}: {reason}")))
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}

fn once(last: &mut BTreeMap<String, i64>, place: &str, checkpoint: i64, what: &str) -> Result<(), String> {
    match last.insert(place.to_owned(), checkpoint) {
        Some(before) if before >= checkpoint => Err(format!("{what} checkpoint {checkpoint} after checkpoint {before}")),
        _ => Ok(()),
    }
}
