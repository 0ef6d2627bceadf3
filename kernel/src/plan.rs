//! The plan of a job, as plain data: its tasks, the edges between them, its sources and its sinks.
//!
//! Made from a [`Job`] without starting it. Code that shows, compares or explains a job reads this and nothing of the graph: the description of a job, and
//! the fingerprint by which its processes know that they have built the same.

use crate::graph::{EdgePlan, Job, Partitioning, TaskPlan};
use crate::graph_ids::OperatorId;
use serde::Serialize;
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// A job as plain data. Made by [`Job::plan`].
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::StreamExecutionEnvironment;
///
/// let env = StreamExecutionEnvironment::new();
/// env.from_collection(vec![1u64, 2]).key_by::<u64>(|n| *n % 2).reduce(|sum, n| sum + n).uid("sums").for_each(|_| {});
/// let plan = env.build("sums")?.plan();
/// assert_eq!(plan.vertices.len(), 2);
/// assert_eq!((plan.edges[0].to.as_str(), plan.edges[0].layout.as_str()), ("sums", "u64"));
/// # Ok::<(), thalweg::JobError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobPlan {
    /// The job's name.
    pub name: String,
    /// Number of key groups: the highest parallelism it can ever have.
    pub max_parallelism: u32,
    /// The parallelism of vertices with none of their own; if `None`, the number of cores.
    pub default_parallelism: Option<usize>,
    /// Most records in a frame. Both ends of a channel have to agree on it, and on the next.
    pub frame_records: usize,
    /// Most frames in a channel.
    pub channel_frames: usize,
    /// Its description beside its options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<PlanDescription>,
    /// The tasks, in the order of their numbers.
    pub vertices: Vec<PlanVertex>,
    /// The edges from task to task, in the order of the inputs that they lead into.
    pub edges: Vec<PlanEdge>,
    /// The sources.
    pub sources: Vec<PlanSource>,
    /// The sinks.
    pub sinks: Vec<PlanSink>,
}

/// The bytes that describe a job ([`set_description_bytes`](crate::StreamExecutionEnvironment::set_description_bytes)), in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanDescription {
    /// Number of bytes.
    pub bytes: usize,
    /// Their XXH3-64.
    pub fingerprint: u64,
}

/// A task: operators that run as one loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanVertex {
    /// The uid of its first operator. Unique in the job.
    pub uid: String,
    /// The names of its operators.
    pub name: String,
    /// Its number of subtasks, if it has one of its own.
    pub parallelism: Option<usize>,
    /// Its operators, in the order in which records pass them.
    pub operators: Vec<PlanOperator>,
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanOperator {
    /// Identifies it in checkpoints. Unique in the job.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its kind: `map`, `window`; for a source or sink, the name that it gives itself.
    pub kind: String,
    /// Whether checkpoints hold its state.
    pub has_state: bool,
}

/// An edge from one task to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanEdge {
    /// Identifies it between processes.
    pub number: usize,
    /// The uid of the vertex that it comes from.
    pub from: String,
    /// The output of that vertex.
    pub output: PlanOutput,
    /// The uid of the vertex that it leads to.
    pub to: String,
    /// The input of that vertex, from 0.
    pub input: usize,
    /// How its records are distributed over the receiving subtasks.
    pub partitioning: PlanPartitioning,
    /// The layout of its records, in words.
    pub layout: String,
}

/// An output of a vertex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum PlanOutput {
    /// The records that its last operator emits.
    Main,
    /// A copy of those, where several streams branch off from an operator: its uid.
    Branch(String),
    /// A side output.
    Side {
        /// The uid of the operator.
        operator: String,
        /// The name of its tag.
        tag: String,
    },
}

/// Which receiving subtasks a record of an edge goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum PlanPartitioning {
    /// The subtask beside the sender if both tasks have the same parallelism, else one subtask after the other.
    Forward,
    /// One subtask after the other.
    Rebalance,
    /// The subtask that owns the key group of the record's key.
    Hash,
    /// All subtasks.
    Broadcast,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanSource {
    /// The uid of its operator.
    pub uid: String,
    /// The layout of its splits, in words.
    pub split_layout: String,
    /// The file or folder that it reads.
    pub location: Option<String>,
}

/// A sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanSink {
    /// The uid of its operator.
    pub uid: String,
    /// The layout of its transactions (results that are prepared and not yet shown), in words.
    pub transaction_layout: String,
    /// Where its results can be found.
    pub location: Option<String>,
    /// Whether the sink can run in several processes.
    pub spans_processes: bool,
}

