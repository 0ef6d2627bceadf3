//! The messages of a control connection: the handshake of a worker, then the engine's own messages and heartbeats.
//!
//! The kinds and their fields are listed in docs/src/formats.md#control-messages. A coordinator's copy of a restored checkpoint stays with it: a worker
//! reads the files of the checkpoint itself.

use super::config::Heartbeat;
use super::fields::{Field, Fields, Malformed, record, variants};
use core::net::SocketAddr;
use std::borrow::Cow;
use std::sync::Arc;
use thalweg_kernel::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg_kernel::worker::OperatorId;
use thalweg_kernel::worker::PreparedEpoch;
use thalweg_kernel::worker::{
    Acknowledgement, AttemptPlan, Deployment, FromSubtask, Placement, RestorePlan, Seat, SnapshotPlace, ToSubtask, ToWorker, WorkerId,
};
use thalweg_kernel::{Cure, Durations, FailureCause, JobError, Metric, MetricKind, MetricScope, Refusal, SnapshotTimes};
use thalweg_record::HashRange;
use thalweg_storage::checkpoint::{FileRef, Image, StateFile};

/// A message of a control connection.
pub(crate) enum Message {
    /// The worker's first message: it has connected.
    Hello { binary: u64, name: String },
    /// The coordinator accepts the binary, and sends the options and description from which to build the job, and the heartbeat settings for both sides.
    Options { options: Vec<String>, description: Vec<u8>, heartbeat: Heartbeat },
    /// The worker has built the job.
    Register { graph: u64, cores: usize, doors: Vec<SocketAddr> },
    /// The worker belongs to the job.
    Accepted { worker: WorkerId },
    /// The worker is refused, why, and whether another try would be refused too. Nothing follows.
    Refused { reason: String, is_final: bool },
    /// The sender is alive.
    Heartbeat,
    /// An order of the coordinator.
    Order(ToWorker),
    /// A report of a subtask.
    Report { attempt: Attempt, message: FromSubtask },
    /// Metrics of the worker's part of an attempt.
    Metrics { attempt: Attempt, metrics: Vec<Metric> },
    /// The worker leaves because it was told to stop. Nothing follows.
    Leaving,
}

impl Message {
    /// The name of the message, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "a greeting",
            Self::Options { .. } => "the list of options",
            Self::Register { .. } => "a registration",
            Self::Accepted { .. } | Self::Refused { .. } => "the answer to a registration",
            Self::Heartbeat => "a sign of life",
            Self::Order(ToWorker::Deploy(_)) => "the plan of an attempt",
            Self::Order(ToWorker::ToSubtask { .. }) => "a message to a subtask",
            Self::Order(ToWorker::End { .. }) => "the end of the job",
            Self::Report { message: FromSubtask::Acknowledged { .. }, .. } => "the part of a subtask in a checkpoint",
            Self::Report { .. } => "a message of a subtask",
            Self::Metrics { .. } => "a report of metrics",
            Self::Leaving => "a farewell",
        }
    }
}

variants!(Message, "a message of an unknown kind":
    1 => Hello { binary: binary, name: name },
    2 => Options { options: options, description: description, heartbeat: heartbeat },
    3 => Register { graph: graph, cores: cores, doors: doors },
    4 => Accepted { worker: worker },
    5 => Refused { reason: reason, is_final: is_final },
    6 => Heartbeat {},
    7 => Order { 0: order },
    8 => Report { attempt: attempt, message: message },
    9 => Metrics { attempt: attempt, metrics: metrics },
    10 => Leaving {},
);

variants!(ToWorker, "an order of an unknown kind":
    1 => Deploy { 0: deployment },
    2 => ToSubtask { attempt: attempt, subtask: subtask, message: message },
    3 => End { failure: failure },
);

variants!(ToSubtask, "a message to a subtask of an unknown kind":
    1 => Split { number: number, split: split },
    2 => NoMoreSplits {},
    3 => Trigger { checkpoint: checkpoint, stops: stops },
    4 => Drain {},
    5 => Close {},
);

