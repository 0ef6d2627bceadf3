//! Randomness inside a world: a stream per subsystem, and streams for the engine whose draws reach the trace.
//!
//! The schedule, the disk, the network and the faults each draw from a stream of their own name, so that switching one off moves nothing in
//! the others. What the engine draws is mixed into the trace hash: a run that draws differently is a different run.

use crate::trace::Trace;
use std::rc::Rc;
use thalweg_io::{Rng, SplitMix};

/// A stream handed to the engine.
pub(crate) struct TracedRng {
    stream: SplitMix,
    trace: Rc<Trace>,
}

impl TracedRng {
    /// The stream `name` of the core called `core` in the run with `seed`.
    pub(crate) fn new(seed: u64, core: &str, name: &str, trace: Rc<Trace>) -> Self {
        Self { stream: SplitMix::stream(seed, &format!("{core}/{name}")), trace }
    }
}

impl Rng for TracedRng {
    fn next_u64(&mut self) -> u64 {
        let drawn = self.stream.next_u64();
        self.trace.mix(drawn);
        drawn
    }
}

/// Helpers for drawing configurations and faults.
pub trait Draw: Rng {
    /// True in `per_mille` of 1000 draws.
    fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// A number in `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range of random numbers: {low}..={high}");
        low + self.below((high - low).saturating_add(1))
    }

    /// One of `choices`, each as likely as the others.
    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

impl<R: Rng + ?Sized> Draw for R {}
