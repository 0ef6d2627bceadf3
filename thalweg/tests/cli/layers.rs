//! A checkpoint whose state lies in several files: what was written for it, and what it consists of.

use super::*;
use std::time::Duration;
use thalweg::connectors::GeneratorSource;
use thalweg::{CheckpointConfig, EngineSettings, JobHandle, JobMetrics, StreamExecutionEnvironment};

const KEYS: u64 = 20_000;

/// The numbers of the latest checkpoint of each of the two subtasks: written, in full, files.
fn sizes(metrics: &JobMetrics) -> (u64, u64, u64) {
    let of = |name| metrics.iter().filter(move |metric| metric.operator == "reduce" && metric.name == name);
    let sum = |name| of(name).map(|metric| metric.value.unsigned_abs()).sum();
    let files = of("lastCheckpointStateFiles").map(|metric| metric.value.unsigned_abs()).max().unwrap_or(0);
    (sum("lastCheckpointStateSize"), sum("lastCheckpointStateFullSize"), files)
}

/// Waits until the numbers of a running job are as they should be: a minute at most.
fn wait_for_numbers(handle: &JobHandle, are_so: impl Fn(&JobMetrics) -> bool) {
    for _ in 0..12_000 {
        if are_so(&handle.metrics()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{:#?}", handle.metrics());
}

#[test]
fn change_and_whole_are_told_apart_and_entries_in_several_files_are_an_upper_bound() {
    let dir = tempfile::tempdir().unwrap();
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(EngineSettings::default().metrics_interval_ms(5).state_part_slots(256));
    env.enable_checkpointing(CheckpointConfig::new(dir.path().join("checkpoints")).interval(Duration::from_millis(20)));
    env.set_source_rate(Some(50_000));
    // All keys come once, and then ten of them again and again.
    env.source(GeneratorSource::unbounded(|i| if i < KEYS { i } else { i % 10 }))
        .key_by::<u64>(|n| *n)
        .reduce(|a, b| a.max(b))
        .for_each(|_| ());
    let handle = env.execute("maxima", 2).unwrap();
    wait_for_numbers(&handle, |metrics| metrics.sum("reduce", "numStateEntries") == KEYS as i64);
    // A few checkpoints later all keys are stored, and what is written is what has changed, and a part of the whole.
    let completed = |metrics: &JobMetrics| metrics.total("numberOfCompletedCheckpoints");
    let before = completed(&handle.metrics());
    wait_for_numbers(&handle, |metrics| completed(metrics) > before + 4);
    handle.stop_with_checkpoint();
    let report = handle.wait().unwrap();
    assert_eq!(report.metrics.sum("reduce", "numStateEntries"), KEYS as i64);
    let (written, full, files) = sizes(&report.metrics);
    assert!(files > 1 && 2 * written < full, "{written} of {full} bytes in {files} files");

    let look = |arguments: &[&str]| {
        let output = flights(dir.path(), &[&["checkpoints"], arguments].concat()).output().unwrap();
        assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
        let text = String::from_utf8(output.stdout).unwrap();
        // Before it stands what the test harness says.
        text[text.find(if arguments.contains(&"--json") { "{" } else { "check" }).unwrap()..].to_owned()
    };
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&look(arguments)).unwrap();
    let inspection = json(&["inspect", "checkpoints", "--json"]);
    let state = inspection["states"].as_array().unwrap().iter().find(|state| state["state"] == "value").unwrap();
    let number = |of: &serde_json::Value, field: &str| of[field].as_u64().unwrap();
    let told = ["written_bytes", "bytes", "files"].map(|field| number(state, field));
    assert_eq!(told, [written, full, files], "what the job said of its last checkpoint is what the folder holds");
    let entries = number(state, "entries");
    assert!(state["entries_is_upper_bound"] == true && (KEYS..2 * KEYS).contains(&entries), "{state}");
    let text = look(&["inspect", "checkpoints"]);
    let line = text.lines().find(|line| line.contains("reduce") && line.contains("up to ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.replace(',', "").contains(&format!("up to {entries} ")), "{line}");

    let list = json(&["list", "checkpoints", "--json"]);
    let latest = &list["checkpoints"][0];
    assert_eq!(number(latest, "subtask_files"), files);
    let [change, whole] = ["written_bytes", "bytes"].map(|field| number(latest, field));
    assert!(change > written && whole > full && 2 * change < whole, "{latest}");
    let text = look(&["list", "checkpoints"]);
    let heading: Vec<&str> = text.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
    assert_eq!(heading, ["checkpoint", "attempt", "completed", "took", "written", "in full", "files", "per subtask", "state"]);
    let row: Vec<&str> = text.lines().nth(2).unwrap().split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
    assert_eq!([row[6], row[7], row[8]], [&number(latest, "files").to_string(), &files.to_string(), "whole"], "{text}");
    assert_ne!(row[4], row[5], "{text}");
}
