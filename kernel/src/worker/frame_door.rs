//! The door of a core for the frames of other workers, and who may call there before an attempt runs.

use crate::attempt::deployment::AttemptPlan;
use crate::checkpoint::{Attempt, JobId};
use crate::exchange::{Lifeline, Links, Place};
use crate::metrics::MetricRegistry;
use crate::worker::shared::CoreShared;
use std::rc::Rc;
use std::sync::Arc;
use thalweg_io::Io;

/// The door of one core: frames of other workers come in, and frames for them go out.
pub trait FrameDoor {
    /// An attempt will begin here: its callers are made to wait for it however long that takes.
    fn announce(&self, announced: Announced);

    /// An attempt begins: starts its links. They end with the subtasks that hold `lifeline`, or fail the attempt. Callers of other attempts are turned away
    /// from now on. Returns the metrics of the links.
    fn start(&self, links: Links, io: &Io, shared: &CoreShared, lifeline: &Lifeline) -> Rc<MetricRegistry>;
}

/// An attempt that a core will take part in, and who may call for it.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The job.
    pub job: JobId,
    /// Identifies the coordinator's process: attempts of two coordinators can have one number.
    pub owner: u64,
    /// The attempt.
    pub attempt: Attempt,
    /// The core that they call.
    pub to: Place,
    /// The cores of each worker, by seat.
    pub cores: Arc<[usize]>,
}

impl Announced {
    /// `cores` has the number of cores of each worker, by seat, and `to` is the core that is told.
    #[must_use]
    pub fn new(plan: &AttemptPlan, to: Place, cores: Arc<[usize]>) -> Self {
        Self { job: plan.job, owner: plan.owner, attempt: plan.attempt, to, cores }
    }
}
