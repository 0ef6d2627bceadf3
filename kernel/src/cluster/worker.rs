//! A worker: a process that runs subtasks for a coordinator elsewhere.
//!
//! It connects, proves who it is, builds the job from the options that it is told, and brings what is deployed onto its cores. When the connection is lost
//! it stops everything that runs, waits until it is gone, and looks for the coordinator again, for ever: one that comes back, or its successor, finds a
//! worker with nothing left of an older attempt. It ends when the coordinator says that the job has ended, when it is refused, or when it is stopped.

use super::auth::{AuthError, Authenticator, Purpose, Side};
use super::codec::{MESSAGE_BYTES_MAX, TooLong};
use super::config::{Heartbeat, WorkerConfig};
use super::connection::{Connection, ConnectionError, Talk};
use super::deadline::within;
use super::message::Message;
use super::reception::HANDSHAKE;
use super::share::Share;
use crate::checkpoint::Attempt;
use crate::exchange::Door;
use crate::graph::Job;
use crate::metrics_http;
use crate::runtime::{
    Agent, CoreOrder, Deployment, FromSubtask, JobError, JobMetrics, Metric, Shared, ToCoordinator, ToWorker, WorkerId, panic_text,
    run_core,
};
use core::net::SocketAddr;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{CoreGroup, CoreId, CoreMain, Cores, Io, IoError, LocalBoxFuture, Mailbox, MailboxReceiver, TaskClass, block_on, mailbox};

/// The first pause after a failure to reach the coordinator; each is twice as long as the one before, up to the configured one.
const RECONNECT_MIN: Duration = Duration::from_millis(50);

/// How long the last words to a coordinator may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Messages that are taken before others on this core have their turn.
const BATCH: usize = 64;

/// Builds the job from the options.
type Build = Box<dyn Fn(&[String]) -> Result<Job, JobError> + Send>;

/// How a worker came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Why the job failed, if it did.
    pub failure: Option<String>,
    /// Somebody stopped the worker while the job went on.
    pub stopped: bool,
    /// How often it had joined a coordinator.
    pub sessions: u32,
}

/// A running worker. It can be awaited on any executor, or waited for on a thread; dropping it lets the worker run on.
#[must_use = "a worker runs on when its handle is dropped, and its failure goes unseen"]
pub struct WorkerHandle {
    result: MailboxReceiver<Result<WorkerReport, JobError>>,
    control: WorkerControl,
    group: Option<Box<dyn CoreGroup>>,
}

/// Steers a running worker from any thread. Clones steer the same one.
#[derive(Clone)]
pub struct WorkerControl {
    stop: Mailbox<()>,
    metrics: Arc<Mutex<JobMetrics>>,
}

impl WorkerControl {
    /// Ends the worker: what it runs is stopped, and the coordinator goes on without it.
    pub fn stop(&self) {
        let _ = self.stop.send(());
    }

    /// The numbers of what runs here, at most some tenths of a second old.
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl WorkerHandle {
    /// Waits on the current thread, which must not be one of the worker's cores, until the worker has ended.
    ///
    /// # Errors
    /// The reason why it could not work: it was refused, or the job could not be built. That the job has failed is part of the report.
    pub fn wait(self) -> Result<WorkerReport, JobError> {
        block_on(self)
    }

    /// See [`WorkerControl::stop`].
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Something to steer the worker with from elsewhere while this handle is waited for.
    #[must_use]
    pub fn control(&self) -> WorkerControl {
        self.control.clone()
    }
}

impl Future for WorkerHandle {
    type Output = Result<WorkerReport, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(self.result.poll_recv(cx));
        if let Some(group) = self.group.take() {
            group.join();
        }
        let torn_down = || JobError::Internal { place: "core 0".to_owned(), message: "the worker is gone".to_owned() };
        Poll::Ready(result.unwrap_or_else(|| Err(torn_down())))
    }
}

