//! What is written comes back.

use crate::job::root_crc;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use thalweg_io::{BUFFER_ALIGN, Buffer};
use thalweg_record::HashRange;
use thalweg_record::record::Layout;
use thalweg_storage::checkpoint::*;

/// Which state, the hashes of its entries, how many there are, which bytes.
type Step = (usize, HashRange, u64, Vec<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hashes = (any::<u32>(), any::<u32>()).prop_map(|(one, other)| HashRange { first: one.min(other), last: one.max(other) });
    vec((0..4usize, hashes, any::<u64>(), vec(any::<u8>(), 0..40)), 0..60)
}

const STATES: [(&str, &str); 4] = [("", ""), ("a", "b"), ("ab", ""), ("a", "\u{e9}\0/..")];

fn layout(state: usize) -> StateLayout {
    StateLayout { key: Layout::described(&"k".repeat(state)), value: Layout::of::<u64>() }
}

fn writer(steps: &[Step]) -> (SnapshotWriter, Vec<StateIndex>) {
    let mut writer = SnapshotWriter::new();
    let indices: Vec<_> = STATES.iter().enumerate().map(|(n, (operator, name))| writer.state(operator, name, &layout(n))).collect();
    for (state, hashes, entries, bytes) in steps {
        writer.append(indices[*state], Scope::Hashes(*hashes), *entries, bytes);
    }
    (writer, indices)
}

fn written(steps: &[Step]) -> Buffer {
    writer(steps).0.finish().rest
}

proptest! {
    #[test]
    fn a_snapshot_comes_back(steps in steps(), splits in btree_set(any::<u32>(), 0..5)) {
        let (mut writer, indices) = writer(&steps);
        splits.iter().for_each(|split| writer.append(indices[1], Scope::Split(*split), 1, &split.to_le_bytes()));
        writer.append(indices[1], Scope::Subtask, 1, b"all");
        let snapshot = Snapshot::parse("x", writer.finish().rest).unwrap();
        for (number, (operator, name)) in STATES.iter().enumerate() {
            let of_state = steps.iter().filter(|(state, ..)| *state == number);
            let mut expected: Vec<_> =
                of_state.map(|(_, hashes, entries, bytes)| (Scope::Hashes(*hashes), *entries, bytes.clone())).collect();
            if number == 1 {
                expected.extend(splits.iter().map(|split| (Scope::Split(*split), 1, split.to_le_bytes().to_vec())));
                expected.push((Scope::Subtask, 1, b"all".to_vec()));
            }
            let found: Vec<_> = snapshot.sections(operator, name).inspect(|section| {
                assert_eq!((section.bytes.as_ptr().addr() % 16, section.layout), (0, &layout(number)));
            }).map(|section| (section.scope, section.entries, section.bytes.to_vec())).collect();
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(snapshot.sections("a", "c").count(), 0);
        let names: Vec<_> = snapshot.states().map(|state| (state.operator, state.state)).collect();
        prop_assert_eq!(names, STATES.map(|(operator, name)| (operator.to_owned(), name.to_owned())));
    }

    /// What is taken out on the way, and what is left at the end, are together the image.
    #[test]
    fn an_image_in_pieces_is_the_image(steps in steps(), takes in vec(any::<bool>(), 60)) {
        let whole = written(&steps);
        let (mut writer, indices) = writer(&[]);
        let mut bytes = vec![];
        for ((state, hashes, entries, section), is_taken) in steps.iter().zip(takes) {
            writer.append(indices[*state], Scope::Hashes(*hashes), *entries, section);
            if is_taken {
                bytes.extend_from_slice(&writer.take(Buffer::default()));
            }
        }
        let end = writer.finish();
        bytes.extend_from_slice(&end.rest);
        prop_assert_eq!((end.len, end.root_crc), (whole.len() as u64, root_crc(&whole)));
        prop_assert!(bytes == *whole);
    }

    /// Pieces of many sections begin and end where they can be written around the page cache; the last one ends where the image does.
    #[test]
    fn pieces_are_cut_at_whole_pages(lengths in vec(1..9_000usize, 1..40)) {
        let (mut writer, indices) = writer(&[]);
        let mut at = 0;
        for length in lengths {
            writer.append(indices[0], Scope::Split(1), 1, &vec![7; length]);
            if writer.rest_len() >= 2 * BUFFER_ALIGN {
                let piece = writer.take(Buffer::default());
                prop_assert!(!piece.is_empty() && piece.len().is_multiple_of(BUFFER_ALIGN));
                at += piece.len();
            }
        }
        let end = writer.finish();
        prop_assert_eq!(at + end.rest.len(), end.len as usize);
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
            let crc = root_crc(&image);
            images.push(is_inline.then(|| image.to_vec()));
            let images = if is_inline {
                vec![Image::Inline(image)]
            } else {
                let file = |id| FileRef { name: state_file_name(metadata.attempt, id, &task, subtask), len: image.len() as u64, crc };
                (0..=u64::from(subtask)).map(|later| Image::File(file(CheckpointId(metadata.id.0.wrapping_add(later))))).collect()
            };
            TaskSnapshot { task, subtask, parallelism: 9, images }
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
    let numbers = (any::<u64>(), any::<u64>(), 0..u64::MAX, any::<i64>(), any::<u64>(), 1..=1u32 << 15, any::<bool>());
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
