use super::*;
use crate::Heartbeat;
use crate::whole;
use proptest::prelude::*;
use rkyv::util::AlignedVec;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thalweg_io::{BUFFER_ALIGN, IoError};
use thalweg_kernel::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg_kernel::worker::OperatorId;
use thalweg_kernel::worker::PreparedEpoch;
use thalweg_kernel::worker::{
    Acknowledgement, AttemptPlan, Deployment, FromSubtask, Placement, RestorePlan, Seat, SnapshotPlace, ToSubtask, ToWorker, WorkerId,
};
use thalweg_kernel::{Cure, Durations, FailureCause, JobError, Metric, MetricKind, MetricScope, Refusal, SnapshotTimes};
use thalweg_storage::checkpoint::{CheckpointError, FileRef, Image};

fn archive(bytes: &[u8]) -> AlignedVec {
    let mut archive = AlignedVec::new();
    archive.extend_from_slice(bytes);
    archive
}

fn prepared() -> Option<PreparedEpoch> {
    Some(PreparedEpoch { checkpoint: CheckpointId(7), sink: OperatorId(3), transaction: Some(archive(&[1, 2, 3])) })
}

fn acknowledged(image: Image) -> Message {
    let millis = Duration::from_millis;
    let times = SnapshotTimes { alignment: millis(1), saving: millis(2), storing: millis(3) };
    let splits = vec![(4, archive(&[9; 20])), (5, archive(&[]))];
    let acknowledgement = Acknowledgement { checkpoint: CheckpointId(7), state: whole(image), splits, prepared: prepared(), times };
    report(FromSubtask::Acknowledged { subtask: 11, acknowledgement })
}

fn report(message: FromSubtask) -> Message {
    Message::Report { attempt: Attempt(2), message }
}

fn order(message: ToSubtask) -> Message {
    Message::Order(ToWorker::ToSubtask { attempt: Attempt(2), subtask: 5, message })
}

fn metric() -> Metric {
    Metric {
        scope: MetricScope::Task,
        operator: "source -> map".to_owned(),
        uid: "numbers".into(),
        subtask: 1,
        channel: Some(2),
        worker: None,
        name: "numRecordsIn".into(),
        kind: MetricKind::Counter,
        value: -5,
        durations: None,
    }
}

fn durations() -> Durations {
    let mut durations = Durations::default();
    [3, 40, 40, 5_000_000].map(Duration::from_micros).into_iter().for_each(|duration| durations.record(duration));
    durations
}

fn deployment() -> Deployment {
    let seat = |worker, cores| Seat {
        worker: WorkerId(worker),
        name: format!("worker {worker}"),
        cores,
        doors: (0..cores).map(|core| ([127, 0, 0, 1], 7000 + core as u16).into()).collect(),
    };
    Deployment {
        plan: AttemptPlan {
            job: JobId(u64::MAX),
            attempt: Attempt(2),
            owner: 77,
            epoch: CheckpointId(8),
            snapshots: Some(SnapshotPlace { dir: PathBuf::from("/checkpoints of a job"), inline_bytes_max: 20 << 10 }),
        },
        restore: Some(RestorePlan::to_be_read(PathBuf::from("/c/chk-7.metadata"), (4000, 0xc0ffee), true)),
        layout: Placement { parallelism: vec![3, 1], seats: vec![seat(1, 2), seat(2, 1)] },
        seat: 1,
    }
}

fn failures() -> Vec<JobError> {
    let text = |text: &str| text.to_owned();
    vec![
        JobError::UserPanic { operator: text("map"), subtask: 3, message: text("division by zero"), record: text("(1, 0)") },
        JobError::Operator { operator: text("map"), subtask: 3, reason: text("too late") },
        JobError::Source { operator: text("csv"), subtask: 0, reason: text("a.csv, line 3") },
        JobError::invalid(text("it has no sink")),
        JobError::Invalid(Refusal::from(text("leave it behind, or not")).curable_by([Cure::LeaveStateBehind, Cure::TakeOverOutput])),
        JobError::WorkerLost { worker: text("w"), reason: text("silence") },
        JobError::Exchange { worker: text("w"), reason: text("a checksum") },
        JobError::Internal { place: text("map(1/2)"), message: text("what must not be") },
        JobError::Cancelled,
        JobError::Unfit { worker: text("w"), reason: text("another folder") },
        JobError::Remote {
            operator: Some(text("files")),
            subtask: Some(3),
            message: text("it is fenced"),
            cause: FailureCause::Fenced,
            cures: vec![Cure::RestoreOlderCheckpoint],
            is_worth_a_restart: false,
        },
    ]
}

