//! Metrics as text: Prometheus' format 0.0.4, which every scraper and every person can read.
//!
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>. All samples of a name are together, after its help and its
//! type. The text is written in slices, between which the core's other tasks have their turn.

use super::names::{DESCRIPTIONS, Description, MetricNames, Unit};
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;
use thalweg_io::{Buffer, yield_now};
use thalweg_kernel::checkpoint::JobId;
use thalweg_kernel::{JobMetrics, Metric, MetricKind, MetricScope};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Work units in a slice: looking at a metric is one, writing it is [`SAMPLE_UNITS`]. At 5 ns per unit a slice takes some 20 us.
const SLICE_UNITS: usize = 4096;

/// Writing a sample of 100 bytes takes about as long as looking at this many metrics.
const SAMPLE_UNITS: usize = 64;

/// The upper bounds of a histogram's buckets, in nanoseconds: from a short slice to a commit that takes a minute.
#[rustfmt::skip]
const BUCKETS_NS: [u64; 21] = [
    10 * US, 20 * US, 50 * US, 100 * US, 200 * US, 500 * US,
    MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS,
    1_000 * MS, 2_000 * MS, 5_000 * MS, 10_000 * MS, 30_000 * MS, 60_000 * MS,
];
const US: u64 = 1_000;
const MS: u64 = 1_000 * US;

/// Formats the metrics of one job.
pub(super) struct Exposition {
    job: String,
    names: MetricNames,
}

/// The naming scheme of a metric.
#[derive(Clone, Copy)]
enum Style<'a> {
    Thalweg,
    /// With this name, the labels of Flink's reporter, and the type gauge for all, as Flink has it.
    Flink(&'a str),
}

impl Exposition {
    pub(super) fn new(job: &str, names: MetricNames) -> Self {
        Self { job: escaped(job), names }
    }

    pub(super) async fn render(&self, metrics: &JobMetrics) -> Buffer {
        let mut text = Buffer::default();
        let mut units = 0;
        for description in DESCRIPTIONS {
            self.render_all(metrics, description, Style::Thalweg, &mut text, &mut units).await;
            if self.names == MetricNames::WithFlink
                && let Some(alias) = description.alias()
            {
                self.render_all(metrics, description, Style::Flink(&alias), &mut text, &mut units).await;
            }
        }
        text
    }

    /// Writes all metrics that `description` describes.
    async fn render_all(&self, metrics: &JobMetrics, description: &Description, style: Style<'_>, text: &mut Buffer, units: &mut usize) {
        let mut is_first = true;
        for metric in metrics.iter() {
            *units += 1;
            // A gauge that has no value yet.
            let is_empty = metric.kind == MetricKind::Gauge && metric.value == i64::MIN;
            if metric.scope == description.scope && metric.name == description.name && !is_empty {
                if std::mem::take(&mut is_first) {
                    introduce(description, metric.kind, style, text);
                }
                *units += SAMPLE_UNITS * self.sample(metric, metrics.job(), description, style, text);
            }
            if *units >= SLICE_UNITS {
                *units = 0;
                yield_now().await;
            }
        }
    }

