//! For each channel between processes: a frame arrives only if there is credit for it; whenever credit is granted, exactly as many frames as the receiver
//! wants may be under way and waiting, never more than the channel's window; and frames arrive as they were sent, in order.
//!
//! A window of 0 has one place, for which credit is granted on demand.

use std::collections::{BTreeMap, VecDeque};
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// A channel in one attempt.
#[derive(Default)]
struct Channel {
    /// Number and record count of each frame that is under way.
    under_way: VecDeque<[i64; 2]>,
    /// The number of granted frames.
    granted: i64,
    /// The number of sent frames.
    sent: i64,
    /// The number of frames that have arrived.
    received: i64,
    /// The number of processed frames.
    given_back: i64,
}

impl Channel {
    fn step(&mut self, name: &str, [first, second, third]: [i64; 3]) -> Result<(), String> {
        match name {
            "link.credit" => {
                self.granted += first;
                // A grant covers all that is free: no place is lost.
                let (waiting, wanted, window) = (self.granted - self.given_back, second.max(1), third.max(1));
                if waiting != wanted || wanted > window {
                    return Err(format!("{waiting} frames may be under way and waiting, {wanted} are wanted, and the window is {window}"));
                }
            }
            "link.frame.out" => {
                self.sent += 1;
                self.under_way.push_back([first, second]);
                if self.sent > self.granted {
                    return Err(format!("{} frames were sent, and {} granted", self.sent, self.granted));
                }
            }
            "link.frame.in" => {
                self.received += 1;
                let sent = self.under_way.pop_front();
                if sent != Some([first, second]) {
                    return Err(format!("frame {first} with {second} records has come, and {sent:?} was sent"));
                }
            }
            "link.given-back" => {
                self.given_back += 1;
                if self.given_back > self.received {
                    return Err(format!("{} frames were worked off, and {} have come", self.given_back, self.received));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// See the module's documentation.
#[derive(Default)]
pub struct CreditBounds {
    /// By attempt and channel number.
    channels: BTreeMap<String, Channel>,
}

impl Oracle for CreditBounds {
    fn name(&self) -> &str {
        "credits"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let ProbeEvent { name, place, values } = *event;
        if !matches!(name, "link.credit" | "link.frame.out" | "link.frame.in" | "link.given-back") {
            return Ok(());
        }
        let judged = match self.channels.get_mut(place) {
            Some(channel) => channel.step(name, values),
            None => self.channels.entry(place.to_owned()).or_default().step(name, values),
        };
        judged.map_err(|reason| Violation::new(format!("{place}: {reason}")))
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
