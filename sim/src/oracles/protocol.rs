//! No process finds that another breaks the rules of frames or messages: what the engine takes for a fault of the other side is one of its own, unless bits
//! were flipped on the way. The job goes on behind such a finding, by a restart, so nothing else would show it.

use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module.
pub struct Protocol {
    /// The network changes what it carries.
    flips_bits: bool,
}

impl Protocol {
    /// For a network that changes what it carries, or one that does not.
    #[must_use]
    pub fn new(flips_bits: bool) -> Self {
        Self { flips_bits }
    }
}

impl Oracle for Protocol {
    fn name(&self) -> &str {
        "protocol"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        if event.name == "protocol.broken" && !self.flips_bits {
            return Err(Violation::new(event.place.to_owned()));
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