/// Starts a worker on the first of `cores`. `build` describes the job from the options that the coordinator was given; it must depend on nothing else, and is
/// called again for each coordinator that the worker joins. It has ten seconds.
///
/// # Errors
/// If the configuration contradicts itself or is not safe, or the cores cannot be started.
pub fn start_worker(
    cores: &dyn Cores,
    config: WorkerConfig,
    build: impl Fn(&[String]) -> Result<Job, JobError> + Send + 'static,
) -> Result<WorkerHandle, JobError> {
    config.check().map_err(JobError::Invalid)?;
    let metrics = Arc::new(Mutex::new(JobMetrics::default()));
    let (stop, stopped) = mailbox();
    let (result_sender, result) = mailbox();
    let (open, opened) = mailbox();
    let (ways, orders): (Vec<_>, Vec<_>) = (0..config.cores).map(|_| mailbox()).unzip();
    let build: Build = Box::new(build);
    let mut head = Some((ways, opened, stopped, build, result_sender, Arc::clone(&metrics)));
    let of_core = |orders: MailboxReceiver<CoreOrder>| -> CoreMain {
        let (config, open, head) = (config.clone(), open.clone(), head.take());
        Box::new(move |core, io| {
            Box::pin(async move {
                let auth = Authenticator::new(&io, core, config.secret.clone(), HANDSHAKE);
                let door = Door::open(&io, config.door(core.0), auth.clone()).await;
                drop(open.send((core, door.as_ref().map(Door::address).map_err(ToString::to_string))));
                drop(open);
                if let Some((ways, opened, stopped, build, result, metrics)) = head {
                    let worker = Worker { io: io.clone(), auth, config, build, ways, doors: Vec::new(), metrics, sessions: 0 };
                    let run = async move {
                        let report = worker.run(opened, stopped).await;
                        drop(result.send(report));
                    };
                    io.spawner().spawn(TaskClass::Latency, "worker", Box::pin(run));
                }
                // Without a door the worker ends before anything is ordered.
                run_core(core, io, door.ok(), orders).await;
            })
        })
    };
    let mains = orders.into_iter().map(of_core).collect();
    let group = cores.start(mains)?;
    Ok(WorkerHandle { result, control: WorkerControl { stop, metrics }, group: Some(group) })
}

/// How a session with a coordinator ends.
enum SessionEnd {
    /// The job has ended.
    Ended { failure: Option<String> },
    /// Somebody stopped the worker.
    Stopped,
    /// There is no use in another one.
    Refused(JobError),
    /// The coordinator cannot be reached, or is gone.
    Lost(String),
}

impl From<ConnectionError> for SessionEnd {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<IoError> for SessionEnd {
    fn from(error: IoError) -> Self {
        Self::Lost(error.to_string())
    }
}

type Doors = MailboxReceiver<(CoreId, Result<SocketAddr, String>)>;

struct Worker {
    io: Io,
    auth: Authenticator,
    config: WorkerConfig,
    build: Build,
    /// The way to each core. The cores end when it does.
    ways: Vec<Mailbox<CoreOrder>>,
    doors: Vec<SocketAddr>,
    metrics: Arc<Mutex<JobMetrics>>,
    sessions: u32,
}

impl Worker {
    async fn run(mut self, doors: Doors, mut stopped: MailboxReceiver<()>) -> Result<WorkerReport, JobError> {
        self.doors = open_doors(doors, self.config.cores).await?;
        let mut random = self.io.rng("cluster-reconnect");
        let mut pause = RECONNECT_MIN;
        loop {
            let sessions_before = self.sessions;
            let reason = match self.session(&mut stopped).await {
                SessionEnd::Ended { failure } => return Ok(WorkerReport { failure, stopped: false, sessions: self.sessions }),
                SessionEnd::Stopped => return Ok(WorkerReport { failure: None, stopped: true, sessions: self.sessions }),
                SessionEnd::Refused(error) => return Err(error),
                SessionEnd::Lost(reason) => reason,
            };
            if self.sessions > sessions_before {
                pause = RECONNECT_MIN;
                tracing::warn!(target: "thalweg::cli", %reason, "the coordinator is lost; looking for it again");
            } else {
                tracing::debug!(%reason, "the coordinator cannot be reached");
            }
            // Workers that have lost the same coordinator do not all come back at once.
            let half = pause / 2;
            let jitter = Duration::from_nanos(random.below(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1)));
            let sleep = self.io.clock().sleep_until(self.io.clock().now().after(half + jitter));
            if unless_stopped(&mut stopped, sleep).await.is_none() {
                return Ok(WorkerReport { failure: None, stopped: true, sessions: self.sessions });
            }
            pause = (2 * pause).min(self.config.reconnect_max);
        }
    }

