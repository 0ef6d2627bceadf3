//! What runs on each core of a job: the subtasks of one attempt after the other, and the reports of their numbers.

use super::acknowledge::Acknowledger;
use super::context::{SubtaskContext, TaskName};
use super::deployment::SubtaskPlan;
use super::driver::{Driver, TaskClock};
use super::error::FailureSlot;
use super::key_groups::KeyGroups;
use super::messages::ToCoordinator;
use super::metrics::{JobMetrics, Metric, MetricRegistry};
use super::settings::EngineSettings;
use super::slice::SliceBudget;
use crate::checkpoint::Snapshots;
use crate::graph::OperatorMeta;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{CoreId, Io, Mailbox, MailboxReceiver, TaskClass};

/// What all cores of a job share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) operators: Arc<[OperatorMeta]>,
    pub(crate) settings: Arc<EngineSettings>,
    pub(crate) key_groups: KeyGroups,
    pub(crate) coordinator: Mailbox<ToCoordinator>,
    pub(crate) metrics: Arc<Mutex<JobMetrics>>,
}

impl Shared {
    pub(crate) fn publish(&self, metrics: Vec<Metric>) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).update(metrics);
    }
}

/// Runs what is deployed to this core until there is nobody left to deploy.
pub(crate) async fn run_core(core: CoreId, io: Io, mut deployments: MailboxReceiver<Vec<SubtaskPlan>>, shared: Shared) {
    let interval = Duration::from_millis(shared.settings.metrics_interval_ms);
    let mut registries: Vec<Rc<MetricRegistry>> = Vec::new();
    let mut next_report = io.clock().sleep_until(io.clock().now().after(interval));
    loop {
        let mut report = false;
        let deployed = std::future::poll_fn(|cx| {
            if let Poll::Ready(deployed) = deployments.poll_recv(cx) {
                return Poll::Ready(deployed);
            }
            if next_report.as_mut().poll(cx).is_ready() {
                report = true;
                return Poll::Ready(Some(Vec::new()));
            }
            Poll::Pending
        })
        .await;
        let Some(plans) = deployed else { break };
        if report {
            registries.iter().for_each(|registry| shared.publish(registry.snapshot()));
            next_report = io.clock().sleep_until(io.clock().now().after(interval));
        } else {
            // Those of the attempt before have said their last when they ended.
            registries = plans.into_iter().map(|plan| spawn(&io, plan, &shared)).collect();
        }
    }
    tracing::debug!(core = core.0, "core has ended");
}

/// Builds a subtask and sets it going.
fn spawn(io: &Io, plan: SubtaskPlan, shared: &Shared) -> Rc<MetricRegistry> {
    let name = Rc::new(TaskName { operators: plan.operators, subtask: plan.subtask, parallelism: plan.parallelism });
    let metrics = Rc::new(MetricRegistry::new(plan.subtask));
    let snapshots = Rc::new(Snapshots::new(plan.task_uid.clone()));
    let mut cx = SubtaskContext {
        io: io.clone(),
        id: plan.id,
        name: Rc::clone(&name),
        operators: Arc::clone(&shared.operators),
        settings: Arc::clone(&shared.settings),
        key_groups: shared.key_groups,
        inputs: plan.inputs,
        outputs: plan.outputs,
        failure: Rc::new(FailureSlot::default()),
        clock: TaskClock::new(io),
        slice: Rc::new(SliceBudget::new(shared.settings.slice_records)),
        metrics: Rc::clone(&metrics),
        coordinator: shared.coordinator.clone(),
        job: plan.attempt.job,
        attempt: plan.attempt.attempt,
        epoch: plan.attempt.epoch,
        task_uid: plan.task_uid.clone(),
        snapshots: Rc::clone(&snapshots),
        restored: plan.attempt.restored,
    };
    let acknowledger = Acknowledger::new(
        plan.id,
        plan.attempt.attempt,
        io.clone(),
        (plan.task_uid, plan.subtask),
        name.to_string(),
        plan.attempt.snapshots,
        snapshots,
        shared.coordinator.clone(),
    );
    let driver = Driver {
        id: plan.id,
        name: name.to_string(),
        io: io.clone(),
        failure: Rc::clone(&cx.failure),
        clock: cx.clock.clone(),
        budget: Rc::clone(&cx.slice),
        metrics: Rc::clone(&metrics),
        acknowledger,
        inbox: plan.inbox,
    };
    let build = plan.build;
    let run = async move {
        // Building runs user code too: `open`, and the clones of closures.
        match catch_unwind(AssertUnwindSafe(move || build(&mut cx))) {
            Ok(task) => driver.drive(task).await,
            Err(payload) => driver.fail_to_build(&*payload).await,
        }
    };
    io.spawner().spawn(TaskClass::Throughput, &name.to_string(), Box::pin(run));
    metrics
}
