//! What all cores of a job share: how it is described, the way to its coordinator, and its numbers.

use crate::graph::{Job, OperatorMeta};
use crate::messages::ToCoordinator;
use crate::metrics::{JobMetrics, Metric};
use crate::settings::EngineSettings;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_io::Mailbox;
use thalweg_record::KeyGroups;

/// What all cores of a job share.
#[derive(Clone)]
pub struct CoreShared {
    pub(crate) operators: Arc<[OperatorMeta]>,
    /// The engine's constants.
    pub settings: Arc<EngineSettings>,
    pub(crate) key_groups: KeyGroups,
    /// The way to the coordinator, or to whoever passes things on to it.
    pub coordinator: Mailbox<ToCoordinator>,
    /// What is known of the numbers of what runs.
    pub metrics: Arc<Mutex<JobMetrics>>,
}

impl CoreShared {
    /// What the cores that run `job` share; who reports to `coordinator`.
    #[must_use]
    pub fn new(job: &Job, coordinator: Mailbox<ToCoordinator>, metrics: Arc<Mutex<JobMetrics>>) -> Self {
        Self {
            operators: job.operators.clone().into(),
            settings: Arc::new(job.settings.clone()),
            key_groups: job.key_groups,
            coordinator,
            metrics,
        }
    }

    /// Changes what is said of the job.
    pub(crate) fn numbers<R>(&self, change: impl FnOnce(&mut JobMetrics) -> R) -> R {
        change(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, metrics: Vec<Metric>) {
        self.numbers(|numbers| numbers.update(metrics));
    }
}