/// A message of each kind, with every variant of its fields.
fn all() -> Vec<Message> {
    let mut all = vec![
        Message::Hello { binary: 7, name: "127.0.0.1:7000".to_owned() },
        Message::Options {
            options: vec!["--input".to_owned(), "a b".to_owned()],
            description: vec![0, 255],
            heartbeat: Heartbeat::default(),
        },
        Message::Register { graph: 9, cores: 2, doors: vec![([127, 0, 0, 1], 7000).into(), ([0u16; 8], 1).into()] },
        Message::Accepted { worker: WorkerId(3) },
        Message::Refused { reason: "another binary".to_owned(), is_final: true },
        Message::Heartbeat,
        Message::Leaving,
        Message::Metrics {
            attempt: Attempt(2),
            metrics: vec![
                metric(),
                Metric { scope: MetricScope::Operator, kind: MetricKind::Gauge, channel: None, ..metric() },
                Metric { kind: MetricKind::Histogram, durations: Some(Arc::new(durations())), ..metric() },
            ],
        },
        Message::Order(ToWorker::Deploy(Box::new(deployment()))),
        Message::Order(ToWorker::End { failure: None }),
        Message::Order(ToWorker::End { failure: Some("it failed".to_owned()) }),
        order(ToSubtask::Split { number: 3, split: archive(&[5; 33]) }),
        order(ToSubtask::NoMoreSplits),
        order(ToSubtask::Trigger { checkpoint: CheckpointId(7), stops: true }),
        order(ToSubtask::Drain),
        order(ToSubtask::Close),
        report(FromSubtask::SplitRequested { source: OperatorId(0), subtask: 5 }),
        acknowledged(Image::Inline(Buffer::from(&[8; 100][..]))),
        acknowledged(Image::File(FileRef { name: "state-2-7".to_owned(), len: 1 << 40, crc: 77 })),
        report(FromSubtask::Declined {
            subtask: 3,
            checkpoint: CheckpointId(7),
            is_outpaced: true,
            keeps_files: false,
            prepared: prepared(),
        }),
        report(FromSubtask::Finished { subtask: 5, prepared: None }),
        report(FromSubtask::Ended { subtask: 5, metrics: vec![metric()] }),
        report(FromSubtask::WaitsForRoom { subtask: 5, reason: Some("cannot write to out/part-1".to_owned()) }),
        report(FromSubtask::WaitsForRoom { subtask: 5, reason: None }),
    ];
    all.extend(failures().into_iter().map(|error| report(FromSubtask::Failed { subtask: Some(3), error })));
    all
}

fn encoded(message: &Message) -> Buffer {
    encode(message).unwrap()
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for message in all() {
        let bytes = encoded(&message);
        assert_eq!(Header::decode(&bytes[..HEADER_BYTES], MESSAGE_BYTES_MAX).unwrap().length, bytes.len() - HEADER_BYTES);
        let read = decode(&bytes, MESSAGE_BYTES_MAX).unwrap();
        assert_eq!(read.name(), message.name());
        // Messages are compared by their bytes: encoding again gives the same.
        assert_eq!(&*encoded(&read), &*bytes, "{}", message.name());
    }
}

#[test]
fn what_a_message_holds_arrives() {
    let Message::Order(ToWorker::Deploy(read)) =
        decode(&encoded(&Message::Order(ToWorker::Deploy(Box::new(deployment())))), 1 << 20).unwrap()
    else {
        panic!("it was a deployment")
    };
    assert_eq!((read.layout, read.seat, read.plan.attempt), (deployment().layout, 1, Attempt(2)));
    assert_eq!(read.restore.unwrap().path, PathBuf::from("/c/chk-7.metadata"));
    let Message::Report { message: FromSubtask::Acknowledged { acknowledgement, .. }, .. } =
        decode(&encoded(&acknowledged(Image::Inline(Buffer::from(&[8; 100][..])))), 1 << 20).unwrap()
    else {
        panic!("it was an acknowledgement")
    };
    let Image::Inline(image) = acknowledgement.state.into_iter().next().unwrap().image else { panic!("it was here") };
    assert_eq!((&*image, image.as_ptr() as usize % BUFFER_ALIGN), (&[8; 100][..], 0));
    assert_eq!(&*acknowledgement.splits[0].1, &[9; 20]);
}

