//! What happened in a run: a rolling hash of everything, the last events for people, and the oracles that watch.
//!
//! The hash takes in each poll (task, number, virtual time), each probe event, each draw of the engine's random streams and each event of the
//! simulated devices. Two runs with equal hashes took the same steps. No pointer, address or iteration order of a hash map may reach it.
//! Oracles draw no randomness and wake nobody: with or without them a run takes the same steps, except that a violation ends it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use thalweg_io::ProbeEvent;

/// An odd multiplier with well spread bits (that of FxHash). The rotation before it keeps the order of the words significant.
const HASH_MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;

/// Why an oracle says that a run is wrong, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl Violation {
    /// A violation for `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The process of a cluster that an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Its name.
    pub process: &'a str,
    /// How many of that name there were before it.
    pub incarnation: u64,
}

/// Watches a run and judges it. The first violation ends the run.
pub trait Oracle {
    /// How it is called in a report.
    fn name(&self) -> &str;

    /// Takes note of `event`, at `now_ms` of virtual time.
    ///
    /// # Errors
    /// The reason why what happened must not happen.
    fn observe(&mut self, now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation>;

    /// The same in a cluster, where it is known which process the event comes from. Passes it on to [`Oracle::observe`] unless told otherwise.
    ///
    /// # Errors
    /// The reason why what happened must not happen.
    fn observe_in(&mut self, origin: Origin<'_>, now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let _ = origin;
        self.observe(now_ms, event)
    }

    /// Judges a run that came to its regular end.
    ///
    /// # Errors
    /// The reason why the run as a whole is wrong.
    fn at_end(&mut self, now_ms: u64) -> Result<(), Violation>;
}

/// One remembered event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Virtual time since the start of the run, in nanoseconds.
    pub at_ns: u64,
    /// What happened: an event's name.
    pub name: &'static str,
    /// Where: a subtask, a path, an address.
    pub place: Box<str>,
    /// Numbers that belong to the event.
    pub values: [i64; 3],
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.values;
        write!(f, "{:>14.6} ms  {:<24} {} [{a} {b} {c}]", self.at_ns as f64 / 1e6, self.name, self.place)
    }
}

/// The record of one run.
pub(crate) struct Trace {
    hash: Cell<u64>,
    closed: Cell<bool>,
    keep: usize,
    last: RefCell<VecDeque<TraceEvent>>,
    oracles: RefCell<Vec<Box<dyn Oracle>>>,
}

impl Trace {
    /// A record that begins with `seed` and remembers the last `keep` events.
    pub(crate) fn new(seed: u64, keep: usize, oracles: Vec<Box<dyn Oracle>>) -> Self {
        Self { hash: Cell::new(seed), closed: Cell::new(false), keep, last: RefCell::default(), oracles: RefCell::new(oracles) }
    }

    /// Mixes `word` into the hash.
    pub(crate) fn mix(&self, word: u64) {
        if !self.closed.get() {
            self.seal(word);
        }
    }

    /// Takes no more notes: what happens from now on happens after the end.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Mixes what is left behind into the hash, closed or not.
    pub(crate) fn seal(&self, word: u64) {
        self.hash.set((self.hash.get().rotate_left(5) ^ word).wrapping_mul(HASH_MULTIPLIER));
    }

    /// Mixes `bytes` into the hash, their number included.
    fn mix_bytes(&self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    /// The hash so far, finished so that near histories differ in all bits.
    pub(crate) fn hash(&self) -> u64 {
        let mut z = self.hash.get();
        z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        z ^ (z >> 32)
    }

    /// Notes an event: hash and memory, no oracle. Simulated devices report through this.
    pub(crate) fn note(&self, at_ns: u64, name: &'static str, place: &str, values: [i64; 3]) {
        if self.closed.get() {
            return;
        }
        self.mix(at_ns);
        self.mix_bytes(name.as_bytes());
        self.mix_bytes(place.as_bytes());
        for value in values {
            self.mix(value as u64);
        }
        if self.keep == 0 {
            return;
        }
        let mut last = self.last.borrow_mut();
        if last.len() == self.keep {
            last.pop_front();
        }
        last.push_back(TraceEvent { at_ns, name, place: place.into(), values });
    }

    /// Notes an event of the engine and asks every oracle. Returns the first to object, and its reason.
    pub(crate) fn observe(&self, at_ns: u64, origin: Option<Origin<'_>>, event: &ProbeEvent<'_>) -> Result<(), (String, Violation)> {
        let now_ms = at_ns / 1_000_000;
        let Some(origin) = origin else {
            self.note(at_ns, event.name, event.place, event.values);
            return self.ask(|oracle| oracle.observe(now_ms, event));
        };
        let Origin { process, incarnation } = origin;
        self.note(at_ns, event.name, &format!("{process}#{incarnation}: {}", event.place), event.values);
        self.ask(|oracle| oracle.observe_in(origin, now_ms, event))
    }

    /// Asks every oracle about the run as a whole.
    pub(crate) fn at_end(&self, at_ns: u64) -> Result<(), (String, Violation)> {
        self.ask(|oracle| oracle.at_end(at_ns / 1_000_000))
    }

    fn ask(&self, mut question: impl FnMut(&mut dyn Oracle) -> Result<(), Violation>) -> Result<(), (String, Violation)> {
        for oracle in self.oracles.borrow_mut().iter_mut() {
            question(oracle.as_mut()).map_err(|violation| (oracle.name().to_owned(), violation))?;
        }
        Ok(())
    }

    /// The remembered events, oldest first; forgets them.
    pub(crate) fn take_last(&self) -> Vec<TraceEvent> {
        self.last.take().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_events_reaches_the_hash() {
        let one = Trace::new(1, 4, vec![]);
        one.note(5, "a", "x", [0; 3]);
        one.note(5, "b", "x", [0; 3]);
        let other = Trace::new(1, 4, vec![]);
        other.note(5, "b", "x", [0; 3]);
        other.note(5, "a", "x", [0; 3]);
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn only_the_last_events_are_kept_and_what_is_kept_does_not_change_the_hash() {
        let hash = |keep| {
            let trace = Trace::new(1, keep, vec![]);
            for n in 0..5 {
                trace.note(n, "event", "here", [n as i64, 0, 0]);
            }
            let kept: Vec<_> = trace.take_last().iter().map(|event| event.at_ns).collect();
            assert_eq!(kept, (5 - keep as u64..5).collect::<Vec<_>>());
            trace.hash()
        };
        assert_eq!(hash(2), hash(0));
    }
}
