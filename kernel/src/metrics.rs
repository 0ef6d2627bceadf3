//! Metrics of a running job.
//!
//! A counter is a plain cell of the core that counts; every core sends its values now and then, and nothing is sent, locked or allocated in between. Values
//! that are cheaper to ask for than to keep up to date, such as the length of a queue, are asked for at that moment ([`Sampler`]). Names are Flink's;
//! `docs/src/observability.md` lists the meaning of each, and its name in Prometheus.

mod durations;

pub use durations::Durations;

use crate::checkpoint::JobId;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, from zero, while an attempt runs.
    Counter,
    /// Goes up and down; `i64::MIN` while there is nothing to show.
    Gauge,
    /// The durations of something since the attempt began, or the run for one of the job; the value is their number.
    Histogram,
}

/// The subject of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricScope {
    /// The job as a whole.
    Job,
    /// One subtask of a chain of operators.
    Task,
    /// One operator within a subtask.
    Operator,
}

/// One metric of one subtask of one operator, or of a whole task or job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its subject.
    pub scope: MetricScope,
    /// The operator, or the chain of operators of a task; empty for a metric of the job.
    pub operator: String,
    /// The uid of the operator, or of the first one of the task; empty where there is none, as for the exchange with another worker.
    pub uid: Arc<str>,
    /// The subtask, from 0.
    pub subtask: usize,
    /// The channel of the subtask, if the metric concerns only one.
    pub channel: Option<usize>,
    /// The worker that runs the subtask, if there are several.
    pub worker: Option<Arc<str>>,
    /// The name, for instance `numRecordsIn`.
    pub name: Cow<'static, str>,
    /// Whether it is a counter, a gauge or a histogram.
    pub kind: MetricKind,
    /// The value at the time of the snapshot.
    pub value: i64,
    /// What a histogram holds.
    pub durations: Option<Arc<Durations>>,
}

impl Metric {
    /// A metric of the whole job.
    pub fn of_job(name: &'static str, kind: MetricKind, value: i64) -> Self {
        let (scope, operator) = (MetricScope::Job, String::new());
        Self {
            scope,
            operator,
            uid: no_uid(),
            subtask: 0,
            channel: None,
            worker: None,
            name: Cow::Borrowed(name),
            kind,
            value,
            durations: None,
        }
    }

    /// The same metric, labelled with `worker`.
    #[must_use]
    pub fn at(self, worker: &Arc<str>) -> Self {
        Self { worker: Some(Arc::clone(worker)), ..self }
    }

    /// The key of the group of metrics that are always sent together.
    fn group(&self) -> (&str, usize, Option<&str>) {
        (&self.operator, self.subtask, self.worker.as_deref())
    }
}

fn no_uid() -> Arc<str> {
    Arc::from("")
}

/// The metrics of one operator, or task, in one subtask at one worker. Never empty.
type Group = Arc<[Metric]>;

fn order_of(group: &Group, other: (&str, usize, Option<&str>)) -> Ordering {
    group.first().map_or(Ordering::Less, |first| first.group().cmp(&other))
}

/// `newer`, and the other metrics of `older`: another sender reports on the same subtask.
fn merge(older: &[Metric], newer: &[Metric]) -> Group {
    let is_same = |a: &Metric, b: &Metric| a.name == b.name && a.channel == b.channel && a.scope == b.scope;
    if older.len() == newer.len() && older.iter().zip(newer).all(|(a, b)| is_same(a, b)) {
        return newer.into();
    }
    let others = older.iter().filter(|old| !newer.iter().any(|new| is_same(old, new)));
    newer.iter().chain(others).cloned().collect()
}

/// A snapshot of a job's metrics, at most some tenths of a second old while the job runs and exact when it has ended. Cloning copies some pointers.
#[derive(Clone, Debug, Default)]
pub struct JobMetrics {
    job: Option<JobId>,
    /// Sorted by their subjects.
    groups: Vec<Group>,
}

