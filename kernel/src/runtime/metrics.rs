//! Numbers about a running job.
//!
//! A counter is a plain cell of the core that counts; every core sends its values now and then. Names are Flink's.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// One number of one subtask of one operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The operator, or the chain of operators of a task.
    pub operator: String,
    /// The subtask, from 0.
    pub subtask: usize,
    /// What is counted or measured, for instance `numRecordsIn`.
    pub name: &'static str,
    /// The value at the time of the snapshot.
    pub value: i64,
}

/// A snapshot of a job's numbers, at most some tenths of a second old while the job runs and exact when it has ended.
#[derive(Clone, Debug, Default)]
pub struct JobMetrics {
    metrics: Vec<Metric>,
}

impl JobMetrics {
    /// All numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.iter()
    }

    /// The sum of `name` over all operators and subtasks.
    #[must_use]
    pub fn total(&self, name: &str) -> i64 {
        self.metrics.iter().filter(|metric| metric.name == name).map(|metric| metric.value).sum()
    }

    /// The sum of `name` over the subtasks of `operator`.
    #[must_use]
    pub fn sum(&self, operator: &str, name: &str) -> i64 {
        self.metrics.iter().filter(|metric| metric.operator == operator && metric.name == name).map(|metric| metric.value).sum()
    }

    /// The lowest value of `name`, for instance of `currentOutputWatermark`.
    #[must_use]
    pub fn min(&self, name: &str) -> Option<i64> {
        self.metrics.iter().filter(|metric| metric.name == name).map(|metric| metric.value).min()
    }

    /// Replaces the numbers of the subtasks that `newer` speaks of.
    pub(crate) fn update(&mut self, newer: Vec<Metric>) {
        for metric in newer {
            let same = |old: &&mut Metric| old.name == metric.name && old.subtask == metric.subtask && old.operator == metric.operator;
            match self.metrics.iter_mut().find(same) {
                Some(old) => old.value = metric.value,
                None => self.metrics.push(metric),
            }
        }
    }
}

/// Counts up, on one core.
#[derive(Clone, Default)]
pub(crate) struct Counter {
    cell: Rc<Cell<i64>>,
}

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.cell.set(self.cell.get().wrapping_add(n as i64));
    }
}

/// Shows a value, on one core.
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

struct Registered {
    operator: String,
    name: &'static str,
    cell: Rc<Cell<i64>>,
}

/// The numbers of one subtask.
pub(crate) struct MetricRegistry {
    subtask: usize,
    registered: RefCell<Vec<Registered>>,
}

impl MetricRegistry {
    pub(crate) fn new(subtask: usize) -> Self {
        Self { subtask, registered: RefCell::default() }
    }

    fn register(&self, operator: &str, name: &'static str, initial: i64) -> Rc<Cell<i64>> {
        let mut registered = self.registered.borrow_mut();
        if let Some(known) = registered.iter().find(|r| r.name == name && r.operator == operator) {
            return Rc::clone(&known.cell);
        }
        let cell = Rc::new(Cell::new(initial));
        registered.push(Registered { operator: operator.to_owned(), name, cell: Rc::clone(&cell) });
        cell
    }

    pub(crate) fn counter(&self, operator: &str, name: &'static str) -> Counter {
        Counter { cell: self.register(operator, name, 0) }
    }

    pub(crate) fn gauge(&self, operator: &str, name: &'static str, initial: i64) -> Gauge {
        Gauge { cell: self.register(operator, name, initial) }
    }

    pub(crate) fn subtask(&self) -> usize {
        self.subtask
    }

    pub(crate) fn snapshot(&self) -> Vec<Metric> {
        let metric = |r: &Registered| Metric { operator: r.operator.clone(), subtask: self.subtask, name: r.name, value: r.cell.get() };
        self.registered.borrow().iter().map(metric).collect()
    }
}
