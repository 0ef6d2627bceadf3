//! The graph of a job while it is being described.
//!
//! Operators are joined into chains by the typed API; a chain that ends, in a sink or at an edge, becomes a *task*. The graph knows tasks, edges and
//! names, and nothing of record types: those are sealed into the functions that build a subtask and the channels of an edge.

mod operator_meta;

pub(crate) use operator_meta::{OperatorMeta, SideEdge};

use crate::checkpoint::{CheckpointConfig, GivenLayouts, RestartStrategy, WantedStates};
use crate::description::Description;
use crate::error::JobError;
use crate::exchange::RecordType;
use crate::graph_ids::{EdgeId, OperatorId};
use crate::job::observer::JobObserver;
use crate::record::{Layout, Record};
use crate::settings::EngineSettings;
use crate::sink::{Recovery, SinkError};
use crate::source::SourceError;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;
use rkyv::util::AlignedVec;
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_io::{Io, LocalBoxFuture};
use thalweg_record::KeyGroups;

/// Builds one subtask on its core.
pub(crate) type Build = Box<dyn FnOnce(&mut SubtaskContext) -> Box<dyn Subtask> + Send>;

/// Finds the splits of a source, given its parallelism.
pub(crate) type FindSplits = Box<dyn Fn(Io, usize) -> LocalBoxFuture<Result<Vec<AlignedVec>, SourceError>> + Send>;

/// A source, without its readers. Splits are archives here.
pub(crate) struct SourcePlan {
    pub(crate) operator: OperatorId,
    pub(crate) splits: FindSplits,
    /// The layout of its splits.
    pub(crate) layout: Layout,
    /// The file or folder that it reads.
    pub(crate) input: Option<PathBuf>,
}

/// See [`Sink::check`](crate::sink::Sink::check) and [`Sink::recover`](crate::sink::Sink::recover).
pub(crate) type RecoverSink = Box<dyn Fn(Io, Recovery<AlignedVec>) -> LocalBoxFuture<Result<(), SinkError>> + Send>;

/// See [`Sink::commit`](crate::sink::Sink::commit).
pub(crate) type CommitSink = Box<dyn Fn(Io, Vec<AlignedVec>) -> LocalBoxFuture<Result<(), SinkError>> + Send>;

/// A sink, without its writers. Transactions are archives here.
pub(crate) struct SinkPlan {
    pub(crate) operator: OperatorId,
    pub(crate) check: RecoverSink,
    pub(crate) recover: RecoverSink,
    pub(crate) commit: CommitSink,
    /// The layout of its transactions.
    pub(crate) layout: Layout,
    pub(crate) location: Option<String>,
    pub(crate) spans_processes: bool,
}

pub(crate) struct TaskPlan {
    pub(crate) name: String,
    pub(crate) parallelism: Option<usize>,
    /// The edges of each of its inputs: none for a source, several where streams were united.
    pub(crate) inputs: Vec<Vec<EdgeId>>,
    /// The uid of its first operator.
    pub(crate) uid: String,
    pub(crate) instantiate: Box<dyn Fn() -> Build + Send>,
}

impl TaskPlan {
    /// The edges that feed it, each with the number of its input.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (usize, EdgeId)> {
        self.inputs.iter().enumerate().flat_map(|(input, edges)| edges.iter().map(move |edge| (input, *edge)))
    }
}

/// Which receiving subtasks a record of an edge goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitioning {
    /// The subtask beside the sender if both tasks have the same parallelism, else one subtask after the other.
    Forward,
    /// One subtask after the other.
    Rebalance,
    /// The subtask that owns the key group of the record's key.
    Hash,
    /// All subtasks.
    Broadcast,
}

pub(crate) struct EdgePlan {
    /// The task that feeds the edge, as soon as it is known.
    pub(crate) from: Option<usize>,
    /// The operator that feeds the edge, if the edge is a branch or a side output.
    pub(crate) from_operator: Option<OperatorId>,
    pub(crate) partitioning: Partitioning,
    pub(crate) record: RecordType,
}

