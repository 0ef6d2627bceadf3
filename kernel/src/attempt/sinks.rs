//! What is asked of a job's sinks apart from writing: to look at their places, to recover them, to clean up after the last attempt, and to commit.
//!
//! It is asked of one sink after the other, in the order of the graph; the first that fails, or panics, is the failure of the job
//! (docs/src/semantics.md#o-4).

use crate::attempt::splits::aligned;
use crate::attempt::transactions::PreparedTransaction;
use crate::checkpoint::{Attempt, JobId};
use crate::error::JobError;
use crate::graph::{Job, RecoverSink, SinkPlan};
use crate::job::inbox::Inbox;
use crate::sink::{Recovery, SinkError};
use crate::subtask::panics::without_panic;
use rkyv::util::AlignedVec;
use thalweg_io::{Io, LocalBoxFuture};
use thalweg_storage::checkpoint::Metadata;

/// The sinks of a job before an attempt, or after the last one.
pub(crate) struct Sinks<'a> {
    pub(crate) job: &'a Job,
    pub(crate) io: &'a Io,
    pub(crate) id: JobId,
    /// This process, as [`Recovery::owner`] has it.
    pub(crate) owner: u64,
    pub(crate) attempt: Attempt,
    /// What the attempt goes on from, unless it is from the beginning.
    pub(crate) from: Option<&'a Metadata>,
}

impl Sinks<'_> {
    /// Has every sink look at its place; nothing changes.
    pub(crate) async fn check(&self, discard_later_output: bool, inbox: &mut Inbox) -> Result<(), JobError> {
        for sink in &self.job.sinks {
            inbox.listening(self.ask(sink, &sink.check, discard_later_output, false)).await??;
        }
        Ok(())
    }

    /// Has every sink recover its place.
    pub(crate) async fn recover(&self, discard_later_output: bool, inbox: &mut Inbox) -> Result<(), JobError> {
        for sink in &self.job.sinks {
            inbox.listening(self.ask(sink, &sink.recover, discard_later_output, false)).await??;
        }
        Ok(())
    }

    /// Has every sink remove what the last attempt has left behind. That is not given up because somebody says once more that the job is to end, nor
    /// because one of them fails. That one has lost its place is the worst that is to be told.
    pub(crate) async fn clean_up(&self) -> Result<(), JobError> {
        let mut told = Ok(());
        for sink in &self.job.sinks {
            let asked = self.ask(sink, &sink.recover, false, true).await;
            let is_worse = matches!(asked, Err(JobError::Overtaken { .. })) && !matches!(told, Err(JobError::Overtaken { .. }));
            if told.is_ok() || is_worse {
                told = asked;
            }
        }
        told
    }

    async fn ask(&self, sink: &SinkPlan, what: &RecoverSink, discard_later_output: bool, is_last: bool) -> Result<(), JobError> {
        let meta = &self.job.operators[sink.operator.0];
        let named = self.from.iter().flat_map(|metadata| &metadata.transactions);
        let own = named.filter(|transaction| transaction.sink_uid == meta.uid);
        let recovery = Recovery {
            job: self.id,
            attempt: self.attempt,
            restored: self.from.map(|metadata| metadata.id),
            committed: own.map(|transaction| aligned(&transaction.transaction)).collect(),
            discard_later_output,
            owner: self.owner,
            checkpoints: self.job.checkpoints.as_ref().map(|config| config.dir.clone()),
            inputs: self.job.sources.iter().filter_map(|(source, _)| source.input.clone()).collect(),
            take_over_output: self.job.take_over_output,
            is_last,
        };
        let done = without_panic(what(self.io.clone(), recovery)).await;
        outcome(done, &meta.name, "(looking after its place)")
    }
}

/// Has every sink commit what it has among `transactions`.
pub(crate) fn commit(job: &Job, io: &Io, transactions: &[PreparedTransaction]) -> LocalBoxFuture<Result<(), JobError>> {
    let mut commits = Vec::new();
    for sink in &job.sinks {
        let own = transactions.iter().filter(|prepared| prepared.sink == sink.operator);
        let own: Vec<AlignedVec> = own.map(|prepared| prepared.bytes.clone()).collect();
        if !own.is_empty() {
            let operator = job.operators[sink.operator.0].name.clone();
            commits.push((operator, (sink.commit)(io.clone(), own)));
        }
    }
    Box::pin(async move {
        for (operator, commit) in commits {
            outcome(without_panic(commit).await, &operator, "(committing)")?;
        }
        Ok(())
    })
}

/// What has come of what the sink of `operator` was `doing`.
fn outcome(done: Result<Result<(), SinkError>, String>, operator: &str, doing: &str) -> Result<(), JobError> {
    let operator = operator.to_owned();
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(SinkError::Invalid(reason))) => Err(JobError::Invalid(reason)),
        Ok(Err(SinkError::Overtaken(reason))) => Err(JobError::Overtaken { operator, reason }),
        Ok(Err(SinkError::Io(source))) => Err(JobError::Sink { operator, subtask: 0, source }),
        Err(message) => Err(JobError::UserPanic { operator, subtask: 0, message, record: doing.to_owned() }),
    }
}