#[test]
fn failures_keep_what_a_user_sees_of_them() {
    for error in failures() {
        let text = format!("{error:?}");
        let read = decode(&encoded(&report(FromSubtask::Failed { subtask: Some(3), error })), 1 << 20).unwrap();
        let Message::Report { message: FromSubtask::Failed { error, .. }, .. } = read else { panic!("it was a failure") };
        assert_eq!(format!("{error:?}"), text);
    }
    let full = || IoError::new("write to", "out/part-1", std::io::ErrorKind::StorageFull.into());
    let fenced = CheckpointError::Fenced { folder: "c".to_owned(), entry: 3 };
    let damaged = CheckpointError::Foreign { file: "c/x".to_owned(), reason: "is something else".to_owned() };
    let unusable = CheckpointError::Unusable { source: IoError::new("open", "c", std::io::ErrorKind::PermissionDenied.into()) };
    let at = |source| JobError::Checkpoint { place: "map(1/2)".to_owned(), source };
    let cases = [
        (JobError::Sink { operator: "file".to_owned(), subtask: 1, source: full() }, FailureCause::StorageFull, true),
        (at(CheckpointError::StorageFull { source: full() }), FailureCause::StorageFull, true),
        (at(fenced), FailureCause::Fenced, false),
        (at(damaged), FailureCause::Damage, false),
        (at(unusable), FailureCause::Unusable, false),
    ];
    for (error, expected, worth) in cases {
        let text = error.to_string();
        let read = decode(&encoded(&report(FromSubtask::Failed { subtask: Some(3), error })), 1 << 20).unwrap();
        let Message::Report { message: FromSubtask::Failed { error, .. }, .. } = read else { panic!("it was a failure") };
        assert_eq!(error.to_string(), text);
        let JobError::Remote { cause, is_worth_a_restart, .. } = error else { panic!("it has no form of its own") };
        assert_eq!((cause, is_worth_a_restart), (expected, worth), "{text}");
    }
}

#[test]
fn a_failure_that_is_too_long_arrives_shortened_and_is_still_what_it_was() {
    let long = "\u{e4}".repeat(MESSAGE_BYTES_MAX);
    let panicked = |record| JobError::UserPanic { operator: "map".to_owned(), subtask: 3, message: "division by zero".to_owned(), record };
    let read = decode(&encoded(&report(FromSubtask::Failed { subtask: None, error: panicked(format!("x{long}")) })), 1 << 20).unwrap();
    let Message::Report { message: FromSubtask::Failed { error: error @ JobError::UserPanic { .. }, .. }, .. } = read else {
        panic!("it was a panic")
    };
    let text = error.to_string();
    assert!(error.is_worth_a_restart() && text.contains("division by zero") && text.contains("x\u{e4}"));
    assert!(text.ends_with(&format!("... (the first {} of {} bytes)", (64 << 10) - 1, 2 * MESSAGE_BYTES_MAX + 1)), "{}", text.len());
    let place = JobError::Checkpoint { place: long, source: CheckpointError::Fenced { folder: "c".to_owned(), entry: 3 } };
    let read = decode(&encoded(&report(FromSubtask::Failed { subtask: None, error: place })), 1 << 20).unwrap();
    let Message::Report { message: FromSubtask::Failed { error, .. }, .. } = read else { panic!("it was a failure") };
    assert_eq!((error.cause(), error.is_worth_a_restart()), (FailureCause::Fenced, false));
}

#[test]
fn a_byte_changed_anywhere_is_found_and_a_message_that_is_cut_is_none() {
    for message in all() {
        let bytes = encoded(&message);
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut changed = Buffer::from(&bytes[..]);
                changed[at] ^= mask;
                assert!(decode(&changed, MESSAGE_BYTES_MAX).is_err(), "{}: byte {at}", message.name());
            }
            assert!(decode(&bytes[..at], MESSAGE_BYTES_MAX).is_err(), "{}: cut at {at}", message.name());
        }
    }
}

