//! The entry point: collects the description of a job, then builds or runs it.

use super::stream::DataStream;
use crate::checkpoint::{CheckpointConfig, RestartStrategy};
use crate::connectors::CollectionSource;
use crate::description::Description;
use crate::erasure::source_plan;
use crate::error::JobError;
use crate::exchange::RecordType;
use crate::graph::{ChainMeta, GraphBuilder, Job};
use crate::job::handle::JobHandle;
use crate::job::observer::JobObserver;
use crate::operators::FromSource;
use crate::record::Record;
use crate::settings::EngineSettings;
use crate::source::Source;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use thalweg_io::Cores;
use thalweg_io::uring::UringCores;
use thalweg_record::KeyGroups;

/// Collects a job: its sources, the streams made from them, and the settings of the whole job.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::StreamExecutionEnvironment;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamExecutionEnvironment::new();
/// let lengths = env.from_collection(vec!["to".to_owned(), "be".to_owned(), "or".to_owned(), "not".to_owned()])
///     .map(|word| word.len() as u64)
///     .collect();
/// env.execute("word lengths", 1)?.wait()?;
/// assert_eq!(lengths.take(), [2, 2, 2, 3]);
/// # Ok(())
/// # }
/// ```
pub struct StreamExecutionEnvironment {
    graph: Rc<RefCell<GraphBuilder>>,
    source_rate: std::cell::Cell<Option<u64>>,
}

impl Default for StreamExecutionEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamExecutionEnvironment {
    /// An empty job.
    #[must_use]
    pub fn new() -> Self {
        Self { graph: Rc::new(RefCell::new(GraphBuilder::new())), source_rate: std::cell::Cell::new(None) }
    }

    /// The parallelism of every task that sets none; without this call it is the number of cores.
    pub fn set_parallelism(&self, parallelism: usize) -> &Self {
        self.graph.borrow_mut().default_parallelism = Some(parallelism);
        self
    }

    /// The number of key groups, and so the highest parallelism of keyed operators; 128 unless set. It cannot change in a job's life.
    ///
    /// # Panics
    /// If `key_groups` is zero.
    pub fn set_max_parallelism(&self, key_groups: u32) -> &Self {
        self.graph.borrow_mut().key_groups = KeyGroups::new(key_groups);
        self
    }

    /// Makes every operator a task of its own; a sink or `key_by` stays with the operator above it. Results stay the same; it is for finding out
    /// which operator does what.
    pub fn disable_operator_chaining(&self) -> &Self {
        self.graph.borrow_mut().chaining = false;
        self
    }

    /// Limits every source that is added from now on to this many records per second and subtask.
    pub fn set_source_rate(&self, records_per_second: Option<u64>) -> &Self {
        self.source_rate.set(records_per_second.map(|rate| rate.max(1)));
        self
    }

    /// Replaces the engine's constants; the defaults are right except for experiments and the simulator.
    pub fn set_engine_settings(&self, settings: EngineSettings) -> &Self {
        self.graph.borrow_mut().settings = settings;
        self
    }

    /// Makes the job's state durable while it runs, so that a job that died resumes from its latest checkpoint.
    ///
    /// The same job with the same folder resumes by itself: see [`CheckpointConfig::restore`].
    pub fn enable_checkpointing(&self, config: CheckpointConfig) -> &Self {
        self.graph.borrow_mut().checkpoints = Some(config);
        self
    }

    /// Sets how the job reacts to a failure. Unless set, a job with checkpoints restarts [with growing delays](RestartStrategy::exponential_delay) and one
    /// without does not.
    pub fn set_restart_strategy(&self, strategy: RestartStrategy) -> &Self {
        self.graph.borrow_mut().restart = Some(strategy);
        self
    }

