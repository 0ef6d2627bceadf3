//! The main loop of each core of a job: runs the subtasks of one attempt after the other, and reports their metrics.

use crate::attempt::wiring::SubtaskPlan;
use crate::checkpoint::Snapshots;
use crate::error::FailureSlot;
use crate::exchange::{Lifeline, LifelineEnd, Links};
use crate::graph_ids::TaskName;
use crate::metrics::{MetricRegistry, Subject};
use crate::subtask::acknowledge::Acknowledger;
use crate::subtask::clock::TaskClock;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driver::Driver;
use crate::subtask::slice::SliceBudget;
use crate::subtask::snapshot_sizes::SnapshotSizes;
use crate::worker::frame_door::{Announced, FrameDoor};
use crate::worker::shared::CoreShared;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{CoreId, Io, LocalBoxFuture, MailboxReceiver, TaskClass};
use tracing::Instrument;

/// A piece of an image is so many times what a sink writes at once: it bypasses the page cache, so that nobody gathers pieces on the way to the disk.
const IMAGE_BLOCKS: usize = 4;

/// An order for a core.
pub enum CoreOrder {
    /// Let callers wait that belong to an attempt which begins once its state has been read.
    Announce(Announced),
    /// Run the core's part of an attempt.
    Run(CoreShare),
}

/// A core's part of an attempt.
pub struct CoreShare {
    pub(crate) shared: CoreShared,
    pub(crate) subtasks: Vec<SubtaskPlan>,
    pub(crate) links: Links,
}

/// Carries out the orders to this core, one attempt after the other, until nobody is left to give orders. Frames of other workers come in by `door`.
pub async fn run_core(core: CoreId, io: Io, door: Option<Box<dyn FrameDoor>>, mut orders: MailboxReceiver<CoreOrder>) {
    let mut registries: Vec<Rc<MetricRegistry>> = Vec::new();
    let mut running: Option<CoreShared> = None;
    let mut running_subtasks: Option<LifelineEnd> = None;
    let mut next_report: Option<LocalBoxFuture<()>> = None;
    loop {
        let mut report = false;
        let ordered = std::future::poll_fn(|cx| {
            if let Poll::Ready(ordered) = orders.poll_recv(cx) {
                return Poll::Ready(ordered);
            }
            if let Some(sleep) = &mut next_report
                && sleep.as_mut().poll(cx).is_ready()
            {
                report = true;
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        match ordered {
            Some(CoreOrder::Announce(announced)) => door.iter().for_each(|door| door.announce(announced.clone())),
            Some(CoreOrder::Run(CoreShare { shared, subtasks, links })) => {
                // The subtasks of the previous attempt reported their last metrics when they ended.
                let lifeline = Lifeline::new();
                assert!(door.is_some() || links.are_none(), "a core without a door has links to others");
                let of_links = door.as_ref().map(|door| door.start(links, &io, &shared, &lifeline));
                let spawn = |plan| spawn(&io, plan, &shared, lifeline.clone(), of_links.clone());
                registries = subtasks.into_iter().map(spawn).chain(of_links.clone()).collect();
                running = Some(shared);
                running_subtasks = Some(lifeline.end());
            }
            None if report => {}
            None => break,
        }
        if let Some(shared) = &running {
            // Subtasks that have ended have reported their last metrics, and later ones belong to another attempt.
            if running_subtasks.as_ref().is_some_and(LifelineEnd::is_gone) {
                registries.clear();
            }
            if report {
                registries.iter().for_each(|registry| shared.publish(registry.snapshot()));
            }
            if report || next_report.is_none() {
                let interval = Duration::from_millis(shared.settings.metrics_interval_ms);
                next_report = Some(io.clock().sleep_until(io.clock().now().after(interval)));
            }
        }
    }
    tracing::debug!(core = core.0, "core has ended");
}

/// Builds a subtask and starts it.
fn spawn(io: &Io, plan: SubtaskPlan, shared: &CoreShared, lifeline: Lifeline, of_links: Option<Rc<MetricRegistry>>) -> Rc<MetricRegistry> {
    let name = Rc::new(TaskName { operators: plan.operators, subtask: plan.subtask, parallelism: plan.parallelism });
    let metrics = Rc::new(MetricRegistry::new(plan.subtask));
    let whole_bytes_max = plan.attempt.snapshots.as_ref().map_or(usize::MAX, |place| place.inline_bytes_max);
    let piece_bytes = plan.attempt.snapshots.as_ref().map_or(usize::MAX, |place| {
        // An image of one piece may still turn out to be a small one, which stays in memory.
        shared.settings.write_block_bytes.saturating_mul(IMAGE_BLOCKS).max(place.inline_bytes_max.saturating_add(1))
    });
    let snapshots = Rc::new(Snapshots::new(plan.task_uid.clone(), piece_bytes, whole_bytes_max, shared.settings.state_changes_percent_max));
    let blocked_outputs = Rc::default();
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
        blocked_outputs: Rc::clone(&blocked_outputs),
        coordinator: shared.coordinator.clone(),
        job: plan.attempt.job,
        owner: plan.attempt.owner,
        attempt: plan.attempt.attempt,
        epoch: plan.attempt.epoch,
        task_uid: plan.task_uid.clone(),
        snapshots: Rc::clone(&snapshots),
        restored: plan.restored,
    };
    let sizes = Rc::new(SnapshotSizes::new(Arc::clone(&shared.operators)));
    metrics.ask(Subject::task(&name.operators, &plan.task_uid), Rc::<SnapshotSizes>::clone(&sizes));
    let acknowledger = Acknowledger::new(
        plan.id,
        plan.attempt.attempt,
        io.clone(),
        (plan.task_uid.clone(), plan.subtask),
        shared.key_groups.hashes_of(shared.key_groups.owned_by(plan.subtask, name.parallelism)),
        name.to_string(),
        plan.attempt.snapshots,
        snapshots,
        shared.coordinator.clone(),
        sizes,
    );
    let driver = Driver {
        id: plan.id,
        name: name.to_string(),
        io: io.clone(),
        failure: Rc::clone(&cx.failure),
        clock: cx.clock.clone(),
        budget: Rc::clone(&cx.slice),
        metrics: Rc::clone(&metrics),
        of_links,
        operators: name.operators.clone(),
        task_uid: plan.task_uid,
        blocked_outputs,
        acknowledger,
        inbox: plan.inbox,
        saved_for: Duration::ZERO,
    };
    let build = plan.build;
    let span = tracing::debug_span!("subtask", attempt = %plan.attempt.attempt, task = %name);
    let run = async move {
        // Building also runs user code: `open`, and the clones of closures.
        match catch_unwind(AssertUnwindSafe(move || build(&mut cx))) {
            Ok(task) => driver.drive(task).await,
            Err(payload) => driver.fail_to_build(&*payload).await,
        }
        drop(lifeline);
    };
    io.spawner().spawn(TaskClass::Throughput, &name.to_string(), Box::pin(run.instrument(span)));
    metrics
}