/// A job, ready to be started.
pub struct Job {
    pub(crate) name: String,
    pub(crate) tasks: Vec<TaskPlan>,
    pub(crate) edges: Vec<EdgePlan>,
    pub(crate) operators: Vec<OperatorMeta>,
    /// Each source, and its task.
    pub(crate) sources: Vec<(SourcePlan, usize)>,
    pub(crate) sinks: Vec<SinkPlan>,
    pub(crate) default_parallelism: Option<usize>,
    pub(crate) key_groups: KeyGroups,
    pub(crate) settings: EngineSettings,
    pub(crate) checkpoints: Option<CheckpointConfig>,
    pub(crate) restart: Option<RestartStrategy>,
    pub(crate) take_over_output: bool,
    pub(crate) observers: Vec<Arc<dyn JobObserver>>,
    /// The bytes of its description beside its options.
    pub(crate) description: Option<Description>,
}

impl Job {
    /// The bytes that describe the job beside its options; empty unless given.
    #[must_use]
    pub fn description_bytes(&self) -> &[u8] {
        self.description.as_ref().map_or(&[], |description| description.bytes())
    }

    /// The same job, described by `bytes` besides: for a worker, which is sent them.
    #[must_use]
    pub fn with_description_bytes(self, bytes: Arc<[u8]>) -> Self {
        Self { description: Description::of(bytes), ..self }
    }

    /// The name of the job.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine's constants, as set for the job.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The number of key groups, and so the highest parallelism of its keyed operators.
    #[must_use]
    pub fn max_parallelism(&self) -> u32 {
        self.key_groups.count()
    }

    /// The largest state, in bytes, that travels within a checkpoint's metadata; `None` without checkpoints.
    #[must_use]
    pub fn inline_bytes_max(&self) -> Option<usize> {
        self.checkpoints.as_ref().map(|config| config.inline_bytes_max)
    }

    /// The sinks whose results can be found somewhere: the operator, and the place.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sinks.iter().filter_map(|sink| Some((self.operators[sink.operator.0].name.as_str(), sink.location.as_deref()?)))
    }

    /// Refuses a job that cannot be run by several processes.
    pub(crate) fn check_spans_processes(&self) -> Result<(), JobError> {
        let Some(sink) = self.sinks.iter().find(|sink| !sink.spans_processes) else { return Ok(()) };
        let name = &self.operators[sink.operator.0].name;
        Err(JobError::invalid(format!(
            "the sink {name} gathers results in the memory of one process, and its workers are others: write them to a place that all processes share"
        )))
    }
}

/// A chain that has not ended yet, as the graph knows it.
#[derive(Clone, Default)]
pub(crate) struct ChainMeta {
    pub(crate) operators: Vec<OperatorId>,
    /// The edges of each input of the chain's first operator.
    pub(crate) inputs: Vec<Vec<EdgeId>>,
    pub(crate) parallelism: Option<usize>,
    /// The operator that ends the chain: a sink, a `key_by`. It belongs to the task of the last operator, however the chain is cut.
    pub(crate) terminal: Option<OperatorId>,
}

impl ChainMeta {
    /// A chain with one input, fed by `edge`.
    pub(crate) fn fed_by(edge: EdgeId) -> Self {
        Self { inputs: vec![vec![edge]], ..Self::default() }
    }

    /// A chain that begins with `operator`, whose two inputs are fed by `edges`.
    pub(crate) fn fed_by_two(edges: [Vec<EdgeId>; 2], operator: OperatorId) -> Self {
        Self { operators: vec![operator], inputs: edges.into(), ..Self::default() }
    }

    pub(crate) fn last(&self) -> Option<OperatorId> {
        self.operators.last().copied()
    }
}

