//! Whose a folder is: one job's at a time, whatever two of them do.

mod judging;
mod losing;
mod taking;

use crate::results::{Numbers, all_files, from, sink, write};
use std::path::PathBuf;
use thalweg::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg::connectors::FileTransaction;
use thalweg::io::{Io, IoError, ProcessIdentity, UnixMillis};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkError, SinkWriter};
use thalweg_world::SteppedDisk;

pub fn process(host: &str, pid: u32) -> ProcessIdentity {
    ProcessIdentity { host: host.to_owned(), pid, started: UnixMillis(1_700_000_000_000) }
}

/// A process that runs a job with a sink of its own.
pub struct Process {
    pub disk: SteppedDisk,
    pub identity: ProcessIdentity,
    pub sink: Numbers,
    /// By which the process knows its own.
    pub owner: u64,
    pub job: JobId,
    pub attempt: u64,
    pub checkpoints: Option<PathBuf>,
}

impl Process {
    /// The first attempt of a job of its own, without checkpoints.
    pub fn new(disk: &SteppedDisk, pid: u32) -> Self {
        let (identity, owner) = (process("here", pid), u64::from(pid));
        Self { disk: disk.clone(), identity, sink: sink(), owner, job: JobId(owner), attempt: 1, checkpoints: None }
    }

    pub fn io(&self) -> Io {
        self.disk.io_of(&self.identity)
    }

    pub fn recovery(&self) -> Recovery<FileTransaction> {
        let Self { owner, job, .. } = *self;
        Recovery { owner, job, attempt: Attempt(self.attempt), checkpoints: self.checkpoints.clone(), ..from(None, &[]) }
    }

    pub fn recover_with(&self, recovery: Recovery<FileTransaction>) -> Result<(), SinkError> {
        self.disk.run(self.sink.recover(self.io(), recovery)).unwrap()
    }

    pub fn recover(&self) -> Result<(), SinkError> {
        self.recover_with(self.recovery())
    }

    /// Looks, as before an attempt that is written into a log.
    pub fn check(&self) -> Result<(), SinkError> {
        self.disk.run(self.sink.check(self.io(), self.recovery())).unwrap()
    }

    pub fn take_over(&self) -> Result<(), SinkError> {
        self.recover_with(Recovery { take_over_output: true, ..self.recovery() })
    }

    pub fn finish(&self) {
        self.recover_with(Recovery { is_last: true, ..self.recovery() }).unwrap();
    }

    /// What it is told when it wants a folder that it cannot have; it has left everything as it was.
    pub fn refusal(&self) -> String {
        let before = all_files(&self.disk);
        let (Err(SinkError::Invalid(seen)), Err(SinkError::Invalid(refusal))) = (self.check(), self.recover()) else {
            panic!("it is not refused")
        };
        assert_eq!(seen, refusal);
        assert_eq!(all_files(&self.disk), before);
        // What follows a refusal.
        self.finish();
        assert_eq!(all_files(&self.disk), before);
        refusal.to_string()
    }

    pub fn epoch_or(&self, epoch: u64, number: u32) -> Result<Option<FileTransaction>, IoError> {
        let (io, owner, job) = (self.io(), self.owner, self.job);
        let (attempt, epoch) = (Attempt(self.attempt), CheckpointId(epoch));
        let mut writer = self.sink.writer(SinkContext { io, subtask: 0, parallelism: 1, write_block_bytes: 4, job, owner, attempt, epoch });
        write(&self.disk, &mut writer, [number]).unwrap();
        writer.seal(epoch);
        self.disk.run(std::future::poll_fn(|cx| writer.poll_prepare(cx))).unwrap()
    }

    pub fn epoch(&self, epoch: u64, number: u32) -> FileTransaction {
        self.epoch_or(epoch, number).unwrap().unwrap()
    }

    pub fn commit(&self, transaction: FileTransaction) -> Result<(), SinkError> {
        self.disk.run(self.sink.commit(self.io(), vec![transaction])).unwrap()
    }
}

#[track_caller]
pub fn assert_overtaken(result: Result<(), SinkError>) {
    assert!(matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("taken over by process 2 on here")), "{result:?}");
}
