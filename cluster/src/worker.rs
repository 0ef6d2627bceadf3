//! A worker: a process that runs subtasks for a coordinator elsewhere.
//!
//! It connects, proves who it is, builds the job from the options that it is told, and deploys subtasks onto its cores. When the connection is lost it
//! stops all subtasks, waits until they are gone, and looks for the coordinator again, for ever: a coordinator that comes back, or its successor, finds a
//! worker with nothing left of an older attempt. It ends when the coordinator says that the job has ended, when it is refused, or when it is stopped.

use super::admission::HANDSHAKE;
use super::codec::{MESSAGE_BYTES_MAX, TooLong};
use super::config::{Heartbeat, WorkerConfig};
use super::connection::{Connection, Talk};
use super::message::Message;
use super::session::{Local, Session, SessionEnd};
use crate::auth::{AuthError, Authenticator, Purpose, Side};
use crate::links::Door;
use core::net::SocketAddr;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::within;
use thalweg_io::{CoreGroup, CoreId, CoreMain, Cores, Io, IoError, Mailbox, MailboxReceiver, TaskClass, block_on, mailbox};
use thalweg_kernel::Job;
use thalweg_kernel::worker::{Agent, CoreOrder, CoreShared, WorkerId, panic_text, run_core};
use thalweg_kernel::{JobError, JobMetrics, Watched};

/// The first pause after a failure to reach the coordinator; each pause is twice as long as the one before, up to the configured maximum.
const RECONNECT_MIN: Duration = Duration::from_millis(50);

/// How many different reasons for not joining a coordinator are logged.
const REASONS_MAX: usize = 16;

/// Builds the job from the options, and from the bytes that describe it besides them.
type Build = Box<dyn Fn(&[String], &Arc<[u8]>) -> Result<Job, JobError> + Send>;

/// How a worker ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Why the job failed, if it did.
    pub failure: Option<String>,
    /// Whether the worker was stopped while the job went on.
    pub stopped: bool,
    /// How many times it joined a coordinator.
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
    /// Stops the worker: its subtasks are stopped, and the coordinator goes on without it.
    pub fn stop(&self) {
        let _ = self.stop.send(());
    }

    /// The metrics of this worker's subtasks, at most some tenths of a second old.
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl WorkerHandle {
    /// Waits on the current thread, which must not be one of the worker's cores, until the worker has ended.
    ///
    /// # Errors
    /// The reason why it could not work: it was refused, or the job could not be built. A failure of the job is part of the report instead.
    pub fn wait(self) -> Result<WorkerReport, JobError> {
        block_on(self)
    }

    /// See [`WorkerControl::stop`].
    pub fn stop(&self) {
        self.control.stop();
    }

    /// A control that steers the worker from elsewhere while this handle is waited for.
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

/// Starts a worker on the first of `cores`. `build` describes the job from the options that the coordinator was given; it must depend on nothing else, and
/// is called again for each coordinator that the worker joins. It has ten seconds. A job that is described by bytes besides its options is refused.
///
/// # Errors
/// If the configuration contradicts itself or is not safe, or the cores cannot be started.
pub fn start_worker(
    cores: &dyn Cores,
    config: WorkerConfig,
    build: impl Fn(&[String]) -> Result<Job, JobError> + Send + 'static,
) -> Result<WorkerHandle, JobError> {
    start_worker_with_description(cores, config, move |options, description| {
        if !description.is_empty() {
            return Err(JobError::invalid(
                "the coordinator describes the job by bytes beside its options, and this worker does not take them: start it with \
                 start_worker_with_description"
                    .to_owned(),
            ));
        }
        build(options)
    })
}

/// The same for a job that is described by bytes besides its options
/// ([`set_description_bytes`](thalweg_kernel::StreamExecutionEnvironment::set_description_bytes)): `build` is given both, as the coordinator had them. The
/// bytes are empty if the coordinator had none; `build` need not set them for the job that it describes.
///
/// # Errors
/// As [`start_worker`].
pub fn start_worker_with_description(
    cores: &dyn Cores,
    config: WorkerConfig,
    build: impl Fn(&[String], &Arc<[u8]>) -> Result<Job, JobError> + Send + 'static,
) -> Result<WorkerHandle, JobError> {
    config.check().map_err(JobError::invalid)?;
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
                let (door, opened) = match door {
                    Ok(door) => (Some(door.clone()), Ok(door.address())),
                    Err(error) => (None, Err(error)),
                };
                drop(open.send((core, opened)));
                drop(open);
                if let Some((ways, opened, stopped, build, result, metrics)) = head {
                    let worker = Worker { io: io.clone(), auth, config, build, ways, doors: Vec::new(), metrics, sessions: 0 };
                    let run = async move {
                        let report = worker.run(opened, stopped).await;
                        drop(result.send(report));
                    };
                    io.spawner().spawn(TaskClass::Latency, "worker", Box::pin(run));
                }
                // If a door cannot be opened the worker ends before any order.
                run_core(core, io, door.map(|door| Box::new(door) as _), orders).await;
            })
        })
    };
    let mains = orders.into_iter().map(of_core).collect();
    let group = cores.start(mains)?;
    Ok(WorkerHandle { result, control: WorkerControl { stop, metrics }, group: Some(group) })
}

