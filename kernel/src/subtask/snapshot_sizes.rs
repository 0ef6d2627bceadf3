//! How large each operator's state is in the latest snapshot that a subtask has acknowledged.
//!
//! A snapshot consists of what was written for it and of what it builds on. Both are known when it is durable, state by state, because the images have been
//! made here: no file is read for it. Nothing is shown before the first acknowledgement. The engine's own state of a whole task belongs to no operator, and is
//! not counted.

use crate::checkpoint::WATERMARK_STATE;
use crate::graph::OperatorMeta;
use crate::metrics::{Sampler, Samples, Subject};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_storage::checkpoint::{StateSummary, layered};

/// The size of an operator's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SnapshotSize {
    /// Bytes of the entries that were written for it.
    written: u64,
    /// Bytes of all entries that it consists of.
    full: u64,
    /// The files that these lie in; 0 if they travel with the acknowledgement.
    files: usize,
}

/// The sizes of a snapshot, by the uid of the operator.
#[derive(Default)]
pub(crate) struct OperatorSizes(BTreeMap<String, SnapshotSize>);

impl OperatorSizes {
    /// Those of a snapshot that consists of these images, the oldest first. `in_files`: each of them is a file.
    pub(crate) fn of(images: &[&[StateSummary]], in_files: bool) -> Self {
        let mut sizes: BTreeMap<String, SnapshotSize> = BTreeMap::new();
        for state in layered(images).into_iter().filter(|state| state.state != WATERMARK_STATE) {
            let size = sizes.entry(state.operator).or_default();
            size.written = size.written.saturating_add(state.written_bytes);
            size.full = size.full.saturating_add(state.bytes);
            size.files = size.files.max(if in_files { state.images } else { 0 });
        }
        Self(sizes)
    }
}

/// The sizes of one subtask's latest snapshot.
pub(crate) struct SnapshotSizes {
    operators: Arc<[OperatorMeta]>,
    latest: RefCell<OperatorSizes>,
}

impl SnapshotSizes {
    /// Those of a subtask that has acknowledged nothing yet, in a job with these operators.
    pub(crate) fn new(operators: Arc<[OperatorMeta]>) -> Self {
        Self { operators, latest: RefCell::default() }
    }

    /// A snapshot of these sizes is acknowledged.
    pub(crate) fn acknowledged(&self, sizes: OperatorSizes) {
        self.latest.replace(sizes);
    }
}

impl Sampler for SnapshotSizes {
    fn sample(&self, samples: &mut Samples<'_>) {
        let shown = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (uid, size) in &self.latest.borrow().0 {
            let Some(operator) = self.operators.iter().find(|operator| operator.uid == *uid) else { continue };
            let of = Subject::operator(&operator.name, uid);
            samples.gauge_of(of, "lastCheckpointStateSize", shown(size.written));
            samples.gauge_of(of, "lastCheckpointStateFullSize", shown(size.full));
            samples.gauge_of(of, "lastCheckpointStateFiles", size.files as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_storage::checkpoint::{Scope, SnapshotWriter, StateLayout};

    /// An image of a counter with two states, the second of which is saved whole each time.
    fn image(builds_on_earlier: bool, counts: &[u8]) -> Vec<StateSummary> {
        let mut writer = SnapshotWriter::new();
        let mut state = |operator, name, bytes: &[u8]| {
            let state = writer.state(operator, name, &StateLayout::default());
            writer.append(state, Scope::Subtask, 1, bytes);
            state
        };
        let count = state("counter", "count", counts);
        state("counter", "timers", &[0; 5]);
        state("counter", WATERMARK_STATE, &[0; 8]);
        state("other", "last", &[0; 1]);
        if builds_on_earlier {
            writer.builds_on_earlier(count);
        }
        writer.finish().states
    }

    #[test]
    fn an_operator_has_the_bytes_of_all_its_states_and_the_files_of_the_one_with_most() {
        let (whole, changed) = (image(false, &[0; 1_000]), image(true, &[0; 30]));
        let of = |images: &[&[StateSummary]], in_files| -> Vec<(String, SnapshotSize)> {
            OperatorSizes::of(images, in_files).0.into_iter().collect()
        };
        let size = |operator: &str, written, full, files| (operator.to_owned(), SnapshotSize { written, full, files });
        assert_eq!(of(&[&whole, &changed, &changed], true), [size("counter", 35, 1_065, 3), size("other", 1, 1, 1)]);
        assert_eq!(of(&[&whole], false), [size("counter", 1_005, 1_005, 0), size("other", 1, 1, 0)]);
    }
}
