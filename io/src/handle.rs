//! [`Io`]: one core's access to the outside.

use crate::{Clock, Disk, Net, Probe, ProbeEvent, ProcessIdentity, Rng, Spawner};
use std::rc::Rc;

/// The parts that a backend provides for a core; see [`Io::new`].
pub struct IoParts {
    /// The clocks.
    pub clock: Rc<dyn Clock>,
    /// Starts tasks on the core.
    pub spawner: Rc<dyn Spawner>,
    /// The file system.
    pub disk: Rc<dyn Disk>,
    /// The network.
    pub net: Rc<dyn Net>,
    /// Makes the random stream of a given name.
    #[allow(clippy::type_complexity)]
    pub rng: Rc<dyn Fn(&str) -> Box<dyn Rng>>,
    /// The process that the core belongs to.
    pub process: Rc<ProcessIdentity>,
    /// The observer, if there is one.
    pub probe: Option<Rc<dyn Probe>>,
    /// How often an idle task polls again before it parks (see [`AdaptiveSpin`](crate::AdaptiveSpin)); 0 parks at once.
    pub spin_limit: u32,
}

/// One core's handle to the outside. Cloning copies a pointer.
#[derive(Clone)]
pub struct Io {
    parts: Rc<IoParts>,
}

impl Io {
    /// Wraps the parts that a backend provides.
    #[must_use]
    pub fn new(parts: IoParts) -> Self {
        Self { parts: Rc::new(parts) }
    }

    /// The clocks.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    /// Starts tasks on this core.
    #[must_use]
    pub fn spawner(&self) -> &dyn Spawner {
        &*self.parts.spawner
    }

    /// The file system.
    #[must_use]
    pub fn disk(&self) -> Rc<dyn Disk> {
        Rc::clone(&self.parts.disk)
    }

    /// The network.
    #[must_use]
    pub fn net(&self) -> Rc<dyn Net> {
        Rc::clone(&self.parts.net)
    }

    /// The random stream named `name`. A second request for the same name returns the same sequence from its start.
    #[must_use]
    pub fn rng(&self, name: &str) -> Box<dyn Rng> {
        (self.parts.rng)(name)
    }

    /// The process that the core belongs to.
    #[must_use]
    pub fn process(&self) -> &ProcessIdentity {
        &self.parts.process
    }

    /// How often an idle task polls again before it parks.
    #[must_use]
    pub fn spin_limit(&self) -> u32 {
        self.parts.spin_limit
    }

    /// Whether there is an observer: lets a caller skip computing an event's numbers.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        self.parts.probe.is_some()
    }

    /// Reports an event to the observer, if there is one.
    pub fn observe(&self, name: &'static str, place: &str, values: [i64; 3]) {
        if let Some(probe) = &self.parts.probe {
            probe.observe(ProbeEvent { name, place, values });
        }
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}