type Doors = MailboxReceiver<(CoreId, Result<SocketAddr, IoError>)>;

struct Worker {
    io: Io,
    auth: Authenticator,
    config: WorkerConfig,
    build: Build,
    /// A mailbox to each core. A core ends when its mailbox is dropped.
    ways: Vec<Mailbox<CoreOrder>>,
    doors: Vec<SocketAddr>,
    metrics: Arc<Mutex<JobMetrics>>,
    sessions: u32,
}

impl Worker {
    async fn run(mut self, doors: Doors, mut stopped: MailboxReceiver<()>) -> Result<WorkerReport, JobError> {
        self.doors = open_doors(doors, self.config.cores).await?;
        let mut random = self.io.rng("cluster-reconnect");
        let (mut pause, mut reasons) = (RECONNECT_MIN, Reasons::default());
        loop {
            let sessions_before = self.sessions;
            let reason = match self.session(&mut stopped).await {
                SessionEnd::Ended { failure } => return Ok(WorkerReport { failure, stopped: false, sessions: self.sessions }),
                SessionEnd::Stopped => return Ok(WorkerReport { failure: None, stopped: true, sessions: self.sessions }),
                SessionEnd::Refused(error) => return Err(error),
                SessionEnd::Lost(reason) => reason,
            };
            if self.sessions > sessions_before {
                (pause, reasons) = (RECONNECT_MIN, Reasons::default());
                tracing::warn!(target: "thalweg::job", %reason, "the coordinator is lost; looking for it again");
            } else if reasons.is_new(&reason) {
                let coordinator = self.config.coordinator;
                tracing::warn!(target: "thalweg::job", %coordinator, %reason, "the coordinator cannot be joined; trying again and again");
            } else {
                tracing::debug!(%reason, "the coordinator cannot be joined");
            }
            // So that workers that have lost the same coordinator do not all come back at once.
            let half = pause / 2;
            let jitter = Duration::from_nanos(random.below(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1)));
            let sleep = self.io.clock().sleep_until(self.io.clock().now().after(half + jitter));
            if unless_stopped(&mut stopped, sleep).await.is_none() {
                return Ok(WorkerReport { failure: None, stopped: true, sessions: self.sessions });
            }
            pause = (2 * pause).min(self.config.reconnect_max);
        }
    }

    /// Joins the coordinator and works for it until either side ends the session or the connection is lost. No subtasks run afterwards.
    async fn session(&mut self, stopped: &mut MailboxReceiver<()>) -> SessionEnd {
        let joining = unless_stopped(stopped, self.join()).await;
        let Joined { job, talk, heartbeat, worker } = match joining {
            None => return SessionEnd::Stopped,
            Some(Err(end)) => return end,
            Some(Ok(joined)) => joined,
        };
        if let Err(end) = self.begin_observers(&job).await {
            return end;
        }
        self.sessions += 1;
        self.io.observe("worker.joined", job.name(), [worker.0 as i64, i64::from(self.sessions), 0]);
        tracing::info!(target: "thalweg::job", coordinator = %self.config.coordinator, "joined as worker {worker}");
        let (reports, inbox) = mailbox();
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = JobMetrics::default();
        let shared = CoreShared::new(&job, reports, Arc::clone(&self.metrics));
        let agent = Agent::new(self.io.clone(), Rc::clone(&job), self.ways.clone(), shared);
        let connection = Connection::new(self.io.clone(), talk, heartbeat);
        let (local, metrics) = (Local::new(agent, inbox), Arc::clone(&self.metrics));
        let mut session = Session::new(self.io.clone(), job, self.config.cores, connection, local, metrics);
        let end = poll_fn(|cx| session.poll(stopped, cx)).await;
        let end = session.close(end).await;
        self.io.observe("worker.closed", "worker", [worker.0 as i64, i64::from(self.sessions), 0]);
        end
    }

    /// Starts the observers, once.
    async fn begin_observers(&mut self, job: &Job) -> Result<(), SessionEnd> {
        for observer in std::mem::take(&mut self.config.observers) {
            observer.begin(Watched::new(job.name(), &self.io, &self.metrics)).await.map_err(SessionEnd::Refused)?;
        }
        Ok(())
    }

    /// Connects, performs the handshake and builds the job.
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

    /// A worker that was never let in has been started wrongly. A worker that was is not sent home by another process at that address.
    fn not_authenticated(&self, error: &AuthError) -> SessionEnd {
        let coordinator = self.config.coordinator;
        let reason = format!("the coordinator at {coordinator}: {error}");
        match error {
            AuthError::Io(_) | AuthError::Closed | AuthError::Timeout(_) | AuthError::Stranger => SessionEnd::Lost(reason),
            _ if self.sessions > 0 => SessionEnd::Lost(reason),
            _ => SessionEnd::Refused(JobError::invalid(reason)),
        }
    }

    async fn register(&self, talk: &mut Talk) -> Result<(Rc<Job>, Heartbeat, WorkerId), SessionEnd> {
        let name = self.doors.first().map_or_else(|| "a worker".to_owned(), ToString::to_string);
        say(talk, Message::Hello { binary: self.config.binary, name }).await?;
        let (options, description, heartbeat) = match talk.hear().await? {
            Message::Options { options, description, heartbeat } => (options, Arc::<[u8]>::from(description), heartbeat),
            other => return Err(self.unexpected(other)),
        };
        heartbeat.check().map_err(SessionEnd::Lost)?;
        let built = catch_unwind(AssertUnwindSafe(|| (self.build)(&options, &description)));
        let built = built.unwrap_or_else(|payload| {
            Err(JobError::invalid(format!("describing the job from the coordinator's options panicked: {}", panic_text(&*payload))))
        });
        let job = Rc::new(built.map_err(SessionEnd::Refused)?.with_description_bytes(description));
        job.settings().check().map_err(|reason| SessionEnd::Refused(JobError::invalid(reason)))?;
        let registration = Message::Register { graph: job.plan().fingerprint(), cores: self.config.cores, doors: self.doors.clone() };
        say(talk, registration).await?;
        match talk.hear().await? {
            Message::Accepted { worker } => Ok((job, heartbeat, worker)),
            other => Err(self.unexpected(other)),
        }
    }

    fn unexpected(&self, message: Message) -> SessionEnd {
        match message {
            Message::Refused { reason, is_final: false } => {
                SessionEnd::Lost(format!("the coordinator has no place for this worker: {reason}"))
            }
            Message::Refused { reason, is_final: true } => {
                let coordinator = self.config.coordinator;
                SessionEnd::Refused(JobError::invalid(format!("the coordinator at {coordinator} has refused this worker: {reason}")))
            }
            other => {
                SessionEnd::Lost(format!("the coordinator does not keep to the protocol: {} has no place in a handshake", other.name()))
            }
        }
    }
}