    /// Joins the coordinator and works for it until one of them wants no more or the connection is lost. Nothing runs afterwards.
    async fn session(&mut self, stopped: &mut MailboxReceiver<()>) -> SessionEnd {
        let joining = unless_stopped(stopped, self.join()).await;
        let Joined { job, talk, heartbeat, worker } = match joining {
            None => return SessionEnd::Stopped,
            Some(Err(end)) => return end,
            Some(Ok(joined)) => joined,
        };
        if let Err(end) = self.show_metrics(&job).await {
            return end;
        }
        self.sessions += 1;
        self.io.observe("worker.joined", &job.name, [worker.0 as i64, i64::from(self.sessions), 0]);
        tracing::info!(target: "thalweg::cli", coordinator = %self.config.coordinator, "joined as worker {worker}");
        let (reports, inbox) = mailbox();
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = JobMetrics::default();
        let shared = Shared::new(&job, reports, Arc::clone(&self.metrics));
        let agent = Agent::new(self.io.clone(), Rc::clone(&job), self.ways.clone(), shared);
        let mut session = Session {
            io: self.io.clone(),
            share: Share::new(job.operators.len()),
            job,
            cores: self.config.cores,
            connection: Connection::new(self.io.clone(), talk, heartbeat),
            local: Local { agent: Some(agent), working: None, work: VecDeque::new(), inbox },
            metrics: Arc::clone(&self.metrics),
            next_metrics: None,
        };
        let end = poll_fn(|cx| session.poll(stopped, cx)).await;
        let end = session.close(end).await;
        self.io.observe("worker.closed", "worker", [worker.0 as i64, i64::from(self.sessions), 0]);
        end
    }

    /// Opens the endpoint for metrics, once.
    async fn show_metrics(&mut self, job: &Job) -> Result<(), SessionEnd> {
        let Some(endpoint) = self.config.metrics_endpoint.take() else { return Ok(()) };
        let metrics = Arc::clone(&self.metrics);
        let source = move || metrics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let served = metrics_http::serve(&self.io, &endpoint, &job.name, source).await;
        served.map_err(|error| {
            SessionEnd::Refused(JobError::Invalid(format!("metrics cannot be shown: {error}; choose another address or port")))
        })
    }

    /// Connects, shakes hands and builds the job.
    async fn join(&mut self) -> Result<Joined, SessionEnd> {
        let limit = self.config.heartbeat.timeout;
        let connected = within(&self.io, limit, self.io.net().connect(self.config.coordinator)).await;
        let (mut read, mut write) = connected.ok_or_else(|| SessionEnd::Lost(format!("no connection came about within {limit:?}")))??;
        if let Err(error) = self.auth.authenticate(&mut *read, &mut *write, Side::Caller, Purpose::Control).await {
            return Err(self.not_authenticated(&error));
        }
        let mut talk = Talk::new(read, write, MESSAGE_BYTES_MAX);
        let registered = within(&self.io, HANDSHAKE, self.register(&mut talk)).await;
        let (job, heartbeat, worker) = registered.ok_or_else(|| SessionEnd::Lost(format!("it did not answer within {HANDSHAKE:?}")))??;
        Ok(Joined { job, talk, heartbeat, worker })
    }

    /// A worker that was never let in has been started wrongly. One that was is not sent home by whatever answers at that address today.
    fn not_authenticated(&self, error: &AuthError) -> SessionEnd {
        let coordinator = self.config.coordinator;
        let reason = format!("the coordinator at {coordinator}: {error}");
        match error {
            AuthError::Io(_) | AuthError::Closed | AuthError::Timeout(_) | AuthError::Stranger => SessionEnd::Lost(reason),
            _ if self.sessions > 0 => SessionEnd::Lost(reason),
            _ => SessionEnd::Refused(JobError::Invalid(reason)),
        }
    }

    async fn register(&self, talk: &mut Talk) -> Result<(Rc<Job>, Heartbeat, WorkerId), SessionEnd> {
        let name = self.doors.first().map_or_else(|| "a worker".to_owned(), ToString::to_string);
        say(talk, Message::Hello { binary: self.config.binary, name }).await?;
        let (options, heartbeat) = match talk.hear().await? {
            Message::Options { options, heartbeat } => (options, heartbeat),
            other => return Err(self.unexpected(other)),
        };
        heartbeat.check().map_err(SessionEnd::Lost)?;
        let built = catch_unwind(AssertUnwindSafe(|| (self.build)(&options)));
        let built = built.unwrap_or_else(|payload| {
            Err(JobError::Invalid(format!("describing the job from the coordinator's options panicked: {}", panic_text(&*payload))))
        });
        let job = Rc::new(built.map_err(SessionEnd::Refused)?);
        job.settings.check().map_err(|reason| SessionEnd::Refused(JobError::Invalid(reason)))?;
        let registration = Message::Register { graph: job.graph_fingerprint(), cores: self.config.cores, doors: self.doors.clone() };
        say(talk, registration).await?;
        match talk.hear().await? {
            Message::Accepted { worker } => Ok((job, heartbeat, worker)),
            other => Err(self.unexpected(other)),
        }
    }