impl Job {
    /// The plan of the job, as plain data. Nothing is started, and no file is read.
    #[must_use]
    pub fn plan(&self) -> JobPlan {
        let uid = |operator: OperatorId| self.operators[operator.0].uid.clone();
        let edges = |(to, task): (usize, &TaskPlan)| {
            let to = self.tasks[to].uid.clone();
            let of_task: Vec<PlanEdge> = task
                .edges()
                .map(|(input, edge)| {
                    let plan = &self.edges[edge.0];
                    let from = plan.from.map(|task| self.tasks[task].uid.clone()).unwrap_or_default();
                    let (output, layout) = (self.output(edge.0, plan), plan.record.layout.text().to_owned());
                    PlanEdge { number: edge.0, from, output, to: to.clone(), input, partitioning: plan.partitioning.into(), layout }
                })
                .collect();
            of_task
        };
        JobPlan {
            name: self.name.clone(),
            max_parallelism: self.key_groups.count(),
            default_parallelism: self.default_parallelism,
            frame_records: self.settings.frame_records,
            channel_frames: self.settings.channel_frames,
            description: (self.description.as_ref())
                .map(|description| PlanDescription { bytes: description.bytes().len(), fingerprint: description.fingerprint() }),
            vertices: self.tasks.iter().enumerate().map(|(number, task)| self.vertex(number, task)).collect(),
            edges: self.tasks.iter().enumerate().flat_map(edges).collect(),
            sources: (self.sources.iter())
                .map(|(source, _)| PlanSource {
                    uid: uid(source.operator),
                    split_layout: source.layout.text().to_owned(),
                    location: source.input.as_ref().map(|path| path.display().to_string()),
                })
                .collect(),
            sinks: (self.sinks.iter())
                .map(|sink| PlanSink {
                    uid: uid(sink.operator),
                    transaction_layout: sink.layout.text().to_owned(),
                    location: sink.location.clone(),
                    spans_processes: sink.spans_processes,
                })
                .collect(),
        }
    }

    fn vertex(&self, number: usize, task: &TaskPlan) -> PlanVertex {
        let own = self.operators.iter().filter(|operator| operator.task == Some(number));
        let operators = own.map(|operator| PlanOperator {
            uid: operator.uid.clone(),
            name: operator.name.clone(),
            kind: operator.kind.clone(),
            has_state: operator.has_state,
        });
        PlanVertex { uid: task.uid.clone(), name: task.name.clone(), parallelism: task.parallelism, operators: operators.collect() }
    }

    fn output(&self, number: usize, edge: &EdgePlan) -> PlanOutput {
        let Some(operator) = edge.from_operator.map(|operator| &self.operators[operator.0]) else { return PlanOutput::Main };
        match operator.side_outputs.iter().find(|side| side.edge.0 == number) {
            Some(side) => PlanOutput::Side { operator: operator.uid.clone(), tag: side.tag.clone() },
            None => PlanOutput::Branch(operator.uid.clone()),
        }
    }

    /// The tasks and their operators, one line each, for logs. [`plan`](Self::plan) says more.
    #[must_use]
    pub fn describe(&self) -> String {
        let plan = self.plan();
        let line = |(number, vertex): (usize, &PlanVertex)| format!("task {number}: {vertex}\n");
        plan.vertices.iter().enumerate().map(line).collect()
    }
}

impl JobPlan {
    /// The fingerprint of everything that processes of this job must agree on. It is the fingerprint of the plan without its locations, which each process
    /// may name in its own way.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut plan = self.clone();
        plan.sources.iter_mut().for_each(|source| source.location = None);
        plan.sinks.iter_mut().for_each(|sink| sink.location = None);
        let text = serde_json::to_vec(&plan).expect("invariant: a plan is made of strings and numbers");
        xxh3_64(&text)
    }
}

impl From<Partitioning> for PlanPartitioning {
    fn from(partitioning: Partitioning) -> Self {
        match partitioning {
            Partitioning::Forward => Self::Forward,
            Partitioning::Rebalance => Self::Rebalance,
            Partitioning::Hash => Self::Hash,
            Partitioning::Broadcast => Self::Broadcast,
        }
    }
}

impl fmt::Display for PlanVertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parallelism = self.parallelism.map_or_else(|| "default".to_owned(), |parallelism| parallelism.to_string());
        write!(f, "{} (parallelism {parallelism})", self.name)
    }
}

/// A line for each vertex, and below it one for each edge that feeds it, for people.
impl fmt::Display for JobPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, vertex) in self.vertices.iter().enumerate() {
            writeln!(f, "task {number}: {vertex}, uid {}", vertex.uid)?;
            for edge in self.edges.iter().filter(|edge| edge.to == vertex.uid) {
                let PlanEdge { from, input, partitioning, layout, .. } = edge;
                let output = match &edge.output {
                    PlanOutput::Main => String::new(),
                    PlanOutput::Branch(_) => ", a branch".to_owned(),
                    PlanOutput::Side { tag, .. } => format!(", side output {tag}"),
                };
                writeln!(f, "  input {input}: from {from}{output}, {partitioning:?}, {layout}")?;
            }
            let own = |uid: &str| vertex.operators.iter().any(|operator| operator.uid == uid);
            for source in self.sources.iter().filter(|source| own(&source.uid)) {
                let reads = source.location.as_ref().map_or_else(|| "a source".to_owned(), |location| format!("reads {location}"));
                writeln!(f, "  {reads}, splits {}", source.split_layout)?;
            }
            for sink in self.sinks.iter().filter(|sink| own(&sink.uid)) {
                let writes = sink.location.as_ref().map_or_else(|| "a sink".to_owned(), |location| format!("writes to {location}"));
                writeln!(f, "  {writes}, transactions {}", sink.transaction_layout)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Context, EngineSettings, KeyedCoProcessFunction, Output, OutputTag, StreamExecutionEnvironment};

