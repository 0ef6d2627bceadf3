//! Metrics as text: Prometheus' format 0.0.4, which every scraper and every person can read.
//!
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>. All samples of a name are together, after its help and its
//! type. The text is written in slices, between which the core's other tasks have their turn.

use super::names::{DESCRIPTIONS, Description, MetricNames, Unit};
use std::io::Write;
use thalweg_io::{Buffer, yield_now};
use thalweg_kernel::checkpoint::JobId;
use thalweg_kernel::{JobMetrics, Metric, MetricKind, MetricScope};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Work units in a slice: looking at a metric is one, writing it is [`SAMPLE_UNITS`]. At 5 ns per unit a slice takes some 20 us.
const SLICE_UNITS: usize = 4096;

/// Writing a sample of 100 bytes takes about as long as looking at this many metrics.
const SAMPLE_UNITS: usize = 64;

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
                self.sample(metric, metrics.job(), description, style, text);
                *units += SAMPLE_UNITS;
            }
            if *units >= SLICE_UNITS {
                *units = 0;
                yield_now().await;
            }
        }
    }

    fn sample(&self, metric: &Metric, id: Option<JobId>, description: &Description, style: Style<'_>, text: &mut Buffer) {
        let (name, job, [task, operator], [of_task, of_operator], subtask, worker) = match style {
            Style::Thalweg => (description.shown, "job", ["task", "operator"], ["uid", "uid"], "subtask", "worker"),
            Style::Flink(name) => (name, "job_name", ["task_name", "operator_name"], ["task_id", "operator_id"], "subtask_index", "tm_id"),
        };
        // Writing to a buffer does not fail.
        let _ = write!(text, "{name}{{{job}=\"{}\"", self.job);
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
        let unit = if matches!(style, Style::Flink(_)) { Unit::One } else { description.unit };
        let _ = writeln!(text, "}} {}", shown(metric.value, unit));
    }
}

fn introduce(description: &Description, kind: MetricKind, style: Style<'_>, text: &mut Buffer) {
    let (name, kind) = match (style, kind) {
        (Style::Thalweg, MetricKind::Counter) => (description.shown, "counter"),
        (Style::Thalweg, MetricKind::Gauge) => (description.shown, "gauge"),
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

/// Escapes the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::sync::Arc;

    fn metric(scope: MetricScope, operator: &str, name: &'static str, kind: MetricKind, value: i64) -> Metric {
        let (operator, name) = (operator.to_owned(), Cow::Borrowed(name));
        Metric { scope, operator, uid: "a-uid".into(), subtask: 1, channel: None, worker: None, name, kind, value }
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