    fn unexpected(&self, message: Message) -> SessionEnd {
        match message {
            Message::Refused { reason } => {
                let coordinator = self.config.coordinator;
                SessionEnd::Refused(JobError::Invalid(format!("the coordinator at {coordinator} has refused this worker: {reason}")))
            }
            other => {
                SessionEnd::Lost(format!("the coordinator does not keep to the protocol: {} has no place in a handshake", other.name()))
            }
        }
    }
}

async fn say(talk: &mut Talk, message: Message) -> Result<(), SessionEnd> {
    let too_long = |error: TooLong| SessionEnd::Refused(JobError::Invalid(error.to_string()));
    talk.say(&message).await?.map_err(too_long)
}

/// The addresses of all doors, by core.
async fn open_doors(mut doors: Doors, cores: usize) -> Result<Vec<SocketAddr>, JobError> {
    let mut addresses = vec![None; cores];
    while let Some((core, opened)) = doors.recv().await {
        let cure = "choose another data address or port";
        let address = opened.map_err(|error| JobError::Invalid(format!("other workers cannot reach core {}: {error}; {cure}", core.0)))?;
        if let Some(place) = addresses.get_mut(core.0) {
            *place = Some(address);
        }
        if addresses.iter().all(Option::is_some) {
            break;
        }
    }
    let all: Option<Vec<_>> = addresses.into_iter().collect();
    all.ok_or_else(|| JobError::Internal { place: "a worker".to_owned(), message: "a core has ended before it began".to_owned() })
}

