//! A small job whose checkpoints can be told apart and checked for being whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::task::{Context, Poll};
use thalweg_io::{Buffer, SplitMix, UnixMillis};
use thalweg_record::HashRange;
use thalweg_record::record::Layout;
use thalweg_storage::checkpoint::*;
use thalweg_world::SteppedDisk;

pub const DIR: &str = "/data/checkpoints";
pub const JOB: JobId = JobId(0xfeed_0000_0000_0001);
/// Of the two subtasks, the image of the first travels with the metadata.
pub const INLINE_BELOW: usize = 400;

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

/// A disk on which a file is written once. Nothing is renamed there, and nothing locked: a log is fenced by its entries.
pub fn new_disk() -> SteppedDisk {
    seeded_disk(0)
}

/// The same with other draws of how far writes come that fail.
pub fn seeded_disk(seed: u64) -> SteppedDisk {
    let (disk, mut created) = (SteppedDisk::with_seed(seed), BTreeSet::new());
    disk.watch(move |operation, path| match operation {
        "create" => drop(created.insert(path.to_owned())),
        // Snapshots are written in pieces.
        "write to" if path.extension().is_some_and(|extension| extension == "state") => {
            assert!(created.contains(path), "{} is written when it is new", path.display());
        }
        "write to" => assert!(created.remove(path), "{} is written once", path.display()),
        "rename" | "lock" => panic!("{operation} {}", path.display()),
        _ => {}
    });
    disk
}

/// The files in the folder.
pub fn files(disk: &SteppedDisk) -> BTreeMap<String, Vec<u8>> {
    disk.files(DIR).unwrap().into_iter().collect()
}

/// The state of a subtask at a checkpoint.
pub fn image(attempt: Attempt, id: CheckpointId, subtask: u32) -> Buffer {
    let mut writer = SnapshotWriter::new();
    let counts = writer.state("count per word", "count", &StateLayout { key: Layout::of::<String>(), value: Layout::of::<u32>() });
    for part in 0..=subtask * 3 {
        let hashes = HashRange { first: 100 * part, last: 100 * part + 99 };
        writer.append(counts, Scope::Hashes(hashes), 1, format!("{attempt}/{id}/{subtask}/{part}").as_bytes());
    }
    let positions = writer.state("read lines", "watermark", &StateLayout::default());
    writer.append(positions, Scope::Split(subtask), 1, &id.0.to_le_bytes());
    writer.append(positions, Scope::Subtask, 0, b"");
    writer.finish().rest
}

pub fn metadata(attempt: Attempt, id: CheckpointId) -> Metadata {
    Metadata {
        job: JOB,
        attempt,
        id,
        completed_at_ms: 1_000 * id.0 as i64,
        duration_ms: 12,
        key_groups: 128,
        finished: false,
        operators: vec![OperatorEntry { uid: "count per word".to_owned(), name: "count".to_owned(), parallelism: 2 }],
        snapshots: vec![],
        sources: vec![SourceEntry {
            uid: "read lines".to_owned(),
            layout: Layout::of::<(u64, u64)>(),
            splits: vec![SplitEntry { number: 0, position: vec![id.0 as u8, 0xff] }],
        }],
        transactions: vec![TransactionEntry {
            sink_uid: "write".to_owned(),
            checkpoint: id,
            layout: Layout::of::<String>(),
            transaction: b"tx".to_vec(),
        }],
        finished_subtasks: vec![FinishedSubtask { task: "lines".to_owned(), subtask: 1 }],
    }
}

/// Takes checkpoint `id`: the states of two subtasks, then the rest. A state that lies in a file is added to that of the checkpoint before, if that is of this
/// attempt, too.
pub async fn take(
    disk: &SteppedDisk,
    checkpoints: &mut CheckpointStore,
    attempt: Attempt,
    id: CheckpointId,
) -> Result<Retained, CheckpointError> {
    let mut snapshots = Vec::new();
    for subtask in 0..2 {
        match store(disk, attempt, id, subtask).await {
            Ok(image) => {
                let images = match image {
                    Image::File(file) => {
                        let before = checkpoints.retained().last().filter(|before| before.attempt == attempt);
                        let before = before.map(|before| file_of(attempt, before.id, subtask));
                        before.into_iter().chain([file]).map(Image::File).collect()
                    }
                    Image::Inline(_) => vec![image],
                };
                snapshots.push(TaskSnapshot { task: "count".to_owned(), subtask, parallelism: 2, images });
            }
            Err(error) => {
                let own = snapshots.iter().filter_map(|snapshot| match snapshot.images.last() {
                    Some(Image::File(file)) => Some(file.name.as_str()),
                    _ => None,
                });
                discard(&*disk.door(), dir(), own).await?;
                return Err(error);
            }
        }
    }
    let completed = checkpoints.complete(metadata(attempt, id), snapshots, 2).await?;
    checkpoints.clean_up().await;
    Ok(completed)
}

/// The file in which a subtask has stored its image.
fn file_of(attempt: Attempt, id: CheckpointId, subtask: u32) -> FileRef {
    let image = image(attempt, id, subtask);
    FileRef { name: state_file_name(attempt, id, "count", subtask), len: image.len() as u64, crc: root_crc(&image) }
}

/// The checksum of an image's root: its last 32 bytes are the footer, which ends with its own checksum and a mark of four bytes.
pub fn root_crc(image: &[u8]) -> u32 {
    u32::from_le_bytes(image[image.len() - 8..][..4].try_into().unwrap())
}