variants!(FromSubtask, "a message of a subtask of an unknown kind":
    1 => SplitRequested { source: source, subtask: subtask },
    2 => Acknowledged { subtask: subtask, acknowledgement: acknowledgement },
    3 => Declined { subtask: subtask, checkpoint: checkpoint, is_outpaced: is_outpaced, keeps_files: keeps_files, prepared: prepared },
    4 => Finished { subtask: subtask, prepared: prepared },
    5 => Failed { subtask: subtask, error: error },
    6 => Ended { subtask: subtask, metrics: metrics },
    7 => WaitsForRoom { subtask: subtask, reason: reason },
);

variants!(Image, "state in an unknown place":
    1 => Inline { 0: image },
    2 => File { 0: file },
);

variants!(MetricScope, "a metric of an unknown scope":
    1 => Job {},
    2 => Task {},
    3 => Operator {},
);

variants!(MetricKind, "a metric of an unknown kind":
    1 => Counter {},
    2 => Gauge {},
    3 => Histogram {},
);

variants!(Cure, "an unknown cure":
    1 => RestoreNothing {},
    2 => RestoreOlderCheckpoint {},
    3 => LeaveStateBehind {},
    4 => TakeOverOutput {},
    5 => ReplaceOutput {},
    6 => DiscardLaterOutput {},
);

variants!(FailureCause, "a failure of an unknown cause":
    0 => Other {},
    1 => StorageFull {},
    2 => PermissionDenied {},
    3 => Fenced {},
    4 => Damage {},
    5 => Unusable {},
);

record! {
    Attempt { 0: number }
    CheckpointId { 0: number }
    JobId { 0: number }
    OperatorId { 0: number }
    WorkerId { 0: number }
    FileRef { name: name, len: len, crc: crc }
    HashRange { first: first, last: last }
    StateFile { hashes: hashes, image: image }
    Acknowledgement { checkpoint: checkpoint, state: state, splits: splits, prepared: prepared, times: times }
    SnapshotTimes { alignment: alignment, saving: saving, storing: storing }
    PreparedEpoch { checkpoint: checkpoint, sink: sink, transaction: transaction }
    AttemptPlan { job: job, attempt: attempt, owner: owner, epoch: epoch, snapshots: snapshots }
    SnapshotPlace { dir: dir, inline_bytes_max: inline_bytes_max }
    Placement { parallelism: parallelism, seats: seats }
    Seat { worker: worker, name: name, cores: cores, doors: doors }
    Heartbeat { interval: interval, timeout: timeout }
}

impl Field for RestorePlan {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { path, metadata: (bytes, crc), allow_non_restored_state, .. } = self;
        path.put(out);
        bytes.put(out);
        crc.put(out);
        allow_non_restored_state.put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (path, metadata) = (Field::take(fields)?, (Field::take(fields)?, Field::take(fields)?));
        Ok(Self::to_be_read(path, metadata, Field::take(fields)?))
    }
}

impl Field for Metric {
    fn put(&self, out: &mut Vec<u8>) {
        // The worker is known from the connection.
        let Self { scope, operator, uid, subtask, channel, worker: _, name, kind, value, durations } = self;
        scope.put(out);
        operator.put(out);
        uid.put(out);
        subtask.put(out);
        channel.put(out);
        name.put(out);
        kind.put(out);
        value.put(out);
        durations.put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            scope: Field::take(fields)?,
            operator: Field::take(fields)?,
            uid: Field::take(fields)?,
            subtask: Field::take(fields)?,
            channel: Field::take(fields)?,
            worker: None,
            name: Field::take(fields)?,
            kind: Field::take(fields)?,
            value: Field::take(fields)?,
            durations: Field::take(fields)?,
        })
    }
}

impl Field for Arc<Durations> {
    fn put(&self, out: &mut Vec<u8>) {
        self.cells().collect::<Vec<_>>().put(out);
        self.sum().put(out);
        self.max().put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let cells: Vec<(u64, u64)> = Field::take(fields)?;
        Ok(Arc::new(Durations::of_cells(cells, Field::take(fields)?, Field::take(fields)?)))
    }
}

