//! What is written comes back.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use thalweg_io::Buffer;
use thalweg_record::record::Layout;
use thalweg_storage::checkpoint::*;

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        any::<u16>().prop_map(Scope::KeyGroup),
        (0..4u16).prop_map(Scope::KeyGroup),
        any::<u32>().prop_map(Scope::Split),
        Just(Scope::Subtask)
    ]
}

/// Which state, which scope, which bytes; without bytes the section is only made.
type Step = (usize, Scope, Option<Vec<u8>>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((0..4usize, scope(), proptest::option::of(vec(any::<u8>(), 0..40))), 0..60)
}

const STATES: [(&str, &str); 4] = [("", ""), ("a", "b"), ("ab", ""), ("a", "\u{e9}\0/..")];

fn layout(state: usize) -> StateLayout {
    StateLayout { key: Layout::described(&"k".repeat(state)), value: Layout::of::<u64>() }
}

fn written(steps: &[Step]) -> Buffer {
    let mut writer = SnapshotWriter::new();
    let indices: Vec<_> = STATES.iter().enumerate().map(|(n, (operator, name))| writer.state(operator, name, layout(n))).collect();
    for (state, scope, bytes) in steps {
        let section = writer.section(indices[*state], *scope);
        if let Some(bytes) = bytes {
            section.entry().extend_from_slice(bytes);
        }
    }
    writer.finish(thalweg_io::Buffer::default())
}

proptest! {
    #[test]
    fn a_snapshot_comes_back(steps in steps()) {
        let mut model: BTreeMap<(usize, Scope), (u64, Vec<u8>)> = BTreeMap::new();
        for (state, scope, bytes) in &steps {
            let (entries, all) = model.entry((*state, *scope)).or_default();
            *entries += u64::from(bytes.is_some());
            all.extend_from_slice(bytes.as_deref().unwrap_or_default());
        }
        let snapshot = Snapshot::parse("x", written(&steps)).unwrap();
        let mut found = BTreeMap::new();
        for (number, (operator, name)) in STATES.iter().enumerate() {
            for section in snapshot.sections(operator, name) {
                prop_assert_eq!(section.bytes.as_ptr().addr() % 16, 0);
                prop_assert_eq!(section.layout, &layout(number));
                found.insert((number, section.scope), (section.entries, section.bytes.to_vec()));
            }
        }
        prop_assert_eq!(&found, &model);
        prop_assert_eq!(snapshot.sections("a", "c").count(), 0);
        let names: Vec<_> = snapshot.states().map(|state| (state.operator, state.state)).collect();
        prop_assert_eq!(names, STATES.map(|(operator, name)| (operator.to_owned(), name.to_owned())));
    }

    /// Entries of different sections may come in any order: the image is the same.
    #[test]
    fn the_image_does_not_depend_on_the_order_of_sections(steps in steps()) {
        let mut sorted = steps.clone();
        sorted.sort_by_key(|(state, scope, _)| (*state, *scope));
        prop_assert_eq!(&*written(&steps), &*written(&sorted));
    }

    #[test]
    fn metadata_comes_back(
        metadata in metadata(),
        subtasks in btree_set(("[a-c]{0,2}", 0..9u32), 0..6),
        kinds in vec((any::<bool>(), steps()), 6),
    ) {
        let mut metadata = metadata;
        let mut images = Vec::new();
        let snapshots = subtasks.into_iter().zip(kinds).map(|((task, subtask), (is_inline, steps))| {
            let image = written(&steps);
            let crc = crc32fast::hash(&image);
            images.push(is_inline.then(|| image.to_vec()));
            let image = if is_inline {
                Image::Inline(image)
            } else {
                let name = state_file_name(metadata.attempt, metadata.id, &task, subtask);
                Image::File(FileRef { name, len: image.len() as u64, crc })
            };
            TaskSnapshot { task, subtask, parallelism: 9, image }
        });
        let snapshots: Vec<_> = snapshots.collect();
        let file = metadata.encode(snapshots);
        let read = Metadata::decode("x", file).unwrap();
        prop_assert_eq!(&read.metadata, &metadata);
        prop_assert_eq!(read.metadata.snapshots.len(), images.len().min(metadata.snapshots.len()));
        let inline: Vec<_> = images.iter().enumerate().filter(|(_, image)| image.is_some()).map(|(place, _)| place).collect();
        prop_assert_eq!(read.inline.iter().map(|(place, _)| *place).collect::<Vec<_>>(), inline);
        for (place, snapshot) in read.inline {
            let alone = Snapshot::parse("x", images[place].as_deref().unwrap().into()).unwrap();
            prop_assert_eq!(snapshot.states().collect::<Vec<_>>(), alone.states().collect::<Vec<_>>());
            for (operator, name) in STATES {
                prop_assert!(snapshot.sections(operator, name).eq(alone.sections(operator, name)));
            }
        }
    }
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let numbers = (any::<u64>(), any::<u64>(), 0..u64::MAX, any::<i64>(), any::<u64>(), any::<u32>(), any::<bool>());
    let text = || proptest::string::string_regex("(?s).{0,8}").unwrap();
    let bytes = || vec(any::<u8>(), 0..20);
    let operators = vec((text(), text(), any::<u32>()), 0..4);
    let sources = vec((text(), text(), vec((any::<u32>(), bytes()), 0..4)), 0..4);
    let transactions = vec((text(), any::<u64>(), text(), bytes()), 0..4);
    let finished = btree_set((text(), any::<u32>()), 0..4);
    (numbers, operators, sources, transactions, finished).prop_map(|(numbers, operators, sources, transactions, finished)| {
        let (job, attempt, id, completed_at_ms, duration_ms, key_groups, finished_job) = numbers;
        let split = |(number, position)| SplitEntry { number, position };
        Metadata {
            job: JobId(job),
            attempt: Attempt(attempt),
            id: CheckpointId(id),
            completed_at_ms,
            duration_ms,
            key_groups,
            finished: finished_job,
            operators: operators.into_iter().map(|(uid, name, parallelism)| OperatorEntry { uid, name, parallelism }).collect(),
            snapshots: vec![],
            sources: sources
                .into_iter()
                .map(|(uid, layout, splits)| SourceEntry {
                    uid,
                    layout: Layout::described(&layout),
                    splits: splits.into_iter().map(split).collect(),
                })
                .collect(),
            transactions: transactions
                .into_iter()
                .map(|(sink_uid, checkpoint, layout, transaction)| TransactionEntry {
                    sink_uid,
                    checkpoint: CheckpointId(checkpoint.min(id)),
                    layout: Layout::described(&layout),
                    transaction,
                })
                .collect(),
            finished_subtasks: finished.into_iter().map(|(task, subtask)| FinishedSubtask { task, subtask }).collect(),
        }
    })
}
