//! Calls to a job's sinks apart from writing: to check their places, to recover them, to clean up after the last attempt, and to commit.
//!
//! Sinks are called one after the other, in the order of the graph; the first one that fails, or panics, fails the job (docs/src/semantics.md#o-4).

use crate::attempt::room::RoomWaits;
use crate::attempt::splits::aligned;
use crate::attempt::transactions::PreparedTransaction;
use crate::checkpoint::{Attempt, JobId};
use crate::error::JobError;
use crate::graph::{Job, RecoverSink, SinkPlan};
use crate::job::inbox::Inbox;
use crate::sink::{Recovery, SinkError};
use crate::subtask::panics::without_panic;
use crate::worker::shared::CoreShared;
use rkyv::util::AlignedVec;
use std::time::Duration;
use thalweg_io::{Io, IoError, LocalBoxFuture};
use thalweg_storage::checkpoint::Metadata;

/// Time after which a sink that found no room is called again.
pub(crate) const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a call to a sink did not succeed.
pub(crate) enum SinkUndone {
    /// The sink of this operator found no room. Nothing has failed: it can be called again.
    NoRoom { operator: String, source: IoError },
    /// The failure of the job.
    Failed(JobError),
}

impl From<SinkUndone> for JobError {
    fn from(undone: SinkUndone) -> Self {
        match undone {
            SinkUndone::NoRoom { operator, source } => Self::Sink { operator, subtask: 0, source },
            SinkUndone::Failed(error) => error,
        }
    }
}

/// The sinks of a job before an attempt, or after the last one.
pub(crate) struct Sinks<'a> {
    pub(crate) job: &'a Job,
    pub(crate) io: &'a Io,
    pub(crate) id: JobId,
    /// Identifies this process: see [`Recovery::owner`].
    pub(crate) owner: u64,
    pub(crate) attempt: Attempt,
    /// The checkpoint that the attempt resumes from, unless it starts afresh.
    pub(crate) from: Option<&'a Metadata>,
}

impl Sinks<'_> {
    /// Has every sink check its place; nothing changes.
    pub(crate) async fn check(&self, discard_later_output: bool, inbox: &mut Inbox) -> Result<(), JobError> {
        for sink in &self.job.sinks {
            inbox.listening(self.ask(sink, &sink.check, discard_later_output, false)).await?.map_err(JobError::from)?;
        }
        Ok(())
    }

    /// Has every sink recover its place. A sink that finds no room is called again and again, while `shared` shows that somebody waits
    /// (docs/src/semantics.md#o-7).
    pub(crate) async fn recover(&self, discard_later_output: bool, inbox: &mut Inbox, shared: &CoreShared) -> Result<(), JobError> {
        let clock = self.io.clock();
        let mut waits = RoomWaits::default();
        for sink in &self.job.sinks {
            while let Err(undone) = inbox.hearing_out(self.ask(sink, &sink.recover, discard_later_output, false)).await? {
                let SinkUndone::NoRoom { operator, source } = undone else { return Err(undone.into()) };
                self.io.observe("recovery.no-room", &operator, [self.attempt.0 as i64, 0, 0]);
                waits.coordinator(Some(source.to_string()));
                waits.tell(clock.now(), shared);
                let asked_again = inbox.listening(clock.sleep_until(clock.now().after(ASK_AGAIN_AFTER))).await;
                if asked_again.is_err() {
                    waits.coordinator(None);
                    waits.tell(clock.now(), shared);
                }
                asked_again?;
            }
        }
        waits.coordinator(None);
        waits.tell(clock.now(), shared);
        Ok(())
    }

    /// Has every sink remove the leftovers of the last attempt. Another request to end the job does not interrupt this, nor does the failure of a sink.
    /// Returns the first failure, unless a later one is worse: that a sink has lost its place.
    pub(crate) async fn clean_up(&self) -> Result<(), JobError> {
        let mut told = Ok(());
        for sink in &self.job.sinks {
            let asked = self.ask(sink, &sink.recover, false, true).await.map_err(JobError::from);
            let is_worse = matches!(asked, Err(JobError::Overtaken { .. })) && !matches!(told, Err(JobError::Overtaken { .. }));
            if told.is_ok() || is_worse {
                told = asked;
            }
        }
        told
    }

    async fn ask(&self, sink: &SinkPlan, what: &RecoverSink, discard_later_output: bool, is_last: bool) -> Result<(), SinkUndone> {
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

/// Has every sink commit its transactions among `transactions`.
pub(crate) fn commit(job: &Job, io: &Io, transactions: &[PreparedTransaction]) -> LocalBoxFuture<Result<(), SinkUndone>> {
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

/// The outcome of the sink of `operator`, which was `doing` something.
fn outcome(done: Result<Result<(), SinkError>, String>, operator: &str, doing: &str) -> Result<(), SinkUndone> {
    let operator = operator.to_owned();
    Err(SinkUndone::Failed(match done {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(SinkError::NoRoom(source))) => return Err(SinkUndone::NoRoom { operator, source }),
        Ok(Err(SinkError::Invalid(reason))) => JobError::Invalid(reason),
        Ok(Err(SinkError::Overtaken(reason))) => JobError::Overtaken { operator, reason },
        Ok(Err(SinkError::Io(source))) => JobError::Sink { operator, subtask: 0, source },
        Err(message) => JobError::UserPanic { operator, subtask: 0, message, record: doing.to_owned() },
    }))
}