    /// Writes a metric, and returns how many samples it has.
    fn sample(&self, metric: &Metric, id: Option<JobId>, description: &Description, style: Style<'_>, text: &mut Buffer) -> usize {
        let unit = if matches!(style, Style::Flink(_)) { Unit::One } else { description.unit };
        let (name, labels) = self.labelled(metric, id, description, style);
        let Some(durations) = &metric.durations else {
            // Writing to a buffer does not fail.
            let _ = writeln!(text, "{name}{{{labels}}} {}", shown(metric.value, unit));
            return 1;
        };
        for bound in BUCKETS_NS {
            let count = durations.up_to(Duration::from_nanos(bound));
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{}\"}} {count}", in_short(bound));
        }
        let (count, sum) = (durations.count(), durations.sum());
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum{{{labels}}} {}.{:09}", sum.as_secs(), sum.subsec_nanos());
        let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
        BUCKETS_NS.len() + 3
    }

    /// The name of a metric, and its labels.
    fn labelled<'s>(&self, metric: &Metric, id: Option<JobId>, description: &Description, style: Style<'s>) -> (&'s str, String) {
        let (name, job, [task, operator], [of_task, of_operator], subtask, worker) = match style {
            Style::Thalweg => (description.shown, "job", ["task", "operator"], ["uid", "uid"], "subtask", "worker"),
            Style::Flink(name) => (name, "job_name", ["task_name", "operator_name"], ["task_id", "operator_id"], "subtask_index", "tm_id"),
        };
        let mut text = format!("{job}=\"{}\"", self.job);
        if let Some(id) = id {
            let _ = write!(text, ",job_id=\"{id}\"");
        }
        let of = match metric.scope {
            MetricScope::Job => None,
            MetricScope::Task => Some((task, of_task)),
            MetricScope::Operator => Some((operator, of_operator)),
        };
        if let Some((of, uid)) = of {
            let _ = write!(text, ",{of}=\"{}\"", escaped(&metric.operator));
            if !metric.uid.is_empty() {
                let _ = write!(text, ",{uid}=\"{}\"", escaped(&metric.uid));
            }
            let _ = write!(text, ",{subtask}=\"{}\"", metric.subtask);
        }
        if let Some(channel) = metric.channel {
            let _ = write!(text, ",channel=\"{channel}\"");
        }
        if let Some(name) = &metric.worker {
            let _ = write!(text, ",{worker}=\"{}\"", escaped(name));
        }
        (name, text)
    }
}

fn introduce(description: &Description, kind: MetricKind, style: Style<'_>, text: &mut Buffer) {
    let (name, kind) = match (style, kind) {
        (Style::Thalweg, MetricKind::Counter) => (description.shown, "counter"),
        (Style::Thalweg, MetricKind::Gauge) => (description.shown, "gauge"),
        (Style::Thalweg, MetricKind::Histogram) => (description.shown, "histogram"),
        (Style::Flink(name), _) => (name, "gauge"),
    };
    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", description.help);
}

/// The value in Prometheus' base unit. The end of time is infinite.
fn shown(value: i64, unit: Unit) -> String {
    let digits = match unit {
        Unit::One => return value.to_string(),
        _ if value == i64::MAX => return "+Inf".to_owned(),
        Unit::Milliseconds | Unit::Thousandths => 3,
        Unit::Nanoseconds => 9,
    };
    let (sign, base) = (if value < 0 { "-" } else { "" }, 10u64.pow(digits));
    let (whole, rest) = (value.unsigned_abs() / base, value.unsigned_abs() % base);
    format!("{sign}{whole}.{rest:0width$}", width = digits as usize)
}