/// Collects a job.
pub(crate) struct GraphBuilder {
    tasks: Vec<TaskPlan>,
    edges: Vec<EdgePlan>,
    operators: Vec<OperatorMeta>,
    sources: Vec<SourcePlan>,
    sinks: Vec<SinkPlan>,
    pub(crate) chaining: bool,
    pub(crate) default_parallelism: Option<usize>,
    pub(crate) key_groups: KeyGroups,
    pub(crate) settings: EngineSettings,
    pub(crate) checkpoints: Option<CheckpointConfig>,
    pub(crate) restart: Option<RestartStrategy>,
    pub(crate) take_over_output: bool,
    pub(crate) observers: Vec<Arc<dyn JobObserver>>,
    pub(crate) description: Option<Description>,
}

impl GraphBuilder {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Vec::new(),
            edges: Vec::new(),
            operators: Vec::new(),
            sources: Vec::new(),
            sinks: Vec::new(),
            chaining: true,
            default_parallelism: None,
            key_groups: KeyGroups::DEFAULT,
            settings: EngineSettings::default(),
            checkpoints: None,
            restart: None,
            take_over_output: false,
            observers: Vec::new(),
            description: None,
        }
    }

    /// Adds an operator; a name that is taken gets a number.
    pub(crate) fn operator(&mut self, name: &str) -> OperatorId {
        let id = OperatorId(self.operators.len());
        let (kind, name) = (name.to_owned(), self.free_name(name));
        self.operators.push(OperatorMeta {
            kind,
            uid: format!("{}-{}", id.0, name),
            name,
            has_state: false,
            wanted_states: None,
            output: None,
            layouts: GivenLayouts::default(),
            task: None,
            branches: vec![],
            side_outputs: vec![],
        });
        id
    }

    /// The same for an operator whose state checkpoints hold.
    pub(crate) fn stateful_operator(&mut self, name: &str, states: WantedStates) -> OperatorId {
        let id = self.operator(name);
        self.operators[id.0].has_state = true;
        self.operators[id.0].wanted_states = Some(states);
        id
    }

    fn free_name(&self, name: &str) -> String {
        let taken = |candidate: &str| self.operators.iter().any(|operator| operator.name == candidate);
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|candidate| !taken(candidate)).unwrap_or_default()
    }

    pub(crate) fn rename(&mut self, operator: OperatorId, name: &str) {
        self.operators[operator.0].name.clear();
        self.operators[operator.0].name = self.free_name(name);
    }

    pub(crate) fn operator_mut(&mut self, operator: OperatorId) -> &mut OperatorMeta {
        &mut self.operators[operator.0]
    }

    pub(crate) fn add_source(&mut self, source: SourcePlan) {
        self.sources.push(source);
    }

    pub(crate) fn add_sink(&mut self, sink: SinkPlan) {
        self.sinks.push(sink);
    }

    /// The type and layout of the records of type `T` that come out of a chain: those set for its last operator, or those of the edge that feeds it.
    pub(crate) fn output_of<T: Record>(&self, chain: &ChainMeta) -> RecordType {
        let given = match chain.last() {
            Some(operator) => self.operators[operator.0].output.clone(),
            None => chain.inputs.iter().flatten().next().map(|edge| self.edges[edge.0].record.clone()),
        };
        given.unwrap_or_else(RecordType::of::<T>)
    }

    /// The type and layout of an edge's records.
    pub(crate) fn record_of(&self, edge: EdgeId) -> &RecordType {
        &self.edges[edge.0].record
    }

    /// Adds an edge that no task feeds yet.
    pub(crate) fn edge(&mut self, partitioning: Partitioning, record: RecordType) -> EdgeId {
        self.edges.push(EdgePlan { from: None, from_operator: None, partitioning, record });
        EdgeId(self.edges.len() - 1)
    }

    /// Adds an edge that the task of `operator` will feed.
    pub(crate) fn edge_from(&mut self, operator: OperatorId, record: RecordType) -> EdgeId {
        let edge = self.edge(Partitioning::Forward, record);
        self.edges[edge.0].from_operator = Some(operator);
        edge
    }

    /// Adds the task that a chain has become; `instantiate` makes the function that builds its subtasks.
    pub(crate) fn add_task(&mut self, meta: &ChainMeta, instantiate: Box<dyn Fn() -> Build + Send>, outputs: &[EdgeId]) {
        let task = self.tasks.len();
        for operator in meta.operators.iter().chain(&meta.terminal) {
            self.operators[operator.0].task = Some(task);
        }
        for edge in outputs {
            self.edges[edge.0].from = Some(task);
        }
        // Names are final only when the job is complete.
        self.tasks.push(TaskPlan {
            name: String::new(),
            uid: String::new(),
            parallelism: meta.parallelism,
            inputs: meta.inputs.clone(),
            instantiate,
        });
    }

    /// Completes the graph.
    pub(crate) fn build(mut self, name: &str) -> Result<Job, JobError> {
        if let Some(description) = &self.description {
            description.check()?;
        }
        if self.tasks.is_empty() {
            return Err(JobError::invalid("it has no sink: end a stream in sink(), collect() or for_each()"));
        }
        for (i, task) in self.tasks.iter_mut().enumerate() {
            let own = self.operators.iter().filter(|operator| operator.task == Some(i)).map(|operator| operator.name.as_str());
            task.name = own.collect::<Vec<_>>().join(" -> ");
            if task.name.is_empty() {
                task.name = format!("union-{i}");
            }
            let first = self.operators.iter().find(|operator| operator.task == Some(i));
            task.uid = first.map_or_else(|| task.name.clone(), |operator| operator.uid.clone());
        }
        let consumed: Vec<EdgeId> = self.tasks.iter().flat_map(|task| task.edges().map(|(_, edge)| edge)).collect();
        for edge in consumed {
            let plan = &mut self.edges[edge.0];
            if let Some(operator) = plan.from_operator {
                let meta = &self.operators[operator.0];
                plan.from = meta.task;
                if plan.from.is_none() {
                    let cure = "end that stream in a sink, or in for_each(|_| {})";
                    return Err(JobError::invalid(format!(
                        "a side output of {} is used but its main stream leads nowhere: {cure}",
                        meta.name
                    )));
                }
            }
        }
        for operator in self.operators.iter().filter(|operator| operator.task.is_none()) {
            tracing::warn!(operator = %operator.name, "this operator is not run: its stream ends in no sink");
        }
        let mut uids: Vec<&str> = self.operators.iter().map(|operator| operator.uid.as_str()).collect();
        uids.sort_unstable();
        if let Some(pair) = uids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(JobError::invalid(format!(
                "two operators have the uid {}: state is found again by it, so each needs its own",
                pair[0]
            )));
        }
        let mut places: Vec<_> = self.sinks.iter().filter_map(|sink| sink.location.as_deref()).collect();
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(JobError::invalid(format!("two sinks write to {}: give each a place of its own", pair[0])));
        }
        let task_of = |operator: OperatorId| self.operators[operator.0].task;
        let with_task = |source: SourcePlan| task_of(source.operator).map(|task| (source, task));
        let sources = self.sources.into_iter().filter_map(with_task).collect();
        Ok(Job {
            name: name.to_owned(),
            tasks: self.tasks,
            edges: self.edges,
            operators: self.operators,
            sources,
            sinks: self.sinks,
            default_parallelism: self.default_parallelism,
            key_groups: self.key_groups,
            settings: self.settings,
            checkpoints: self.checkpoints,
            restart: self.restart,
            take_over_output: self.take_over_output,
            observers: self.observers,
            description: self.description,
        })
    }
}

/// A chain that is about to be cut in two, as the graph knows it. The code that knows its type cuts it (`chain/cut.rs`).
pub struct Cut<'a> {
    pub(crate) graph: &'a mut GraphBuilder,
    pub(crate) meta: &'a mut ChainMeta,
}
