//! Who may call for frames before their attempt runs here.

use super::links::Place;
use crate::attempt::deployment::AttemptPlan;
use crate::checkpoint::{Attempt, JobId};
use std::sync::Arc;

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
