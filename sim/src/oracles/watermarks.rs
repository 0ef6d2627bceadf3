//! Watermarks rise, and a task's watermark is the minimum over its active inputs (docs/src/semantics.md#w-2, #w-4, #w-5).
//!
//! An idle input delivers no records before it is active again.
//!
//! A restored task begins with no lower watermark than it had received at the checkpoint (docs/src/semantics.md#c-5).
//!
//! The oracle merges the watermarks that each channel delivers once more, by the wording of the rules, and compares the result with those that the task's
//! operators receive.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

// The kinds of in-band elements, as `Control::as_numbers` has them.
const WATERMARK: i64 = 0;
const IDLE: i64 = 1;
const ACTIVE: i64 = 2;
const END: i64 = 5;
const BARRIER: i64 = 6;

#[derive(Clone, Copy)]
struct Channel {
    watermark: i64,
    idle: bool,
    ended: bool,
    /// Whether the channel has been active since the last frame was processed.
    spoke: bool,
}

struct Task {
    channels: Vec<Channel>,
    merged: i64,
    /// The latest watermark that its operators have received.
    given: i64,
    /// Watermarks that the task's operators have yet to receive.
    owed: VecDeque<i64>,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Watermarks {
    tasks: BTreeMap<String, Task>,
    /// The latest watermark that each place has emitted.
    made: BTreeMap<String, i64>,
    /// The checkpoint and the watermark at the latest barrier of each place.
    at_barrier: BTreeMap<String, (i64, i64)>,
    saved: SavedWatermarks,
    /// The saved watermarks when the attempt began. A process that has not heard of a newer attempt may begin with them long after.
    restored: BTreeMap<String, i64>,
}

/// The watermark that each task had received at its checkpoints. Outlives the incarnations: clones share it.
#[derive(Clone, Default)]
pub struct SavedWatermarks {
    saved: Rc<RefCell<Saved>>,
}

#[derive(Default)]
struct Saved {
    /// The newest checkpoint that is known to be complete.
    checkpoint: i64,
    /// The watermarks at that checkpoint.
    complete: BTreeMap<String, i64>,
}

impl Watermarks {
    /// Continues from the watermarks that earlier incarnations have saved.
    #[must_use]
    pub fn of(saved: SavedWatermarks) -> Self {
        Self { saved, ..Self::default() }
    }

    fn is_complete(&mut self, checkpoint: i64) {
        let of_checkpoint = self.at_barrier.iter().filter(|(_, (number, _))| *number == checkpoint);
        let complete = of_checkpoint.map(|(place, (_, watermark))| (place.clone(), *watermark)).collect();
        *self.saved.saved.borrow_mut() = Saved { checkpoint, complete };
    }
}

impl Task {
    /// Handles an in-band element of a channel.
    fn step(&mut self, channel: usize, kind: i64, watermark: i64) -> Result<(), String> {
        let state = self.channels.get_mut(channel).ok_or("an element of a channel that does not exist")?;
        if state.ended {
            return Err(format!("channel {channel} goes on after its end"));
        }
        state.spoke |= matches!(kind, WATERMARK | ACTIVE);
        match kind {
            WATERMARK if watermark < state.watermark => {
                return Err(format!("the watermark of channel {channel} goes back from {} to {watermark}", state.watermark));
            }
            WATERMARK => (state.watermark, state.idle) = (watermark, false),
            IDLE => state.idle = true,
            ACTIVE => state.idle = false,
            END => state.ended = true,
            BARRIER => {}
            _ => return Err(format!("an in-band element of kind {kind} in a channel")),
        }
        let active = self.channels.iter().filter(|channel| !channel.idle && !channel.ended);
        let minimum = match active.map(|channel| channel.watermark).min() {
            Some(minimum) => minimum,
            None if self.channels.iter().all(|channel| channel.ended) => i64::MAX,
            None => self.merged,
        };
        if minimum > self.merged {
            self.merged = minimum;
            self.owed.push_back(minimum);
        }
        Ok(())
    }
}

impl Oracle for Watermarks {
    fn name(&self) -> &str {
        "watermarks"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let at_place = |reason: String| Violation::new(format!("{}: {reason}", event.place));
        match (event.name, event.values) {
            // Another attempt begins with the state that it restores.
            ("attempt.begin", [_, _, restored]) => {
                self.tasks.clear();
                self.made.clear();
                self.at_barrier.clear();
                let saved = self.saved.saved.borrow();
                // The coordinator may have died before it reported the checkpoint.
                self.restored = if saved.checkpoint == restored { saved.complete.clone() } else { BTreeMap::new() };
            }
            ("task.start", [channels, _, restored]) => {
                let saved = self.restored.get(event.place).copied().unwrap_or(i64::MIN);
                if restored < saved {
                    return Err(at_place(format!(
                        "it had been told the watermark {saved} at the last checkpoint and begins with {restored}"
                    )));
                }
                let channel = Channel { watermark: i64::MIN, idle: false, ended: false, spoke: true };
                let task = Task {
                    channels: vec![channel; channels.unsigned_abs() as usize],
                    merged: restored,
                    given: restored,
                    owed: VecDeque::new(),
                };
                self.tasks.insert(event.place.to_owned(), task);
            }
            ("channel.control", [channel, kind, watermark]) => {
                if let Some(task) = self.tasks.get_mut(event.place) {
                    task.step(channel.unsigned_abs() as usize, kind, watermark).map_err(at_place)?;
                }
            }
            ("channel.frame", [channel, records, _]) => {
                let task = self.tasks.get_mut(event.place);
                let Some(state) = task.and_then(|task| task.channels.get_mut(channel.unsigned_abs() as usize)) else { return Ok(()) };
                if records > 0 && !state.spoke {
                    return Err(at_place(format!("channel {channel} delivers {records} records and is idle")));
                }
                state.spoke = !state.idle;
            }
            ("task.control", [WATERMARK, watermark, _]) => {
                let owed = self.tasks.get_mut(event.place).and_then(|task| {
                    task.given = watermark;
                    task.owed.pop_front()
                });
                if owed != Some(watermark) {
                    return Err(at_place(format!("its operators are given the watermark {watermark}, but its inputs amount to {owed:?}")));
                }
            }
            ("task.control", [BARRIER, checkpoint, _]) => {
                if let Some(task) = self.tasks.get(event.place) {
                    self.at_barrier.insert(event.place.to_owned(), (checkpoint, task.given));
                }
            }
            ("checkpoint.complete", [checkpoint, ..]) => self.is_complete(checkpoint),
            ("watermark.out", [watermark, ..]) => {
                let before = self.made.insert(event.place.to_owned(), watermark);
                if before.is_some_and(|before| before >= watermark) {
                    return Err(at_place(format!("its watermark goes from {before:?} to {watermark}")));
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
