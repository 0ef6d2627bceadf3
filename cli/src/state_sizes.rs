//! How much state each operator holds, and what of it the last checkpoint has, for the summary.

use indicatif::{HumanBytes, HumanCount};
use thalweg_kernel::JobMetrics;

/// A line for each operator that holds keyed state, or has some in the last checkpoint; empty if none does.
pub(super) fn describe(metrics: &JobMetrics) -> String {
    let mut operators: Vec<&str> =
        metrics.iter().filter(|metric| metric.name == "numStateEntries").map(|metric| metric.operator.as_str()).collect();
    operators.sort_unstable();
    operators.dedup();
    operators.into_iter().filter_map(|operator| line(metrics, operator)).collect()
}

fn line(metrics: &JobMetrics, operator: &str) -> Option<String> {
    let of = |name: &'static str| {
        metrics.iter().filter(move |metric| metric.operator == operator && metric.name == name).map(|metric| metric.value.unsigned_abs())
    };
    let sum = |name| of(name).sum::<u64>();
    let [entries, full] = ["numStateEntries", "lastCheckpointStateFullSize"].map(sum);
    if entries == 0 && full == 0 {
        return None;
    }
    let mut text = format!(
        "  {:>12} entries of state in {operator}, {} of memory",
        HumanCount(entries).to_string(),
        HumanBytes(sum("stateTableBytes"))
    );
    if let Some(files) = of("lastCheckpointStateFiles").max() {
        let (written, full) = (HumanBytes(sum("lastCheckpointStateSize")), HumanBytes(full));
        text.push_str(&format!("; its last checkpoint: {written} written, {full} in full, {}", within(files)));
    }
    Some(text + "\n")
}

/// Where the state of the subtask with the most files lies.
fn within(files: u64) -> String {
    match files {
        0 => "within the metadata".to_owned(),
        1 => "in 1 file of a subtask".to_owned(),
        files => format!("in up to {files} files of a subtask"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_kernel::{Metric, MetricKind, MetricScope};

    fn of(operator: &str, subtask: usize, name: &'static str, value: i64) -> Metric {
        let (scope, operator) = (MetricScope::Operator, operator.to_owned());
        Metric { scope, operator, subtask, ..Metric::of_job(name, MetricKind::Gauge, value) }
    }

    #[test]
    fn an_operator_with_state_has_a_line_and_the_files_are_those_of_the_subtask_with_most() {
        let described = |metrics: Vec<Metric>| describe(&metrics.into_iter().collect());
        let both =
            |operator: &str, name: &'static str, [first, second]: [i64; 2]| [of(operator, 0, name, first), of(operator, 1, name, second)];
        let held = || {
            let window = [both("window", "numStateEntries", [0, 0]), both("window", "stateTableBytes", [64, 64])];
            let sums = [both("sums", "numStateEntries", [1_000, 234]), both("sums", "stateTableBytes", [1_024, 1_024])];
            window.into_iter().chain(sums).flatten().collect::<Vec<_>>()
        };
        assert_eq!(described(held()), "         1,234 entries of state in sums, 2.00 KiB of memory\n");
        let checkpoint = |files| {
            let sizes = [both("sums", "lastCheckpointStateSize", [300, 200]), both("sums", "lastCheckpointStateFullSize", [1_024, 2_048])];
            held().into_iter().chain(sizes.into_iter().flatten()).chain(both("sums", "lastCheckpointStateFiles", files)).collect()
        };
        let text = described(checkpoint([3, 12]));
        assert!(
            text.ends_with(" of memory; its last checkpoint: 500 B written, 3.00 KiB in full, in up to 12 files of a subtask\n"),
            "{text}"
        );
        assert!(described(checkpoint([0, 1])).ends_with(", in 1 file of a subtask\n"));
        assert!(described(checkpoint([0, 0])).ends_with(", within the metadata\n"));
        assert_eq!(described(vec![of("map", 0, "numRecordsOut", 7)]), "");
    }
}