async fn say(talk: &mut Talk, message: Message) -> Result<(), SessionEnd> {
    let too_long = |error: TooLong| SessionEnd::Refused(JobError::invalid(error.to_string()));
    talk.say(&message).await?.map_err(too_long)
}

/// The addresses of all doors, by core.
async fn open_doors(mut doors: Doors, cores: usize) -> Result<Vec<SocketAddr>, JobError> {
    let mut addresses = vec![None; cores];
    while let Some((core, opened)) = doors.recv().await {
        let cure = "choose another data address or port";
        let what = || format!("other workers cannot reach core {}", core.0);
        let address = opened.map_err(|error| JobError::cannot_listen(what(), error, cure))?;
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

/// The output of `future`, or `None` if the worker is stopped before.
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

/// Why no coordinator could be joined since the last session: each reason is logged once, not at every try.
#[derive(Default)]
struct Reasons(Vec<String>);

impl Reasons {
    fn is_new(&mut self, reason: &str) -> bool {
        let is_new = self.0.len() < REASONS_MAX && !self.0.iter().any(|known| known == reason);
        if is_new {
            self.0.push(reason.to_owned());
        }
        is_new
    }
}

struct Joined {
    job: Rc<Job>,
    talk: Talk,
    heartbeat: Heartbeat,
    worker: WorkerId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_shown_once_and_not_endlessly_many() {
        let mut reasons = Reasons::default();
        let shown = |reasons: &mut Reasons, texts: &[&str]| texts.iter().filter(|text| reasons.is_new(text)).count();
        assert_eq!(shown(&mut reasons, &["nobody listens", "nobody listens", "no answer", "nobody listens"]), 2);
        assert_eq!((0..100).filter(|n| reasons.is_new(&n.to_string())).count(), REASONS_MAX - 2);
    }
}
