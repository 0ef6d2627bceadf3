//! Do two processes run the same program, and have they built the same job?
//!
//! Deployments name tasks, edges and operators by number, and frames are read in place: both need the same graph, down to the layouts of the records.
//! Neither fingerprint protects from anybody: whoever knows the secret may lie.

use super::fields::Field;
use crate::graph::{EdgeId, Job};
use std::path::Path;
use thalweg_io::{Buffer, Io, IoError, OpenMode};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The running program, as the kernel shows it, whatever has become of its file since.
const EXECUTABLE: &str = "/proc/self/exe";

/// Bytes of one read: a program of 100 MB takes a hundred of them.
const BLOCK_BYTES: usize = 1 << 20;

/// The fingerprint of the running program: the XXH3-64 of its file.
///
/// # Errors
/// If it cannot be read.
pub async fn binary_fingerprint(io: &Io) -> Result<u64, IoError> {
    fingerprint_of(io, Path::new(EXECUTABLE)).await
}

async fn fingerprint_of(io: &Io, path: &Path) -> Result<u64, IoError> {
    let file = io.disk().open(path, OpenMode::Read).await?;
    let mut hash = Xxh3::new();
    let mut block = Buffer::with_capacity(BLOCK_BYTES);
    let mut offset = 0;
    loop {
        block = file.read_at(offset, block).await?;
        if block.is_empty() {
            return Ok(hash.digest());
        }
        hash.update(&block);
        offset += block.len() as u64;
        thalweg_io::yield_now().await;
    }
}

fn numbers(edges: &[EdgeId]) -> Vec<usize> {
    edges.iter().map(|edge| edge.0).collect()
}

impl Job {
    /// The fingerprint of everything that processes of this job must agree on: operators with their uids and names, tasks, edges with their partitioning
    /// and the layouts of their records, sources and sinks with those of what they remember, key groups, and the settings that frames depend on.
    #[must_use]
    pub fn graph_fingerprint(&self) -> u64 {
        let mut text = Vec::new();
        self.name.put(&mut text);
        self.key_groups.count().put(&mut text);
        self.default_parallelism.put(&mut text);
        self.settings.frame_records.put(&mut text);
        self.settings.channel_frames.put(&mut text);
        self.operators.len().put(&mut text);
        for operator in &self.operators {
            operator.uid.put(&mut text);
            operator.name.put(&mut text);
            operator.has_state.put(&mut text);
            operator.task.put(&mut text);
            numbers(&operator.branches).put(&mut text);
            operator.side_outputs.len().put(&mut text);
            for side in &operator.side_outputs {
                side.tag.put(&mut text);
                side.edge.0.put(&mut text);
            }
        }
        self.tasks.len().put(&mut text);
        for task in &self.tasks {
            task.uid.put(&mut text);
            task.name.put(&mut text);
            task.parallelism.put(&mut text);
            task.inputs.len().put(&mut text);
            task.inputs.iter().for_each(|edges| numbers(edges).put(&mut text));
        }
        self.edges.len().put(&mut text);
        for edge in &self.edges {
            edge.from.put(&mut text);
            edge.from_operator.put(&mut text);
            (edge.partitioning as u8).put(&mut text);
            (edge.record.layout)().as_u64().put(&mut text);
        }
        self.sources.len().put(&mut text);
        for (source, task) in &self.sources {
            source.operator.put(&mut text);
            source.layout.put(&mut text);
            task.put(&mut text);
        }
        self.sinks.len().put(&mut text);
        for sink in &self.sinks {
            sink.operator.put(&mut text);
            sink.layout.put(&mut text);
        }
        xxh3_64(&text)
    }
}

#[cfg(test)]
mod tests {
    use crate::StreamExecutionEnvironment;
    use crate::runtime::EngineSettings;

    fn job(describe: impl FnOnce(&StreamExecutionEnvironment)) -> u64 {
        let env = StreamExecutionEnvironment::new();
        describe(&env);
        env.build("a job").unwrap().graph_fingerprint()
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
                env.set_max_parallelism(64);
                numbers(env);
            }),
            job(|env| {
                env.disable_operator_chaining();
                numbers(env);
            }),
            job(|env| {
                env.set_engine_settings(EngineSettings { frame_records: 7, ..EngineSettings::default() });
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
    fn graphs_that_differ_only_in_how_an_edge_partitions_differ() {
        let dealt_out = job(|env| drop(env.from_collection(vec![1u64, 2]).rebalance().map(|n| n + 1).collect()));
        let to_all = job(|env| drop(env.from_collection(vec![1u64, 2]).broadcast().map(|n| n + 1).collect()));
        assert_ne!(dealt_out, to_all);
    }
}
