//! The metrics of a running job for Prometheus: `GET /metrics` over HTTP/1.1, and `GET /health`.
//!
//! A [`MetricsEndpoint`] is an observer that is added to a job, a coordinator or a worker. All its I/O goes through the door, so it is a task on core 0
//! like any other, in the simulator, too. It only ever answers: a request changes nothing, and any input costs a bounded amount. There are at most
//! `CONNECTIONS_MAX` connections, of which the oldest that has sent nothing yet makes room for a new one; a request's head has at most `HEAD_BYTES_MAX`
//! bytes and must be complete within `HEAD_DEADLINE`; an answer must be taken within `ANSWER_DEADLINE`; long answers are written in slices. One request per
//! connection: keeping a connection for a scrape every few seconds would save too little to be worth an idle connection.
//!
//! No encryption and no passwords: it listens on the loopback interface by default, and exposes only numbers and names of operators.

mod connection;
mod exposition;
mod names;
mod request;

pub use names::MetricNames;

use connection::{Answers, attend};
use core::net::SocketAddr;
use exposition::Exposition;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;
use thalweg_io::{Acceptor, Io, Listener, LocalBoxFuture, TaskClass, listen};
use thalweg_kernel::{JobError, JobObserver, Watched};

/// The most connections: Prometheus needs one, and a person with a browser a few.
const CONNECTIONS_MAX: usize = 16;

/// The pause after an accepted connection in a flood: bounds how many per second are accepted and dropped.
const FLOOD_PAUSE: Duration = Duration::from_millis(1);

/// The endpoint where a job exposes its metrics to Prometheus.
///
/// ```
/// # mod thalweg { pub use thalweg_kernel::*; pub use thalweg_metrics::*; }
/// use thalweg::{MetricsEndpoint, StreamExecutionEnvironment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = MetricsEndpoint::new("127.0.0.1:0".parse()?);
/// let env = StreamExecutionEnvironment::new();
/// env.add_observer(endpoint.clone());
/// env.from_collection((0..10u64).collect()).collect();
/// env.execute("numbers", 1)?.wait()?;
/// // Port 0 has picked a free one, where Prometheus found the numbers as long as the job ran.
/// assert!(endpoint.address().is_some_and(|address| address.port() != 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MetricsEndpoint {
    listen: SocketAddr,
    names: MetricNames,
    bound: Arc<Mutex<Option<SocketAddr>>>,
}

impl MetricsEndpoint {
    /// Listens at `listen`, which should be a loopback address unless everybody who can reach it may see the metrics; port 0 picks a free port.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, names: MetricNames::default(), bound: Arc::default() }
    }

    /// Exposes the metrics by `names`.
    #[must_use]
    pub fn with_names(self, names: MetricNames) -> Self {
        Self { names, ..self }
    }

    /// The address it listens at; `None` before it listens. Clones share it.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobObserver for MetricsEndpoint {
    fn begin(&self, watched: Watched) -> LocalBoxFuture<Result<(), JobError>> {
        let endpoint = self.clone();
        Box::pin(async move {
            let listened = listen(watched.io(), endpoint.listen).await;
            let listener = listened
                .map_err(|error| JobError::cannot_listen("the metrics cannot be shown", error, "choose another address or port"))?;
            let address = listener.address();
            *endpoint.bound.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
            tracing::info!(target: "thalweg::job", "metrics at http://{address}/metrics");
            let exposition = Exposition::new(watched.job(), endpoint.names);
            let io = watched.io().clone();
            let answers = Answers { source: Box::new(move || watched.metrics()), exposition };
            let run = run(io.clone(), listener, Rc::new(answers));
            io.spawner().spawn(TaskClass::Background, "metrics endpoint", Box::pin(async { _ = run.await }));
            Ok(())
        })
    }
}

/// A connection that is being served.
struct Connection {
    work: LocalBoxFuture<()>,
    has_asked: Rc<Cell<bool>>,
}

/// Accepts connections and serves all of them, for ever.
async fn run(io: Io, listener: Box<dyn Listener>, answers: Rc<Answers>) -> Infallible {
    let mut connections: Vec<Connection> = Vec::new();
    let mut acceptor = Acceptor::new(io.clone(), listener, "the metrics endpoint cannot accept a connection");
    poll_fn(move |cx| {
        connections.retain_mut(|connection| connection.work.as_mut().poll(cx).is_pending());
        let (read, write, _) = ready!(acceptor.poll_call(cx));
        if connections.len() == CONNECTIONS_MAX {
            let silent = connections.iter().position(|connection| !connection.has_asked.get());
            drop(connections.remove(silent.unwrap_or(0)));
            acceptor.pause(FLOOD_PAUSE);
        }
        let has_asked = Rc::default();
        let work = attend(io.clone(), read, write, Rc::clone(&answers), Rc::clone(&has_asked));
        connections.push(Connection { work: Box::pin(work), has_asked });
        assert!(connections.len() <= CONNECTIONS_MAX, "there is room for every connection");
        // The new connection is served, and the next one accepted, after the core's other tasks have had their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
