//! Bringing a job onto its cores.
//!
//! [`start`] wires the channels, deals the subtasks out to the cores and starts them. Core 0 runs the coordinator too. It is the one job-run
//! function: production calls it with io_uring's cores and the simulator with its own.

use super::context::{SubtaskContext, SubtaskId, TaskName};
use super::coordinator::{Action, Coordinator, FromSubtask, ToSubtask};
use super::driver::{Driver, Subtask, TaskClock, panic_text};
use super::error::{FailureSlot, JobError};
use super::handle::{JobHandle, JobReport};
use super::key_groups::KeyGroups;
use super::metrics::{JobMetrics, Metric, MetricRegistry};
use super::settings::EngineSettings;
use super::slice::SliceBudget;
use crate::graph::{EdgeId, Job, OperatorId, OperatorMeta, SinkInitialize, SourceSplits};
use crate::sink::SinkError;
use crate::source::SourceError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thalweg_io::{CoreId, CoreMain, Cores, Io, Mailbox, MailboxReceiver, TaskClass, mailbox};

/// A subtask on its way to its core.
struct SubtaskPlan {
    id: SubtaskId,
    operators: String,
    subtask: usize,
    parallelism: usize,
    build: Box<dyn FnOnce(&mut SubtaskContext) -> Box<dyn Subtask> + Send>,
    inputs: Vec<Box<dyn Any + Send>>,
    outputs: Vec<(EdgeId, Box<dyn Any + Send>)>,
    inbox: MailboxReceiver<ToSubtask>,
}

/// What all cores of a job share.
#[derive(Clone)]
struct Shared {
    operators: Arc<[OperatorMeta]>,
    settings: Arc<EngineSettings>,
    key_groups: KeyGroups,
    coordinator: Mailbox<FromSubtask>,
    metrics: Arc<Mutex<JobMetrics>>,
}

impl Shared {
    fn publish(&self, metrics: Vec<Metric>) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).update(metrics);
    }
}