    /// Whether to take over result folders that belong to another job, for a caller who knows that the other job no longer runs, or must not: it shows
    /// nothing there from then on. Unless set, this job is refused where the other one lives or nobody can tell whether it does.
    pub fn take_over_output(&self, take_over: bool) -> &Self {
        self.graph.borrow_mut().take_over_output = take_over;
        self
    }

    /// Has `observer` watch the job while it runs: a `MetricsEndpoint`, for instance, exports its metrics to Prometheus.
    pub fn add_observer(&self, observer: impl JobObserver) -> &Self {
        self.graph.borrow_mut().observers.push(Arc::new(observer));
        self
    }

    /// Adds `bytes` to the job's description, beside its options, at most [`DESCRIPTION_BYTES_MAX`](crate::DESCRIPTION_BYTES_MAX). A coordinator sends them
    /// to its workers (`start_worker_with_description`), and they are part of the job's fingerprint.
    pub fn set_description_bytes(&self, bytes: impl Into<Arc<[u8]>>) -> &Self {
        self.graph.borrow_mut().description = Description::of(bytes.into());
        self
    }

    /// The bytes that describe the job beside its options: in a worker, the bytes that its coordinator has sent; elsewhere, those that `make` returns. So a
    /// program that is run from its command line reads a file only where the job is coordinated:
    ///
    /// ```
    /// # extern crate thalweg_kernel as thalweg;
    /// use thalweg::StreamExecutionEnvironment;
    ///
    /// # fn main() -> Result<(), std::io::Error> {
    /// # std::fs::write(std::env::temp_dir().join("thalweg-query.sql"), "SELECT 1")?;
    /// # let path = std::env::temp_dir().join("thalweg-query.sql");
    /// let env = StreamExecutionEnvironment::new();
    /// let query = env.description_bytes(|| std::fs::read(&path))?;
    /// assert_eq!(&*query, b"SELECT 1");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of `make`.
    pub fn description_bytes<E>(&self, make: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Arc<[u8]>, E> {
        if let Some(given) = &self.graph.borrow().description {
            return Ok(Arc::clone(given.bytes()));
        }
        let bytes: Arc<[u8]> = make()?.into();
        self.set_description_bytes(Arc::clone(&bytes));
        Ok(bytes)
    }

    /// Adds a source.
    pub fn source<S: Source>(&self, source: S) -> DataStream<FromSource<S>> {
        let mut graph = self.graph.borrow_mut();
        let id = graph.operator(source.name());
        graph.operator_mut(id).output = Some(RecordType::with(source.record_layout()));
        graph.add_source(source_plan(id, &source));
        drop(graph);
        let meta = ChainMeta { operators: vec![id], ..ChainMeta::default() };
        DataStream::new(Rc::clone(&self.graph), FromSource { source, id, rate: self.source_rate.get() }, meta)
    }

    /// Adds a source of the given records, as one split.
    pub fn from_collection<T: Record>(&self, records: Vec<T>) -> DataStream<FromSource<CollectionSource<T>>> {
        self.source(CollectionSource::new(records))
    }

    /// Closes the description.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if the job cannot be run: it has no sink, say.
    pub fn build(self, name: &str) -> Result<Job, JobError> {
        let graph = std::mem::replace(&mut *self.graph.borrow_mut(), GraphBuilder::new());
        graph.build(name)
    }

    /// Starts the job on `cores` threads, each pinned to a CPU that this process may use; with more cores than CPUs some share one. The calling thread stays
    /// free. The engine reports through `tracing`: without a subscriber nobody sees its warnings, restarts among them.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if the job cannot be run, [`JobError::Start`] if io_uring is not available.
    pub fn execute(self, name: &str, cores: usize) -> Result<JobHandle, JobError> {
        self.build(name)?.start(&UringCores::new(), cores)
    }

    /// Starts the job on cores other than this machine's: the simulator's, for instance.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn execute_on(self, name: &str, cores: &dyn Cores, core_count: usize) -> Result<JobHandle, JobError> {
        self.build(name)?.start(cores, core_count)
    }
}