impl JobMetrics {
    /// The number of the job, which also names it in its checkpoints and results; `None` before its first attempt.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        self.job
    }

    /// All metrics, by operator and subtask.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// The sum of `name` over all operators and subtasks.
    #[must_use]
    pub fn total(&self, name: &str) -> i64 {
        self.iter().filter(|metric| metric.name == name).map(|metric| metric.value).sum()
    }

    /// The sum of `name` over the subtasks of `operator`.
    #[must_use]
    pub fn sum(&self, operator: &str, name: &str) -> i64 {
        self.iter().filter(|metric| metric.operator == operator && metric.name == name).map(|metric| metric.value).sum()
    }

    /// The lowest value of `name`, for instance of `currentOutputWatermark`.
    #[must_use]
    pub fn min(&self, name: &str) -> Option<i64> {
        self.iter().filter(|metric| metric.name == name).map(|metric| metric.value).min()
    }

    /// The durations `name` of all operators and subtasks together.
    #[must_use]
    pub fn durations(&self, name: &str) -> Durations {
        let mut all = Durations::default();
        let named = self.iter().filter(|metric| metric.name == name);
        named.filter_map(|metric| metric.durations.as_deref()).for_each(|durations| all.add(durations));
        all
    }

    /// Replaces the metrics that `newer` contains. Cheapest if all of an operator in a subtask come together.
    pub(crate) fn update(&mut self, mut newer: Vec<Metric>) {
        newer.sort_by(|a, b| a.group().cmp(&b.group()));
        for metrics in newer.chunk_by(|a, b| a.group() == b.group()) {
            let Some(first) = metrics.first() else { continue };
            match self.groups.binary_search_by(|known| order_of(known, first.group())) {
                Ok(place) => self.groups[place] = merge(&self.groups[place], metrics),
                Err(place) => self.groups.insert(place, metrics.into()),
            }
        }
    }

    /// Adds `n` to a counter of the whole job.
    pub(crate) fn count(&mut self, name: &'static str, n: i64) {
        self.change_job(name, MetricKind::Counter, |metric| metric.value = metric.value.wrapping_add(n));
    }

    /// Sets a gauge of the whole job.
    pub(crate) fn show(&mut self, name: &'static str, value: i64) {
        self.change_job(name, MetricKind::Gauge, |metric| metric.value = value);
    }

    /// Counts a duration of the whole job.
    pub(crate) fn record(&mut self, name: &'static str, duration: Duration) {
        self.change_job(name, MetricKind::Histogram, |metric| {
            Arc::make_mut(metric.durations.get_or_insert_default()).record(duration);
            metric.value = metric.value.wrapping_add(1);
        });
    }

    fn change_job(&mut self, name: &'static str, kind: MetricKind, change: impl FnOnce(&mut Metric)) {
        let of_job = self.groups.first().filter(|group| group.first().is_some_and(|first| first.scope == MetricScope::Job));
        let mut metrics = of_job.map_or_else(Vec::new, |group| group.to_vec());
        let known = metrics.iter().position(|metric| metric.name == name).unwrap_or(metrics.len());
        if known == metrics.len() {
            metrics.push(Metric::of_job(name, kind, 0));
        }
        change(&mut metrics[known]);
        self.update(metrics);
    }

    /// A new attempt of `job` begins, perhaps with other subtasks at other workers: the metrics of the previous attempt's subtasks are forgotten.
    pub fn begin_attempt(&mut self, job: JobId) {
        self.job = Some(job);
        self.groups.retain(|group| group.first().is_some_and(|first| first.scope == MetricScope::Job));
    }
}

/// Of several values of the same metric the last one counts.
impl Extend<Metric> for JobMetrics {
    fn extend<I: IntoIterator<Item = Metric>>(&mut self, metrics: I) {
        self.update(metrics.into_iter().collect());
    }
}

impl FromIterator<Metric> for JobMetrics {
    fn from_iter<I: IntoIterator<Item = Metric>>(metrics: I) -> Self {
        let mut all = Self::default();
        all.extend(metrics);
        all
    }
}

/// A counter on one core.
#[derive(Clone, Default)]
pub struct Counter {
    cell: Rc<Cell<i64>>,
}

impl Counter {
    #[inline]
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.cell.set(self.cell.get().wrapping_add(n as i64));
    }
}

/// A gauge on one core.
#[derive(Clone, Default)]
pub(crate) struct Gauge {
    cell: Rc<Cell<i64>>,
}

impl Gauge {
    #[inline]
    pub(crate) fn set(&self, value: i64) {
        self.cell.set(value);
    }
}