impl Field for Deployment {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { plan, restore, layout, seat } = self;
        plan.put(out);
        restore.put(out);
        layout.put(out);
        seat.put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let plan = Field::take(fields)?;
        let restore = Field::take(fields)?;
        let layout: Placement = Field::take(fields)?;
        let seat = Field::take(fields)?;
        let is_whole = layout.seats.iter().all(|seat| seat.cores > 0 && (seat.doors.is_empty() || seat.doors.len() == seat.cores));
        if seat >= layout.seats.len() || !is_whole || layout.parallelism.contains(&0) {
            return Err(fields.malformed("a plan that cannot be carried out"));
        }
        Ok(Self { plan, restore, layout, seat })
    }
}

impl Field for Cow<'static, str> {
    fn put(&self, out: &mut Vec<u8>) {
        // Encoded like a `String`.
        self.clone().into_owned().put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        String::take(fields).map(Cow::Owned)
    }
}

impl Field for Arc<str> {
    fn put(&self, out: &mut Vec<u8>) {
        // Encoded like a `String`.
        self.to_string().put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        String::take(fields).map(Self::from)
    }
}

/// The longest text of a failure that is sent, in bytes: more than anybody reads, and little of a message.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// `text`, or its beginning and how much is missing. A failure stays readable, however long the record in it.
pub(super) fn shortened(text: &str) -> String {
    let mut text = text.to_owned();
    if text.len() > TEXT_BYTES_MAX {
        let kept = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let bytes = text.len();
        text.truncate(kept);
        text.push_str(&format!("... (the first {kept} of {bytes} bytes)"));
    }
    text
}

impl Field for JobError {
    fn put(&self, out: &mut Vec<u8>) {
        let (tag, subtask, texts): (u8, usize, [&str; 3]) = match self {
            Self::UserPanic { operator, subtask, message, record } => (1, *subtask, [operator, message, record]),
            Self::Operator { operator, subtask, reason } => (2, *subtask, [operator, reason, ""]),
            Self::Source { operator, subtask, reason } => (3, *subtask, [operator, reason, ""]),
            Self::Invalid(refusal) => {
                4u8.put(out);
                shortened(refusal.reason()).put(out);
                refusal.cures().to_vec().put(out);
                return;
            }
            Self::WorkerLost { worker, reason } => (5, 0, [worker, reason, ""]),
            Self::Exchange { worker, reason } => (6, 0, [worker, reason, ""]),
            Self::Internal { place, message } => (7, 0, [place, message, ""]),
            Self::Cancelled => (8, 0, [""; 3]),
            Self::Unfit { worker, reason } => (10, 0, [worker, reason, ""]),
            // Errors without an encoding of their own are sent as text.
            _ => {
                9u8.put(out);
                self.operator().map(shortened).put(out);
                self.subtask().put(out);
                shortened(&self.to_string()).put(out);
                self.cause().put(out);
                self.cures().to_vec().put(out);
                self.is_worth_a_restart().put(out);
                return;
            }
        };
        tag.put(out);
        subtask.put(out);
        texts.iter().for_each(|text| shortened(text).put(out));
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let tag = u8::take(fields)?;
        if tag == 9 {
            let (operator, subtask) = (Field::take(fields)?, Field::take(fields)?);
            let (message, cause, cures) = (Field::take(fields)?, Field::take(fields)?, Field::take(fields)?);
            return Ok(Self::Remote { operator, subtask, message, cause, cures, is_worth_a_restart: Field::take(fields)? });
        }
        if tag == 4 {
            let reason: String = Field::take(fields)?;
            return Ok(Self::Invalid(Refusal::from(reason).curable_by(Vec::<Cure>::take(fields)?)));
        }
        let subtask = usize::take(fields)?;
        let [first, second, third] = [String::take(fields)?, String::take(fields)?, String::take(fields)?];
        Ok(match tag {
            1 => Self::UserPanic { operator: first, subtask, message: second, record: third },
            2 => Self::Operator { operator: first, subtask, reason: second },
            3 => Self::Source { operator: first, subtask, reason: second },
            5 => Self::WorkerLost { worker: first, reason: second },
            6 => Self::Exchange { worker: first, reason: second },
            7 => Self::Internal { place: first, message: second },
            8 => Self::Cancelled,
            10 => Self::Unfit { worker: first, reason: second },
            _ => return Err(fields.malformed("a failure of an unknown kind")),
        })
    }
}