/// Stores the image of a subtask: with the metadata if it is small, else in a file of its own.
async fn store(disk: &SteppedDisk, attempt: Attempt, id: CheckpointId, subtask: u32) -> Result<Image, CheckpointError> {
    let image = image(attempt, id, subtask);
    if image.len() < INLINE_BELOW {
        return Ok(Image::Inline(image));
    }
    write(disk, &state_file_name(attempt, id, "count", subtask), image).await.map(Image::File)
}

/// Writes an image to a file of its own, in pieces.
pub async fn write(disk: &SteppedDisk, name: &str, image: Buffer) -> Result<FileRef, CheckpointError> {
    let file = write_snapshot(&*disk.door(), dir(), name, &mut InPieces { image, at: 0 }).await?;
    Ok(file.expect("it is not given up"))
}

/// An image that is handed out in three pieces.
struct InPieces {
    image: Buffer,
    at: usize,
}

impl Pieces for InPieces {
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Piece> {
        let (from, step) = (self.at, (self.image.len() / 3).next_multiple_of(16));
        self.at = self.image.len().min(from + step);
        let rest = Buffer::from(&self.image[from..self.at]);
        let (len, root_crc) = (self.image.len() as u64, root_crc(&self.image));
        Poll::Ready(if self.at < self.image.len() {
            Piece::Part(rest)
        } else {
            Piece::End(ImageEnd { rest, len, root_crc, states: vec![] })
        })
    }

    fn give_back(&mut self, memory: Buffer) {
        assert!(!memory.is_empty());
    }
}

pub async fn open(disk: &SteppedDisk) -> Result<(CheckpointStore, History), CheckpointError> {
    // Always the same numbers: names of temporary files then collide with those of the dead, which must not matter.
    CheckpointStore::open(disk.door(), dir(), Box::new(SplitMix::new(7))).await
}

pub fn newest(history: &History) -> Origin {
    history.restorable().next().map_or(Origin::Fresh, |retained| Origin::Checkpoint(retained.id))
}

pub async fn begin(disk: &SteppedDisk) -> Result<(CheckpointStore, Attempt, History), CheckpointError> {
    let (mut store, history) = open(disk).await?;
    let attempt = store.begin_attempt(JOB, newest(&history), UnixMillis(5)).await?;
    Ok((store, attempt, history))
}

/// A job with checkpoints 1 to `last`.
pub fn with_checkpoints(last: u64) -> (SteppedDisk, CheckpointStore, Attempt) {
    let disk = new_disk();
    let (mut store, attempt, _) = disk.run(begin(&disk)).unwrap().unwrap();
    for id in 1..=last {
        disk.run(take(&disk, &mut store, attempt, CheckpointId(id))).unwrap().unwrap();
    }
    (disk, store, attempt)
}

/// Everything that a checkpoint says, in a form that can be compared.
pub fn content(checkpoint: &Checkpoint) -> String {
    let mut text = format!("{:?}\n", checkpoint.metadata);
    for (entry, snapshot) in checkpoint.snapshots.iter().flat_map(|(entry, state)| state.images().iter().map(move |image| (entry, image))) {
        for state in snapshot.states() {
            let sections: Vec<_> = snapshot.sections(&state.operator, &state.state).collect();
            assert!(sections.iter().all(|section| section.bytes.as_ptr().addr() % 16 == 0));
            text += &format!("{} {:?} {:?}\n", entry.subtask, state, sections);
        }
    }
    text
}

/// That the checkpoint is the one that was taken, with all its state.
pub fn assert_whole(checkpoint: &Checkpoint) {
    let (attempt, id) = (checkpoint.metadata.attempt, checkpoint.metadata.id);
    assert_eq!(checkpoint.snapshots.len(), 2, "checkpoint {id}");
    let written = Metadata { snapshots: checkpoint.metadata.snapshots.clone(), ..metadata(attempt, id) };
    assert_eq!(checkpoint.metadata, written);
    for (entry, state) in &checkpoint.snapshots {
        assert!(entry.places.len() <= 2 && state.images().len() == entry.places.len(), "{:?}", entry.places);
        for (place, snapshot) in entry.places.iter().zip(state.images()) {
            let of = match place {
                Place::File(file) => checkpoint_of_state_file(&file.name, attempt, "count", entry.subtask).unwrap(),
                Place::Inline { .. } => id,
            };
            let expected = Snapshot::parse("expected", image(attempt, of, entry.subtask)).unwrap();
            let sections = |snapshot: &Snapshot| format!("{:?}", snapshot.sections("count per word", "count").collect::<Vec<_>>());
            assert_eq!(sections(snapshot), sections(&expected), "subtask {} of checkpoint {id}, {place:?}", entry.subtask);
        }
    }
}

/// The names that a folder should hold when nothing is left over: those of the log, and of what is retained.
pub fn assert_nothing_left_over(disk: &SteppedDisk) {
    let (_, history) = disk.run(open(disk)).unwrap().unwrap();
    let mut needed = Vec::new();
    for retained in history.restorable() {
        let checkpoint = disk.run(load(&*disk.door(), dir(), retained)).unwrap().unwrap();
        assert_whole(&checkpoint);
        needed.push(retained.metadata.name.clone());
        needed.extend(checkpoint.metadata.files().map(|file| file.name.clone()));
    }
    let (entries, mut others): (Vec<_>, Vec<_>) = files(disk).into_keys().partition(|name| name.ends_with(".entry"));
    // The newest entry's, unless its link failed.
    let head = entries.last().unwrap().replace(".entry", ".head");
    others.retain(|name| *name != head);
    others.sort();
    needed.sort();
    // Checkpoints share files.
    needed.dedup();
    assert_eq!(others, needed);
    assert!(entries.len() <= 16, "{entries:?}");
}