/// Nanoseconds in seconds, without zeros at the end.
fn in_short(ns: u64) -> String {
    let text = shown(ns as i64, Unit::Nanoseconds);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Escapes the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::sync::Arc;
    use thalweg_kernel::Durations;

    fn metric(scope: MetricScope, operator: &str, name: &'static str, kind: MetricKind, value: i64) -> Metric {
        let (operator, name) = (operator.to_owned(), Cow::Borrowed(name));
        Metric { scope, operator, uid: "a-uid".into(), subtask: 1, channel: None, worker: None, name, kind, value, durations: None }
    }

    fn render(names: MetricNames, metrics: Vec<Metric>) -> String {
        let mut all = JobMetrics::default();
        all.begin_attempt(JobId(0xab));
        all.extend(metrics);
        let text = thalweg_io::block_on(Exposition::new("a \"job\"", names).render(&all));
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn numbers_stand_below_their_meaning_with_all_labels() {
        use MetricKind::{Counter, Gauge};
        let queue = |channel| Metric {
            channel: Some(channel),
            worker: Some(Arc::from("w\\1")),
            ..metric(MetricScope::Task, "map", "inputQueueLength", Gauge, channel as i64)
        };
        let text = render(
            MetricNames::Thalweg,
            vec![
                Metric { subtask: 0, ..metric(MetricScope::Job, "", "numRestarts", Counter, 3) },
                queue(0),
                queue(1),
                metric(MetricScope::Operator, "read\n", "numRecordsOut", Counter, 12),
                metric(MetricScope::Operator, "marks", "currentOutputWatermark", Gauge, i64::MIN),
                metric(MetricScope::Operator, "marks", "nobodyKnowsThis", Gauge, 1),
            ],
        );
        let expected = r#"# HELP thalweg_job_restarts_total Attempts that failed and were followed by another one.
# TYPE thalweg_job_restarts_total counter
thalweg_job_restarts_total{job="a \"job\"",job_id="00000000000000ab"} 3
# HELP thalweg_task_input_queue_frames Frames that wait to be taken, by channel.
# TYPE thalweg_task_input_queue_frames gauge
thalweg_task_input_queue_frames{job="a \"job\"",job_id="00000000000000ab",task="map",uid="a-uid",subtask="1",channel="0",worker="w\\1"} 0
thalweg_task_input_queue_frames{job="a \"job\"",job_id="00000000000000ab",task="map",uid="a-uid",subtask="1",channel="1",worker="w\\1"} 1
# HELP thalweg_operator_records_out_total Records that a source has emitted.
# TYPE thalweg_operator_records_out_total counter
thalweg_operator_records_out_total{job="a \"job\"",job_id="00000000000000ab",operator="read\n",uid="a-uid",subtask="1"} 12
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_is_shown_by_cumulated_buckets() {
        let mut durations = Durations::default();
        [4, 15, 15, 700, 90_000_000].map(Duration::from_micros).into_iter().for_each(|duration| durations.record(duration));
        let slices = metric(MetricScope::Task, "map", "sliceDuration", MetricKind::Histogram, 5);
        let text = render(MetricNames::WithFlink, vec![Metric { durations: Some(Arc::new(durations)), ..slices }]);
        let labels = "job=\"a \\\"job\\\"\",job_id=\"00000000000000ab\",task=\"map\",uid=\"a-uid\",subtask=\"1\"";
        assert!(text.contains("# TYPE thalweg_task_slice_duration_seconds histogram\n"), "{text}");
        for (le, count) in [("0.00001", 1), ("0.00002", 3), ("0.0005", 3), ("0.001", 4), ("1", 4), ("60", 4), ("+Inf", 5)] {
            let line = format!("thalweg_task_slice_duration_seconds_bucket{{{labels},le=\"{le}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains(&format!("thalweg_task_slice_duration_seconds_sum{{{labels}}} 90.000734000\n")), "{text}");
        assert!(text.ends_with(&format!("thalweg_task_slice_duration_seconds_count{{{labels}}} 5\n")), "{text}");
    }

    #[test]
    fn flinks_names_come_beside_with_flinks_units() {
        let duration = metric(MetricScope::Task, "map", "accumulateBusyTimeMs", MetricKind::Counter, 1_500);
        let text = render(MetricNames::WithFlink, vec![duration]);
        assert!(text.contains("\nthalweg_task_busy_seconds_total{job=\"a \\\"job\\\"\",job_id=\"00000000000000ab\",task=\"map\",uid=\"a-uid\",subtask=\"1\"} 1.500\n"), "{text}");
        assert!(text.contains("# TYPE flink_taskmanager_job_task_accumulateBusyTimeMs gauge\n"), "{text}");
        let alias = "flink_taskmanager_job_task_accumulateBusyTimeMs{job_name=\"a \\\"job\\\"\",job_id=\"00000000000000ab\",task_name=\"map\",task_id=\"a-uid\",subtask_index=\"1\"} 1500\n";
        assert!(text.contains(alias), "{text}");
    }

    #[test]
    fn values_keep_every_digit() {
        assert_eq!(shown(-7, Unit::One), "-7");
        assert_eq!(shown(-7, Unit::Milliseconds), "-0.007");
        assert_eq!(shown(1_700_000_000_123, Unit::Milliseconds), "1700000000.123");
        assert_eq!(shown(5, Unit::Nanoseconds), "0.000000005");
        assert_eq!(shown(1000, Unit::Thousandths), "1.000");
        assert_eq!(shown(i64::MAX, Unit::Milliseconds), "+Inf");
        assert_eq!(shown(i64::MAX, Unit::One), "9223372036854775807");
    }
}
