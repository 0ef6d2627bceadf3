//! The data that all cores of a job share: its description, the mailbox of its coordinator, and its metrics.

use crate::graph::{Job, OperatorMeta};
use crate::messages::ToCoordinator;
use crate::metrics::{JobMetrics, Metric};
use crate::settings::EngineSettings;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_io::Mailbox;
use thalweg_record::KeyGroups;

/// Shared by all cores of a job.
#[derive(Clone)]
pub struct CoreShared {
    pub(crate) operators: Arc<[OperatorMeta]>,
    /// The engine's constants.
    pub settings: Arc<EngineSettings>,
    pub(crate) key_groups: KeyGroups,
    /// The mailbox of the coordinator, or of the code that carries messages to it.
    pub coordinator: Mailbox<ToCoordinator>,
    /// The latest metrics of the running subtasks.
    pub metrics: Arc<Mutex<JobMetrics>>,
}

impl CoreShared {
    /// Shared by the cores that run `job`, which report to `coordinator`.
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

    /// Changes the metrics of the job.
    pub(crate) fn numbers<R>(&self, change: impl FnOnce(&mut JobMetrics) -> R) -> R {
        change(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, metrics: Vec<Metric>) {
        self.numbers(|numbers| numbers.update(metrics));
    }
}
