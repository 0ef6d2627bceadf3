//! The progress of a running job: a line that is rewritten on a terminal, a log line every few seconds elsewhere.

use super::bottleneck::Bottleneck;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::io::{IsTerminal, stderr};
use std::time::Duration;
use thalweg_kernel::Watermark;
use thalweg_kernel::{JobMetrics, MetricScope};

/// The time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The span over which the shown rate is averaged.
const RATE_SPAN: Duration = Duration::from_secs(2);

/// The number of rows that the sources have read, well-formed or not.
pub(super) fn rows_read(metrics: &JobMetrics) -> u64 {
    (metrics.total("numRecordsOut") + metrics.total("numRecordsInErrors")).unsigned_abs()
}

/// Shows the progress of a job.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    logs: bool,
    /// The text shown while nothing runs.
    waits: &'static str,
    /// The time since the start, counted in ticks: no better clock is needed.
    elapsed: Duration,
    next_log: Duration,
    /// The number of rows read at each time, over the last [`RATE_SPAN`].
    history: VecDeque<(Duration, u64)>,
}

impl Progress {
    /// `waits` is the text while nothing runs: "waiting for workers".
    pub(super) fn new(quiet: bool, waits: &'static str) -> Self {
        let terminal = stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        let history = VecDeque::from([(Duration::ZERO, 0)]);
        Self { bar, logs: !terminal && !quiet, waits, elapsed: Duration::ZERO, next_log: LOG_INTERVAL, history }
    }

    /// Shows `metrics`; `passed` is the time since the last call.
    pub(super) fn tick(&mut self, passed: Duration, metrics: &JobMetrics) {
        self.elapsed += passed;
        let rows = rows_read(metrics);
        let rate = self.rate(rows);
        let watermark = Watermark(metrics.min("currentOutputWatermark").unwrap_or(i64::MIN));
        let runs = metrics.iter().any(|metric| metric.scope != MetricScope::Job);
        if let Some(bar) = self.bar.as_ref().filter(|_| !runs) {
            bar.set_message(self.waits);
            bar.tick();
        } else if let Some(bar) = &self.bar {
            let held_up = Bottleneck::now(metrics).map(|bottleneck| format!(", {bottleneck}")).unwrap_or_default();
            bar.set_message(format!("{} records, {} records/s, watermark {watermark}{held_up}", HumanCount(rows), HumanCount(rate)));
            bar.tick();
        }
        if self.logs && self.elapsed >= self.next_log {
            self.next_log = self.elapsed + LOG_INTERVAL;
            if !runs {
                tracing::info!(target: "thalweg::job", "{}", self.waits);
                return;
            }
            let bottleneck = Bottleneck::now(metrics).map(tracing::field::display);
            tracing::info!(target: "thalweg::job", records = rows, records_per_second = rate, %watermark, bottleneck, "running");
        }
    }

    fn rate(&mut self, rows: u64) -> u64 {
        self.history.push_back((self.elapsed, rows));
        while self.history.len() > 2 && self.history[1].0 + RATE_SPAN <= self.elapsed {
            self.history.pop_front();
        }
        let (since, before) = self.history[0];
        per_second(rows.saturating_sub(before), self.elapsed.saturating_sub(since))
    }

    /// Removes the progress line.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// `count` events in `elapsed`, as a rate per second.
pub(super) fn per_second(count: u64, elapsed: Duration) -> u64 {
    if elapsed.is_zero() { 0 } else { (count as f64 / elapsed.as_secs_f64()) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_two_seconds() {
        let mut progress = Progress::new(true, "waiting");
        let mut rate = |rows| {
            progress.elapsed += Duration::from_secs(1);
            progress.rate(rows)
        };
        assert_eq!([rate(100), rate(200), rate(600), rate(1000), rate(1000), rate(1000)], [100, 100, 250, 400, 200, 0]);
    }
}
