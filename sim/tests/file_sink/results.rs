//! A sink of numbers, and what is asked of it in these tests.

use std::future::poll_fn;
use thalweg::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg::connectors::{FileSink, FileTransaction, Lines};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkError, SinkWriter};
use thalweg_world::{DiskFault, DiskFaultKind, Loss, OperationClass, SteppedDisk};

pub const JOB: JobId = JobId(0xfeed);
pub const OWNER: u64 = 0xface;
pub const DIR: &str = "all/the/results";
pub const OWNER_FILES: &str = ".thalweg-owner-";
pub const LOSSES: [Loss; 6] = [Loss::Nothing, Loss::Everything, Loss::Drawn(1), Loss::Drawn(2), Loss::Drawn(3), Loss::Drawn(4)];

pub type Numbers = FileSink<u32, Lines<fn(u32, &mut String)>>;
pub type Writer = <Numbers as Sink>::Writer;

/// A disk on which nothing is renamed: a result gets a further name, and then loses the first.
pub fn new_disk() -> SteppedDisk {
    seeded_disk(0)
}

/// The same with other draws of how far writes come that fail.
pub fn seeded_disk(seed: u64) -> SteppedDisk {
    let disk = SteppedDisk::with_seed(seed);
    disk.watch(|operation, path| assert_ne!(operation, "rename", "{}", path.display()));
    disk
}

/// From the `n`th operation from now on the disk is full.
pub fn fill(disk: &SteppedDisk, n: u64) {
    disk.plan_fault(DiskFault::at(n, DiskFaultKind::Full).lasting(u64::MAX));
}

/// Until the disk is healed, no sync of a file comes to its end within what a test polls meanwhile.
pub fn stall_syncs(disk: &SteppedDisk) {
    disk.plan_fault(DiskFault::of(OperationClass::Sync, 0, DiskFaultKind::Stall { ms: 10_000 }).lasting(u64::MAX));
}

pub fn sink() -> Numbers {
    let line: fn(u32, &mut String) = |number, line| line.push_str(&number.to_string());
    FileSink::<u32>::lines(DIR, line)
}

pub fn from(restored: Option<u64>, committed: &[FileTransaction]) -> Recovery<FileTransaction> {
    Recovery {
        job: JOB,
        attempt: Attempt(9),
        restored: restored.map(CheckpointId),
        committed: committed.to_vec(),
        discard_later_output: false,
        owner: OWNER,
        checkpoints: None,
        inputs: vec![],
        take_over_output: false,
        is_last: false,
    }
}

pub fn recover(disk: &SteppedDisk, sink: &Numbers, recovery: Recovery<FileTransaction>) -> Option<Result<(), SinkError>> {
    disk.run(sink.recover(disk.io(), recovery))
}

pub fn refusal(disk: &SteppedDisk, sink: &Numbers, recovery: Recovery<FileTransaction>) -> String {
    match recover(disk, sink, recovery) {
        Some(Err(SinkError::Invalid(refusal))) => refusal.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub fn commit(disk: &SteppedDisk, sink: &Numbers, transactions: &[FileTransaction]) {
    disk.run(sink.commit(disk.io(), transactions.to_vec())).unwrap().unwrap();
}

pub fn writer(disk: &SteppedDisk, sink: &Numbers, subtask: usize, attempt: u64, epoch: u64, block: usize) -> Writer {
    writer_of(OWNER, disk, sink, subtask, attempt, epoch, block)
}

/// The same for another process.
pub fn writer_of(owner: u64, disk: &SteppedDisk, sink: &Numbers, subtask: usize, attempt: u64, epoch: u64, block: usize) -> Writer {
    sink.writer(SinkContext {
        io: disk.io(),
        subtask,
        parallelism: 2,
        write_block_bytes: block,
        job: JOB,
        owner,
        attempt: Attempt(attempt),
        epoch: CheckpointId(epoch),
    })
}

/// Writes `numbers`, waiting for room. `None` if the process stops meanwhile.
pub fn write(disk: &SteppedDisk, writer: &mut Writer, numbers: impl IntoIterator<Item = u32>) -> Option<()> {
    for number in numbers {
        while !writer.ready() {
            disk.run(poll_fn(|cx| writer.poll_progress(cx)))?.unwrap();
        }
        writer.write(0, number);
    }
    Some(())
}

pub fn prepare(disk: &SteppedDisk, writer: &mut Writer) -> Option<Option<FileTransaction>> {
    Some(disk.run(poll_fn(|cx| writer.poll_prepare(cx)))?.unwrap())
}

/// One epoch of one subtask, prepared.
pub fn epoch(disk: &SteppedDisk, sink: &Numbers, subtask: usize, attempt: u64, epoch: u64, numbers: &[u32]) -> FileTransaction {
    let mut writer = writer(disk, sink, subtask, attempt, epoch, 4);
    write(disk, &mut writer, numbers.iter().copied()).unwrap();
    writer.seal(CheckpointId(epoch));
    prepare(disk, &mut writer).unwrap().unwrap()
}

/// Name and content of each file in the folder.
pub fn all_files(disk: &SteppedDisk) -> Vec<(String, String)> {
    let files = disk.files(DIR).unwrap_or_default();
    files.into_iter().map(|(name, content)| (name, String::from_utf8_lossy(&content).into_owned())).collect()
}

/// The same, apart from what says whose it is.
pub fn files(disk: &SteppedDisk) -> Vec<(String, String)> {
    let mut files = all_files(disk);
    files.retain(|(name, _)| !name.starts_with(OWNER_FILES));
    files
}

/// What says whose the folder is.
pub fn owner_files(disk: &SteppedDisk) -> Vec<(String, String)> {
    let mut files = all_files(disk);
    files.retain(|(name, _)| name.starts_with(OWNER_FILES));
    files
}

/// The names of the visible files, the hidden ones last; without those that say whose the folder is.
pub fn names(disk: &SteppedDisk) -> Vec<String> {
    let mut names: Vec<_> = files(disk).into_iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| (name.starts_with('.'), name.clone()));
    names
}

pub fn visible(subtask: usize, epoch: u64, roll: u64) -> String {
    format!("part-{JOB}-{subtask}-{epoch}-{roll}.txt")
}