/// With a correct checksum, as a liar would send it.
fn sealed(body: &[u8]) -> Buffer {
    let mut bytes = Buffer::from(&encoded(&Message::Heartbeat)[..8]);
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let header_crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&header_crc.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn lies_with_the_right_checksum_never_panic() {
    for message in all() {
        let body = encoded(&message)[HEADER_BYTES..].to_vec();
        assert_eq!(&*sealed(&body), &*encoded(&message));
        for at in 0..body.len() {
            for mask in [1, 0x80, 0xff] {
                let mut changed = body.clone();
                changed[at] ^= mask;
                if let Ok(message) = decode(&sealed(&changed), MESSAGE_BYTES_MAX) {
                    let _ = encode(&message);
                }
            }
        }
    }
    assert!(matches!(decode(&sealed(&[99]), 1 << 20), Err(CodecError::Malformed(_))), "an unknown kind");
    assert!(matches!(decode(&sealed(&[6, 0]), 1 << 20), Err(CodecError::Malformed(_))), "bytes left over");
    assert!(matches!(decode(&sealed(&[]), 1 << 20), Err(CodecError::Malformed(_))), "nothing at all");
}

#[test]
fn plans_that_cannot_be_carried_out_are_not_read() {
    let with = |change: fn(&mut Deployment)| {
        let mut deployment = deployment();
        change(&mut deployment);
        decode(&encoded(&Message::Order(ToWorker::Deploy(Box::new(deployment)))), 1 << 20).is_ok()
    };
    assert!(with(|_| {}));
    assert!(!with(|plan| plan.seat = 2));
    assert!(!with(|plan| plan.layout.seats[0].cores = 0));
    assert!(!with(|plan| plan.layout.seats[0].doors.truncate(1)));
    assert!(!with(|plan| plan.layout.parallelism[1] = 0));
}

#[test]
fn another_version_or_magic_is_told_apart_from_damage() {
    let bytes = encoded(&Message::Heartbeat);
    let changed = |at: usize, byte: u8| {
        let mut changed = Buffer::from(&bytes[..]);
        changed[at] = byte;
        decode(&changed, 1 << 20).map(|message| message.name())
    };
    assert_eq!(changed(0, b'X'), Err(CodecError::Foreign));
    assert_eq!(changed(4, 9), Err(CodecError::UnknownVersion { found: 9 }));
    for at in 6..bytes.len() {
        assert_eq!(changed(at, !bytes[at]), Err(CodecError::Corrupt), "byte {at}");
    }
}

#[test]
fn what_is_too_long_is_neither_read_nor_written() {
    let bytes = encoded(&acknowledged(Image::Inline(Buffer::from(&[8; 100][..]))));
    let length = bytes.len() - HEADER_BYTES;
    assert!(decode(&bytes, length).is_ok());
    assert_eq!(decode(&bytes, length - 1).err(), Some(CodecError::TooLong { bytes: length, limit: length - 1 }));
    let mut large = Buffer::default();
    large.resize(MESSAGE_BYTES_MAX, 0);
    let refused = encode(&acknowledged(Image::Inline(large))).unwrap_err().to_string();
    assert!(refused.contains("the part of a subtask in a checkpoint") && refused.contains("inline_bytes_max"), "{refused}");
    let mut inline = Buffer::default();
    inline.resize(INLINE_BYTES_MAX, 0);
    assert!(encode(&acknowledged(Image::Inline(inline))).is_ok());
}

proptest! {
    #[test]
    fn garbage_is_no_message(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&garbage, 1 << 20).is_err());
        let _ = decode(&sealed(&garbage), 1 << 20);
    }

    #[test]
    fn heartbeats_and_options_arrive(options: Vec<String>, description: Vec<u8>, interval in 1u64..1 << 40, timeout in 1u64..1 << 40) {
        let options: Vec<String> = options.into_iter().take(20).collect();
        let heartbeat = Heartbeat { interval: Duration::from_nanos(interval), timeout: Duration::from_nanos(timeout) };
        let bytes = encoded(&Message::Options { options: options.clone(), description: description.clone(), heartbeat });
        let Ok(Message::Options { options: read, description: bytes, heartbeat: beat }) = decode(&bytes, MESSAGE_BYTES_MAX) else { panic!("they were options") };
        prop_assert_eq!((read, bytes, beat), (options, description, heartbeat));
    }
}