/// Computes metrics when they are gathered.
pub(crate) trait Sampler {
    /// Adds its metrics.
    fn sample(&self, samples: &mut Samples<'_>);
}

/// Takes the metrics of a [`Sampler`], for one task.
pub struct Samples<'a> {
    task: &'a str,
    uid: &'a Arc<str>,
    subtask: usize,
    metrics: &'a mut Vec<Metric>,
}

impl Samples<'_> {
    pub(crate) fn counter(&mut self, name: &'static str, value: i64) {
        self.add(name, MetricKind::Counter, None, value);
    }

    pub(crate) fn gauge(&mut self, name: &'static str, channel: Option<usize>, value: i64) {
        self.add(name, MetricKind::Gauge, channel, value);
    }

    pub(crate) fn histogram(&mut self, name: &'static str, durations: &Durations) {
        self.add(name, MetricKind::Histogram, None, durations.count() as i64);
        if let Some(metric) = self.metrics.last_mut() {
            metric.durations = Some(Arc::new(durations.clone()));
        }
    }

    /// A gauge of one of the task's operators.
    pub(crate) fn gauge_of(&mut self, of: Subject<'_>, name: &'static str, value: i64) {
        let Subject { scope, name: operator, uid } = of;
        self.push((scope, operator.to_owned(), uid.into()), name, MetricKind::Gauge, None, value);
    }

    fn add(&mut self, name: &'static str, kind: MetricKind, channel: Option<usize>, value: i64) {
        self.push((MetricScope::Task, self.task.to_owned(), Arc::clone(self.uid)), name, kind, channel, value);
    }

    fn push(
        &mut self,
        (scope, operator, uid): (MetricScope, String, Arc<str>),
        name: &'static str,
        kind: MetricKind,
        channel: Option<usize>,
        value: i64,
    ) {
        let (name, subtask) = (Cow::Borrowed(name), self.subtask);
        self.metrics.push(Metric { scope, operator, uid, subtask, channel, worker: None, name, kind, value, durations: None });
    }
}

/// The subject of a subtask's metric.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    scope: MetricScope,
    name: &'a str,
    uid: &'a str,
}

impl<'a> Subject<'a> {
    /// The task of these operators, the first of which has `uid`.
    #[must_use]
    pub fn task(name: &'a str, uid: &'a str) -> Self {
        Self { scope: MetricScope::Task, name, uid }
    }

    /// The operator of this name and `uid`.
    #[must_use]
    pub fn operator(name: &'a str, uid: &'a str) -> Self {
        Self { scope: MetricScope::Operator, name, uid }
    }
}

struct Registered {
    scope: MetricScope,
    operator: String,
    uid: Arc<str>,
    name: &'static str,
    kind: MetricKind,
    cell: Rc<Cell<i64>>,
}

/// The metrics of one subtask.
pub struct MetricRegistry {
    subtask: usize,
    registered: RefCell<Vec<Registered>>,
    /// Each with the task that it reports on.
    samplers: RefCell<Vec<(String, Arc<str>, Rc<dyn Sampler>)>>,
}

impl MetricRegistry {
    /// An empty registry of the subtask (or core) `subtask`.
    #[must_use]
    pub fn new(subtask: usize) -> Self {
        Self { subtask, registered: RefCell::default(), samplers: RefCell::default() }
    }

    fn register(&self, of: Subject<'_>, name: &'static str, kind: MetricKind, initial: i64) -> Rc<Cell<i64>> {
        let Subject { scope, name: operator, uid } = of;
        let mut registered = self.registered.borrow_mut();
        let same = |r: &&Registered| r.name == name && r.scope == scope && r.operator == operator;
        if let Some(known) = registered.iter().find(same) {
            return Rc::clone(&known.cell);
        }
        let cell = Rc::new(Cell::new(initial));
        registered.push(Registered { scope, operator: operator.to_owned(), uid: uid.into(), name, kind, cell: Rc::clone(&cell) });
        cell
    }

    /// The counter `name` of a subject: all callers get the same one.
    pub fn counter(&self, of: Subject<'_>, name: &'static str) -> Counter {
        Counter { cell: self.register(of, name, MetricKind::Counter, 0) }
    }