    fn job(describe: impl FnOnce(&StreamExecutionEnvironment)) -> u64 {
        let env = StreamExecutionEnvironment::new();
        describe(&env);
        env.build("a job").unwrap().plan().fingerprint()
    }

    fn numbers(env: &StreamExecutionEnvironment) {
        let _ = env.from_collection(vec![1u64, 2]).map(|n| n + 1).name("add").key_by::<u64>(|n| *n).reduce(|a, _| a).collect();
    }

    #[test]
    fn the_same_description_has_the_same_fingerprint() {
        assert_eq!(job(numbers), job(numbers));
    }

    #[test]
    fn whatever_would_be_wired_differently_differs() {
        let others = [
            job(|env| {
                env.set_parallelism(3);
                numbers(env);
            }),
            job(|env| {
                env.set_description_bytes(*b"a query");
                numbers(env);
            }),
            job(|env| {
                env.set_description_bytes(*b"another");
                numbers(env);
            }),
            job(|env| {
                env.set_max_parallelism(64);
                numbers(env);
            }),
            job(|env| {
                env.disable_operator_chaining();
                numbers(env);
            }),
            job(|env| {
                env.set_engine_settings(EngineSettings::default().frame_records(7));
                numbers(env);
            }),
            job(|env| {
                let _ = env.from_collection(vec![1u64, 2]).map(|n| n + 1).name("sum").key_by::<u64>(|n| *n).reduce(|a, _| a).collect();
            }),
            job(|env| {
                let _ = env.from_collection(vec![1u32, 2]).map(|n| n + 1).name("add").key_by::<u32>(|n| *n).reduce(|a, _| a).collect();
            }),
            job(|env| {
                let _ = env.from_collection(vec![1u64, 2]).map(|n| n + 1).name("add").collect();
            }),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(*other, job(numbers), "{i}");
            assert!(!others[..i].contains(other), "{i}");
        }
    }

    #[test]
    fn a_description_is_bounded_and_none_is_as_good_as_an_empty_one() {
        let described_by = |bytes: usize| {
            let env = StreamExecutionEnvironment::new();
            env.set_description_bytes(vec![7; bytes]);
            numbers(&env);
            env.build("a job").map(|job| job.plan().fingerprint())
        };
        assert_eq!(described_by(0).unwrap(), job(numbers));
        assert_ne!(described_by(crate::DESCRIPTION_BYTES_MAX).unwrap(), job(numbers));
        let error = described_by(crate::DESCRIPTION_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("1048577 bytes beside its options, 1048576 are the most"), "{error}");
    }

    #[test]
    fn graphs_that_differ_only_in_how_an_edge_partitions_differ() {
        let dealt_out = job(|env| drop(env.from_collection(vec![1u64, 2]).rebalance().map(|n| n + 1).collect()));
        let to_all = job(|env| drop(env.from_collection(vec![1u64, 2]).broadcast().map(|n| n + 1).collect()));
        assert_ne!(dealt_out, to_all);
    }

    #[test]
    fn a_plan_is_told_to_people_as_it_always_was() {
        const TAG: OutputTag<String> = OutputTag::new("odd");
        let env = StreamExecutionEnvironment::new();
        let numbers = env.from_collection(vec![1u64, 2]).name("numbers").uid("numbers").shared();
        let sums = numbers.stream().map(|n| (n, n % 2)).key_by::<u64>(|pair| pair.1).reduce(|a, b| (a.0 + b.0, a.1)).uid("sums");
        let odd = sums.side_output(&TAG);
        let words = numbers.stream().rebalance().map(|n| n.to_string()).set_parallelism(3).key_by::<String>(|word| word);
        let pairs = sums.map(|pair| (pair.0, pair.1.to_string())).uid("pairs").key_by::<String>(|pair| pair.1);
        words.connect(pairs).process(Nothing).uid("both").for_each(|_| {}).name("out").uid("out");
        odd.broadcast().for_each(|_| {}).name("odd").uid("odd");
        let plan = env.build("a job").unwrap().plan();
        assert_eq!(plan.to_string(), include_str!("plan.golden.txt"));
        assert_eq!(serde_json::to_string_pretty(&plan).unwrap() + "\n", include_str!("plan.golden.json"));
    }

    #[derive(Clone)]
    struct Nothing;

    impl KeyedCoProcessFunction for Nothing {
        type Key = String;
        type In1 = String;
        type In2 = (u64, String);
        type Out = u64;

        fn process_element1(&mut self, _word: &str, _ctx: &mut Context<'_, String>, _out: &mut Output<u64>) {}

        fn process_element2(&mut self, _pair: (u64, &str), _ctx: &mut Context<'_, String>, _out: &mut Output<u64>) {}
    }
}