/// Starts `job` on `core_count` of `cores`.
pub(crate) fn start(job: Job, cores: &dyn Cores, core_count: usize) -> Result<JobHandle, JobError> {
    if core_count == 0 {
        return Err(JobError::Invalid("it needs at least one core".to_owned()));
    }
    let key_groups = job.key_groups;
    // More cores than key groups is no mistake of the user's.
    let default_parallelism = job.default_parallelism.unwrap_or(core_count.min(key_groups.count() as usize));
    let parallelism: Vec<usize> = job.tasks.iter().map(|task| task.parallelism.unwrap_or(default_parallelism)).collect();
    if let Some((task, p)) = job.tasks.iter().zip(&parallelism).find(|(_, p)| **p == 0 || **p > key_groups.count() as usize) {
        let (name, count) = (&task.name, key_groups.count());
        let cure = "choose another parallelism or raise the maximum with set_max_parallelism";
        return Err(JobError::Invalid(format!(
            "the parallelism of {name} is {p}, but it must be between 1 and the {count} key groups: {cure}"
        )));
    }
    job.settings.check().map_err(JobError::Invalid)?;

    let subtask_count: usize = parallelism.iter().sum();
    let first_subtask: Vec<SubtaskId> = parallelism.iter().scan(0, |next, p| Some(std::mem::replace(next, *next + p))).collect();
    let (coordinator, coordinator_inbox) = mailbox();
    let (subtask_mail, inboxes): (Vec<_>, Vec<_>) = (0..subtask_count).map(|_| mailbox()).unzip();

    let mut plans: Vec<SubtaskPlan> = Vec::with_capacity(subtask_count);
    let mut inboxes = inboxes.into_iter();
    for (task, p) in job.tasks.iter().zip(&parallelism) {
        for subtask in 0..*p {
            let inbox = inboxes.next().expect("invariant: an inbox was made for every subtask");
            plans.push(SubtaskPlan {
                id: plans.len(),
                operators: task.name.clone(),
                subtask,
                parallelism: *p,
                build: (task.instantiate)(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                inbox,
            });
        }
    }
    // Inputs are wired in the order in which the consumer names its edges.
    for (to, task) in job.tasks.iter().enumerate() {
        for edge in &task.inputs {
            let edge_plan = &job.edges[edge.0];
            let from = edge_plan.from.expect("invariant: every edge that is consumed was made by the task that feeds it");
            let one_to_one = edge_plan.forward && parallelism[from] == parallelism[to];
            let channels = (edge_plan.channels)(parallelism[from], parallelism[to], one_to_one, job.settings.channel_frames);
            for (s, sender) in channels.senders.into_iter().enumerate() {
                plans[first_subtask[from] + s].outputs.push((*edge, sender));
            }
            for (r, receiver) in channels.receivers.into_iter().enumerate() {
                plans[first_subtask[to] + r].inputs.push(receiver);
            }
        }
    }

    let mut per_core: Vec<Vec<SubtaskPlan>> = (0..core_count).map(|_| Vec::new()).collect();
    let places: Vec<usize> =
        parallelism.iter().enumerate().flat_map(|(task, p)| (0..*p).map(move |s| place(task, s, *p, core_count))).collect();
    for (plan, place) in plans.into_iter().zip(places) {
        per_core[place].push(plan);
    }

    let metrics = Arc::new(Mutex::new(JobMetrics::default()));
    let (result_sender, result) = mailbox();
    let shared = Shared {
        operators: job.operators.into(),
        settings: Arc::new(job.settings),
        key_groups,
        coordinator: coordinator.clone(),
        metrics: Arc::clone(&metrics),
    };
    let mut head = Some(CoordinatorPlan {
        name: job.name,
        inbox: coordinator_inbox,
        subtasks: subtask_mail,
        sources: job.sources.into_iter().map(|(operator, splits, task)| (operator, splits, parallelism[task])).collect(),
        sinks: job.sinks.into_iter().map(|sink| (sink.operator, sink.initialize)).collect(),
        result: result_sender,
        shared: shared.clone(),
    });
    let mains = per_core
        .into_iter()
        .map(|plans| -> CoreMain {
            let (shared, head) = (shared.clone(), head.take());
            Box::new(move |core, io| Box::pin(run_core(core, io, plans, shared, head)))
        })
        .collect();
    let group = cores.start(mains)?;
    Ok(JobHandle::new(result, coordinator, metrics, group))
}

/// Subtask `s` of every task with at least as many subtasks as cores lives on core `s % cores`, so that forward edges stay on their core; smaller
/// tasks begin at a core of their own each, so that they do not all meet on core 0.
fn place(task: usize, subtask: usize, parallelism: usize, cores: usize) -> usize {
    if parallelism >= cores { subtask % cores } else { (task + subtask) % cores }
}

async fn run_core(core: CoreId, io: Io, plans: Vec<SubtaskPlan>, shared: Shared, head: Option<CoordinatorPlan>) {
    let (ended_sender, mut ended) = mailbox::<()>();
    let mut registries = Vec::new();
    let mut running = plans.len();
    if let Some(head) = head {
        running += 1;
        let (io_handle, done) = (io.clone(), ended_sender.clone());
        let run = async move {
            head.run(io_handle).await;
            let _ = done.send(());
        };
        io.spawner().spawn(TaskClass::Latency, "coordinator", Box::pin(run));
    }
    for plan in plans {
        let name = Rc::new(TaskName { operators: plan.operators, subtask: plan.subtask, parallelism: plan.parallelism });
        let metrics = Rc::new(MetricRegistry::new(plan.subtask));
        registries.push(Rc::clone(&metrics));
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
            clock: TaskClock::new(&io),
            slice: Rc::new(SliceBudget::new(shared.settings.slice_records)),
            metrics: Rc::clone(&metrics),
            coordinator: shared.coordinator.clone(),
        };
        let driver = Driver {
            id: plan.id,
            name: name.to_string(),
            io: io.clone(),
            failure: Rc::clone(&cx.failure),
            clock: cx.clock.clone(),
            budget: Rc::clone(&cx.slice),
            metrics,
            coordinator: shared.coordinator.clone(),
            inbox: plan.inbox,
        };
        let build = plan.build;
        let done = ended_sender.clone();
        let run = async move {
            // Building runs user code too: `open`, and the clones of closures.
            match catch_unwind(AssertUnwindSafe(move || build(&mut cx))) {
                Ok(task) => driver.drive(task).await,
                Err(payload) => driver.fail_to_build(&*payload).await,
            }
            let _ = done.send(());
        };
        io.spawner().spawn(TaskClass::Throughput, &name.to_string(), Box::pin(run));
    }
    drop(ended_sender);
    let interval = Duration::from_millis(shared.settings.metrics_interval_ms);
    let mut next_report = io.clock().sleep_until(io.clock().now().after(interval));
    while running > 0 {
        let mut report = false;
        let gone = std::future::poll_fn(|cx| {
            if next_report.as_mut().poll(cx).is_ready() {
                report = true;
                return std::task::Poll::Ready(None);
            }
            ended.poll_recv(cx).map(Some)
        })
        .await;
        if report {
            registries.iter().for_each(|registry| shared.publish(registry.snapshot()));
            next_report = io.clock().sleep_until(io.clock().now().after(interval));
        }
        match gone {
            Some(Some(())) => running -= 1,
            // Every task has dropped its sender without a word: they were torn down with the core.
            Some(None) => break,
            None => {}
        }
    }
    tracing::debug!(core = core.0, "core has ended");
}