    pub(crate) fn gauge(&self, of: Subject<'_>, name: &'static str, initial: i64) -> Gauge {
        Gauge { cell: self.register(of, name, MetricKind::Gauge, initial) }
    }

    /// Has `sampler` asked for metrics of the task `of` with every snapshot from now on.
    pub(crate) fn ask(&self, of: Subject<'_>, sampler: Rc<dyn Sampler>) {
        self.samplers.borrow_mut().push((of.name.to_owned(), of.uid.into(), sampler));
    }

    pub(crate) fn subtask(&self) -> usize {
        self.subtask
    }

    pub(crate) fn snapshot(&self) -> Vec<Metric> {
        let metric = |r: &Registered| Metric {
            scope: r.scope,
            operator: r.operator.clone(),
            uid: Arc::clone(&r.uid),
            subtask: self.subtask,
            channel: None,
            worker: None,
            name: Cow::Borrowed(r.name),
            kind: r.kind,
            value: r.cell.get(),
            durations: None,
        };
        let mut metrics: Vec<Metric> = self.registered.borrow().iter().map(metric).collect();
        for (task, uid, sampler) in &*self.samplers.borrow() {
            sampler.sample(&mut Samples { task, uid, subtask: self.subtask, metrics: &mut metrics });
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(subtask: usize, records: u64) -> MetricRegistry {
        let registry = MetricRegistry::new(subtask);
        registry.counter(Subject::task("map -> sink", "map-uid"), "numRecordsIn").add(records);
        registry.counter(Subject::operator("sink", "sink-uid"), "numRecordsSend").add(records + 1);
        registry
    }

    #[test]
    fn newer_numbers_take_the_place_of_older_ones_and_add_up() {
        let mut metrics = JobMetrics::default();
        metrics.count("numRestarts", 0);
        metrics.update(registry(1, 10).snapshot());
        metrics.update(registry(0, 5).snapshot());
        metrics.update(registry(1, 20).snapshot());
        metrics.count("numRestarts", 2);
        assert_eq!((metrics.total("numRecordsIn"), metrics.sum("sink", "numRecordsSend"), metrics.total("numRestarts")), (25, 27, 2));
        assert_eq!((metrics.min("numRecordsIn"), metrics.iter().count()), (Some(5), 5));
        let earlier = metrics.clone();
        assert_eq!(metrics.job(), None);
        metrics.begin_attempt(JobId(7));
        assert_eq!((metrics.job(), earlier.job()), (Some(JobId(7)), None));
        assert_eq!((metrics.total("numRecordsIn"), metrics.total("numRestarts"), earlier.total("numRecordsIn")), (0, 2, 25));
    }

    #[test]
    fn the_same_subtask_at_two_workers_is_two() {
        let mut metrics = JobMetrics::default();
        for worker in ["a", "b", "a"] {
            let worker: Arc<str> = worker.into();
            metrics.update(registry(0, 3).snapshot().into_iter().map(|metric| metric.at(&worker)).collect());
        }
        assert_eq!((metrics.total("numRecordsIn"), metrics.iter().count()), (6, 4));
    }

    #[test]
    fn what_is_sampled_stands_beside_what_is_counted() {
        struct Queues;
        impl Sampler for Queues {
            fn sample(&self, samples: &mut Samples<'_>) {
                samples.gauge("inputQueueLength", Some(0), 3);
                samples.gauge("inputQueueLength", Some(1), 4);
            }
        }
        let registry = registry(2, 1);
        registry.ask(Subject::task("map -> sink", "map-uid"), Rc::new(Queues));
        let snapshot = registry.snapshot();
        let uids: Vec<_> = snapshot.iter().map(|metric| (&*metric.operator, &*metric.uid)).collect();
        assert_eq!(uids, [("map -> sink", "map-uid"), ("sink", "sink-uid"), ("map -> sink", "map-uid"), ("map -> sink", "map-uid")]);
        let channels: Vec<_> = snapshot.iter().filter(|metric| metric.name == "inputQueueLength").map(|metric| metric.channel).collect();
        assert_eq!(channels, [Some(0), Some(1)]);
        let mut metrics = JobMetrics::default();
        metrics.update(snapshot);
        assert_eq!(metrics.sum("map -> sink", "inputQueueLength"), 7);
    }
}
