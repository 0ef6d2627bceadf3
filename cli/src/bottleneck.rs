//! Finds the task that holds up the others, if there is one.
//!
//! A task that waits for room downstream is not the cause: the cause is the busiest task that does not wait.

use std::collections::BTreeMap;
use std::fmt;
use thalweg_kernel::{JobMetrics, MetricScope};

/// The smallest share of back-pressured time that is reported, in thousandths.
const NOTABLE: i64 = 200;

/// A task and its share of time, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BusyShare {
    task: String,
    thousandths: i64,
}

/// A task that is held up, and the task that holds it up, as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bottleneck {
    held_up: BusyShare,
    busiest: Option<BusyShare>,
}

/// The times of a task, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Times {
    busy: i64,
    idle: i64,
    back_pressured: i64,
}

impl Bottleneck {
    /// The bottleneck over the latest second.
    pub(super) fn now(metrics: &JobMetrics) -> Option<Self> {
        Self::of(metrics, ["busyTimeMsPerSecond", "idleTimeMsPerSecond", "backPressuredTimeMsPerSecond"])
    }

    /// The bottleneck over the whole run.
    pub(super) fn overall(metrics: &JobMetrics) -> Option<Self> {
        Self::of(metrics, ["accumulateBusyTimeMs", "accumulateIdleTimeMs", "accumulateBackPressuredTimeMs"])
    }

    fn of(metrics: &JobMetrics, [busy, idle, back_pressured]: [&str; 3]) -> Option<Self> {
        let mut tasks: BTreeMap<&str, Times> = BTreeMap::new();
        for metric in metrics.iter().filter(|metric| metric.scope == MetricScope::Task) {
            let times = tasks.entry(&metric.operator).or_default();
            match &*metric.name {
                name if name == busy => times.busy += metric.value,
                name if name == idle => times.idle += metric.value,
                name if name == back_pressured => times.back_pressured += metric.value,
                _ => {}
            }
        }
        let most = |share: fn(&Times) -> i64| {
            let shares = tasks.iter().map(|(task, times)| {
                let all = times.busy + times.idle + times.back_pressured;
                BusyShare { task: (*task).to_owned(), thousandths: (share(times) * 1000).checked_div(all).unwrap_or(0) }
            });
            shares.max_by_key(|share| share.thousandths)
        };
        let held_up = most(|times| times.back_pressured).filter(|share| share.thousandths >= NOTABLE)?;
        let busiest = most(|times| times.busy).filter(|share| share.task != held_up.task && share.thousandths >= NOTABLE);
        Some(Self { held_up, busiest })
    }
}

impl fmt::Display for BusyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % of the time", self.thousandths / 10)
    }
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} back-pressured {}", self.held_up.task, self.held_up)?;
        match &self.busiest {
            Some(busiest) => write!(f, ", {} busy {busiest}", busiest.task),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_kernel::{Metric, MetricKind};

    fn metrics(tasks: &[(&str, [i64; 3])]) -> JobMetrics {
        let names = ["busyTimeMsPerSecond", "idleTimeMsPerSecond", "backPressuredTimeMsPerSecond"];
        let of_task = |(subtask, (task, values)): (usize, &(&str, [i64; 3]))| {
            let metric = |(name, value): (&'static str, i64)| Metric {
                scope: MetricScope::Task,
                operator: (*task).to_owned(),
                uid: "".into(),
                subtask,
                channel: None,
                worker: None,
                name: name.into(),
                kind: MetricKind::Gauge,
                value,
                durations: None,
            };
            std::iter::zip(names, *values).map(metric).collect::<Vec<_>>()
        };
        tasks.iter().enumerate().flat_map(of_task).collect()
    }

    #[test]
    fn the_busiest_task_is_named_beside_the_one_that_waits_most() {
        let slow = metrics(&[("read", [100, 0, 900]), ("read", [200, 0, 800]), ("map", [300, 300, 400]), ("write", [1000, 0, 0])]);
        let text = Bottleneck::now(&slow).map(|bottleneck| bottleneck.to_string());
        assert_eq!(text.as_deref(), Some("read back-pressured 85 % of the time, write busy 100 % of the time"));
        assert_eq!(Bottleneck::now(&metrics(&[("read", [900, 50, 50]), ("write", [500, 500, 0])])), None, "that is how it should be");
        assert_eq!(Bottleneck::now(&metrics(&[("read", [0, 0, 0])])), None);
        let skewed = metrics(&[("read", [500, 0, 500]), ("write", [100, 900, 0])]);
        assert_eq!(Bottleneck::now(&skewed).map(|bottleneck| bottleneck.busiest), Some(None));
    }
}