/// Runs a user's future, and turns a panic in it into its text.
async fn without_panic<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => std::task::Poll::Ready(Err(format!("it panicked: {}", panic_text(&*payload)))),
    })
    .await
}

/// The coordinator on its way to core 0.
struct CoordinatorPlan {
    name: String,
    inbox: MailboxReceiver<FromSubtask>,
    subtasks: Vec<Mailbox<ToSubtask>>,
    sources: Vec<(OperatorId, SourceSplits, usize)>,
    sinks: Vec<(OperatorId, SinkInitialize)>,
    result: Mailbox<Result<JobReport, JobError>>,
    shared: Shared,
}

impl CoordinatorPlan {
    async fn run(mut self, io: Io) {
        let started = io.clock().now();
        let mut splits: Vec<(OperatorId, Vec<Option<Box<dyn Any + Send>>>)> = Vec::new();
        let mut failure = None;
        for (operator, enumerate, parallelism) in std::mem::take(&mut self.sources) {
            let io = io.clone();
            let found = without_panic(async move { enumerate(io, parallelism).await }).await;
            match found.unwrap_or_else(|panic| Err(SourceError::Other(panic))) {
                Ok(found) => splits.push((operator, found.into_iter().map(Some).collect())),
                Err(error) => {
                    let operator = self.shared.operators[operator.0].name.clone();
                    failure.get_or_insert(match error {
                        SourceError::Invalid(reason) => JobError::Invalid(reason),
                        error => JobError::Source { operator, subtask: 0, reason: error.to_string() },
                    });
                }
            }
        }
        for (operator, initialize) in std::mem::take(&mut self.sinks) {
            if failure.is_some() {
                break;
            }
            let io = io.clone();
            let initialized = without_panic(async move { initialize(io).await }).await;
            if let Err(error) = initialized.unwrap_or_else(|panic| Err(SinkError::Invalid(panic))) {
                let operator = self.shared.operators[operator.0].name.clone();
                failure = Some(match error {
                    SinkError::Invalid(reason) => JobError::Invalid(reason),
                    SinkError::Io(source) => JobError::Sink { operator, subtask: 0, source },
                });
            }
        }
        let mut coordinator = Coordinator::new(self.subtasks.len(), splits.iter().map(|(source, splits)| (*source, splits.len())));
        let mut actions = match failure {
            Some(error) => coordinator.step(FromSubtask::Failed { error }),
            None => vec![],
        };
        loop {
            for action in actions {
                match action {
                    Action::Assign { source, subtask, split } => {
                        let of_source = splits.iter_mut().find(|(operator, _)| *operator == source);
                        let content = of_source.and_then(|(_, splits)| splits[split].take()).expect("invariant: a split is given out once");
                        let number = u32::try_from(split).expect("invariant: there are fewer than 2^32 splits");
                        self.tell(subtask, ToSubtask::Split { number, split: content });
                    }
                    Action::NoMoreSplits { subtask } => self.tell(subtask, ToSubtask::NoMoreSplits),
                    Action::StopAll => self.tell_all(|| ToSubtask::Stop),
                    Action::CommitAll => {
                        // From here on results may show.
                        io.observe("job.commit", &self.name, [0; 3]);
                        self.tell_all(|| ToSubtask::Commit);
                    }
                    Action::AbortAll => {
                        io.observe("job.abort", &self.name, [0; 3]);
                        self.tell_all(|| ToSubtask::Abort);
                    }
                    Action::End(result) => {
                        let metrics = self.shared.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        let elapsed = io.clock().now().since(started);
                        let report = result.map(|()| JobReport { job: self.name.clone(), elapsed, metrics });
                        drop(self.result.send(report));
                        return;
                    }
                }
            }
            // The handle and this core's own `Shared` hold senders, so the mailbox stays open as long as the coordinator runs.
            let Some(mut message) = self.inbox.recv().await else { return };
            if let FromSubtask::Ended { metrics, .. } = &mut message {
                self.shared.publish(std::mem::take(metrics));
            }
            actions = coordinator.step(message);
        }
    }

    /// A subtask that has ended has no use for messages.
    fn tell(&self, subtask: SubtaskId, message: ToSubtask) {
        drop(self.subtasks[subtask].send(message));
    }

    fn tell_all(&self, message: impl Fn() -> ToSubtask) {
        (0..self.subtasks.len()).for_each(|subtask| self.tell(subtask, message()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_neighbours_share_a_core_and_small_tasks_spread() {
        assert_eq!((0..4).map(|s| place(5, s, 4, 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!((0..3).map(|task| place(task, 0, 1, 2)).collect::<Vec<_>>(), [0, 1, 0]);
    }
}
