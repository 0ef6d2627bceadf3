//! Where the frames of other workers come in, and who may call there before an attempt runs.

use crate::attempt::deployment::AttemptPlan;
use crate::checkpoint::{Attempt, JobId};
use crate::exchange::{Lifeline, Links, Place};
use crate::metrics::MetricRegistry;
use crate::worker::shared::CoreShared;
use std::rc::Rc;
use std::sync::Arc;
use thalweg_io::Io;

/// Where the frames of other workers come in, on one core, and those for others go out.
pub trait FrameDoor {
    /// An attempt will begin here: its callers wait for it however long that takes.
    fn announce(&self, announced: Announced);

    /// An attempt begins: sets its links going. They end with the subtasks that hold `lifeline`, or fail the attempt. Callers of other attempts are turned
    /// away from now on. Returns the numbers of the links.
    fn start(&self, links: Links, io: &Io, shared: &CoreShared, lifeline: &Lifeline) -> Rc<MetricRegistry>;
}

/// An attempt that a core will take part in, and who may call for it.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The job.
    pub job: JobId,
    /// The coordinator's process: attempts of two can have one number.
    pub owner: u64,
    /// The attempt.
    pub attempt: Attempt,
    /// Where they call.
    pub to: Place,
    /// The cores of each worker, by seat.
    pub cores: Arc<[usize]>,
}

impl Announced {
    /// `cores` are those of each worker, by seat, and `to` is the one that is told.
    #[must_use]
    pub fn new(plan: &AttemptPlan, to: Place, cores: Arc<[usize]>) -> Self {
        Self { job: plan.job, owner: plan.owner, attempt: plan.attempt, to, cores }
    }
}
