//! No process reports that another breaks the protocol of frames or messages: unless bits were flipped on the way, such a violation is a bug of the engine
//! itself. The job recovers from it by a restart, so nothing else would show it.

use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation.
pub struct Protocol {
    /// Whether the network flips bits.
    flips_bits: bool,
}

impl Protocol {
    /// `flips_bits`: whether the network does.
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