/// What `future` gives, or `None` if the worker is stopped before.
async fn unless_stopped<F: Future>(stopped: &mut MailboxReceiver<()>, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(Some(())) = stopped.poll_recv(cx) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

struct Joined {
    job: Rc<Job>,
    talk: Talk,
    heartbeat: Heartbeat,
    worker: WorkerId,
}

/// Something for the agent.
enum Work {
    Order(ToWorker),
    Ended(Attempt, usize),
}

/// What runs in this process.
struct Local {
    /// Away while it works.
    agent: Option<Agent>,
    /// Reading the state of a checkpoint may take long, and signs of life go on meanwhile.
    working: Option<LocalBoxFuture<Agent>>,
    /// What waits for the agent; bounded by what the protocol allows to be under way.
    work: VecDeque<Work>,
    /// What subtasks say.
    inbox: MailboxReceiver<ToCoordinator>,
}

impl Local {
    /// Lets the agent do what waits for it, as far as that is possible now.
    fn poll_agent(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(working) = &mut self.working {
                let Poll::Ready(agent) = working.as_mut().poll(cx) else { return };
                self.working = None;
                self.agent = Some(agent);
            }
            let Some(mut agent) = self.agent.take() else { return };
            match self.work.pop_front() {
                None => return self.agent = Some(agent),
                Some(Work::Ended(attempt, subtask)) => {
                    agent.ended(attempt, subtask);
                    self.agent = Some(agent);
                }
                Some(Work::Order(order)) => {
                    self.working = Some(Box::pin(async move {
                        agent.take(order).await;
                        agent
                    }));
                }
            }
        }
    }

    /// The next that a subtask says, if there is something now.
    fn poll_report(&mut self, cx: &mut Context<'_>) -> Option<(Attempt, FromSubtask)> {
        loop {
            match self.inbox.poll_recv(cx) {
                Poll::Ready(Some(ToCoordinator::FromSubtask { attempt, message })) => {
                    if let FromSubtask::Ended { subtask, .. } = &message {
                        self.work.push_back(Work::Ended(attempt, *subtask));
                    }
                    return Some((attempt, message));
                }
                // Nothing else is said here.
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }

    /// Stops everything that runs; ready when it is gone.
    async fn close(mut self) {
        // What waits to be ordered is about an attempt that is over here.
        self.work.retain(|work| matches!(work, Work::Ended(..)));
        let mut is_told = false;
        poll_fn(|cx| {
            loop {
                self.poll_agent(cx);
                if let Some(agent) = self.agent.as_mut().filter(|_| !is_told) {
                    agent.close_all();
                    is_told = true;
                }
                if self.poll_report(cx).is_none() {
                    break;
                }
            }
            let is_idle = is_told && self.agent.as_ref().is_some_and(Agent::is_idle);
            if is_idle { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A worker that belongs to a coordinator.
struct Session {
    io: Io,
    job: Rc<Job>,
    cores: usize,
    connection: Connection,
    share: Share,
    local: Local,
    metrics: Arc<Mutex<JobMetrics>>,
    next_metrics: Option<LocalBoxFuture<()>>,
}

impl Session {
    fn poll(&mut self, stopped: &mut MailboxReceiver<()>, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        if let Poll::Ready(Some(())) = stopped.poll_recv(cx) {
            return Poll::Ready(SessionEnd::Stopped);
        }
        self.local.poll_agent(cx);
        while let Some((attempt, message)) = self.local.poll_report(cx) {
            self.report(attempt, message);
            self.local.poll_agent(cx);
        }
        self.poll_metrics(cx);
        for _ in 0..BATCH {
            let message = match self.connection.poll_next(cx) {
                Poll::Ready(Ok(message)) => message,
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending => return Poll::Pending,
            };
            if let Some(end) = self.take(message, cx) {
                return Poll::Ready(end);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(&mut self, message: Message, cx: &mut Context<'_>) -> Option<SessionEnd> {
        let broken = |fault: String| Some(SessionEnd::Lost(format!("the coordinator does not keep to the protocol: {fault}")));
        match message {
            Message::Order(ToWorker::End { failure }) => return Some(SessionEnd::Ended { failure }),
            Message::Order(order) => {
                if let ToWorker::Deploy(deployment) = &order {
                    if let Err(fault) = self.check(deployment) {
                        return broken(fault);
                    }
                    self.share.deployed(deployment);
                    self.numbers(JobMetrics::begin_attempt);
                }
                self.local.work.push_back(Work::Order(order));
                self.local.poll_agent(cx);
            }
            other => return broken(format!("{} has no place here", other.name())),
        }
        None
    }

    /// A plan that this process cannot carry out would break what the engine asserts of itself.
    fn check(&self, deployment: &Deployment) -> Result<(), String> {
        let Deployment { layout, seat, .. } = deployment;
        if layout.parallelism.len() != self.job.tasks.len() {
            return Err(format!("a plan for {} tasks, and the job has {}", layout.parallelism.len(), self.job.tasks.len()));
        }
        let key_groups = self.job.key_groups.count() as usize;
        if layout.parallelism.iter().any(|parallelism| *parallelism > key_groups) {
            return Err(format!("a plan with more subtasks than the {key_groups} key groups"));
        }
        if layout.seats.get(*seat).is_none_or(|seat| seat.cores != self.cores) {
            return Err("a plan for a worker with another number of cores".to_owned());
        }
        if layout.seats.len() > 1 && layout.seats.iter().any(|seat| seat.doors.len() != seat.cores) {
            return Err("a plan with workers that cannot be reached".to_owned());
        }
        Ok(())
    }

    /// Passes on what a subtask says.
    fn report(&mut self, attempt: Attempt, message: FromSubtask) {
        if let FromSubtask::Ended { subtask, .. } = &message
            && self.share.ended(attempt, *subtask)
        {
            // After the last word of the last subtask nobody may listen any more.
            self.send_metrics();
        }
        if let Err(too_long) = self.connection.send(&Message::Report { attempt, message }) {
            let message = FromSubtask::Failed { error: JobError::Invalid(too_long.to_string()) };
            let failed = self.connection.send(&Message::Report { attempt, message });
            assert!(failed.is_ok(), "the reason is short");
        }
    }

    fn poll_metrics(&mut self, cx: &mut Context<'_>) {
        let interval = Duration::from_millis(self.job.settings.metrics_interval_ms);
        loop {
            let next = self.next_metrics.get_or_insert_with(|| self.io.clock().sleep_until(self.io.clock().now().after(interval)));
            if next.as_mut().poll(cx).is_pending() {
                return;
            }
            self.next_metrics = None;
            self.send_metrics();
        }
    }

    fn send_metrics(&mut self) {
        let metrics: Vec<Metric> = self.numbers(|numbers| numbers.iter().cloned().collect());
        if metrics.is_empty() || !self.connection.is_clear() {
            return;
        }
        if let Err(error) = self.connection.send(&Message::Metrics(metrics)) {
            tracing::warn!(%error, "the numbers of this worker are not reported");
        }
    }

    fn numbers<R>(&self, change: impl FnOnce(&mut JobMetrics) -> R) -> R {
        change(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says the last words, stops everything that runs, and waits until it is gone.
    async fn close(self, end: SessionEnd) -> SessionEnd {
        let Self { mut connection, local, .. } = self;
        match &end {
            // The coordinator learns it at once, and not from the silence of a worker that is busy closing.
            SessionEnd::Lost(_) | SessionEnd::Refused(_) => drop(connection),
            SessionEnd::Ended { .. } => connection.finish(GOODBYE).await,
            SessionEnd::Stopped => {
                let farewell = connection.send(&Message::Leaving);
                assert!(farewell.is_ok(), "a farewell is short");
                connection.finish(GOODBYE).await;
            }
        }
        local.close().await;
        end
    }
}
