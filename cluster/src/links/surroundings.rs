//! The environment of a running link.

use std::rc::Rc;
use thalweg_io::{Io, Mailbox, TaskClass};
use thalweg_kernel::checkpoint::Attempt;
use thalweg_kernel::worker::{
    ChannelWatch, CoreShared, Counter, FrameError, FromSubtask, Lifeline, LifelineEnd, LinkFailure, MetricRegistry, Subject, ToCoordinator,
};
use tracing::Instrument;

/// The environment of a running link: its attempt, its peer, and where failures go.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) io: Io,
    pub(super) attempt: Attempt,
    /// The name of the other worker.
    pub(super) peer: String,
    pub(super) watch: ChannelWatch,
    metrics: Rc<MetricRegistry>,
    coordinator: Mailbox<ToCoordinator>,
    life: LifelineEnd,
}

impl Surroundings {
    pub(super) fn new(
        io: &Io,
        attempt: Attempt,
        peer: String,
        metrics: &Rc<MetricRegistry>,
        shared: &CoreShared,
        lifeline: &Lifeline,
    ) -> Self {
        let (metrics, watch) = (Rc::clone(metrics), ChannelWatch::new(io, attempt));
        Self { io: io.clone(), attempt, peer, watch, metrics, coordinator: shared.coordinator.clone(), life: lifeline.end() }
    }

    /// Runs a link until the subtasks are gone. If the link fails, the attempt fails.
    pub(super) fn spawn<E: Into<LinkFailure>>(self, name: &str, link: impl Future<Output = Result<(), E>> + 'static) {
        let io = self.io.clone();
        let span = tracing::debug_span!("link", attempt = %self.attempt, peer = %self.peer);
        let run = async move {
            let Some(Err(failure)) = self.life.during(link).await else { return };
            self.fail(failure.into());
        };
        io.spawner().spawn(TaskClass::Latency, name, Box::pin(run.instrument(span)));
    }
}

impl Surroundings {
    /// The peer breaks the protocol: tells observers, and returns the reason.
    pub(super) fn broken(&self, fault: &FrameError) -> String {
        let reason = fault.to_string();
        self.io.observe("protocol.broken", &format!("link with {}: {reason}", self.peer), [self.attempt.0 as i64, 0, 0]);
        reason
    }

    /// Fails the attempt.
    pub(super) fn fail(&self, failure: LinkFailure) {
        let message = FromSubtask::Failed { subtask: None, error: failure.of_the_job(self.peer.clone()) };
        // If the coordinator is gone nobody listens.
        drop(self.coordinator.send(ToCoordinator::FromSubtask { attempt: self.attempt, message }));
    }

    /// A counter of this link.
    pub(super) fn counter(&self, name: &'static str) -> Counter {
        self.metrics.counter(Subject::task(&format!("exchange with {}", self.peer), ""), name)
    }
}
