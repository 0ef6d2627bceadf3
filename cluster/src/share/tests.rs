use super::*;
use crate::whole;
use rkyv::util::AlignedVec;
use thalweg_io::Buffer;
use thalweg_kernel::checkpoint::JobId;
use thalweg_kernel::worker::{Acknowledgement, AttemptPlan, OperatorId, Placement, Seat, WorkerId};
use thalweg_kernel::{JobError, SnapshotTimes};
use thalweg_storage::checkpoint::{FileRef, state_file_name};

const SOURCE: OperatorId = OperatorId(0);
const SINK: OperatorId = OperatorId(2);

/// The worker has subtasks 1, of the task with the source, and 3, of the task with the sink.
fn share() -> Share {
    let task = |uid: &str, source, sinks| TaskShape { uid: uid.to_owned(), name: uid.to_owned(), source, sinks };
    let seat = |worker| Seat { worker: WorkerId(worker), name: String::new(), cores: 1, doors: vec![] };
    let plan = AttemptPlan { job: JobId(1), attempt: Attempt(3), owner: 1, epoch: CheckpointId(1), snapshots: None };
    let layout = Placement { parallelism: vec![2, 2], seats: vec![seat(1), seat(2)] };
    let mut share = Share::new([task("reads", Some(SOURCE), vec![]), task("writes", None, vec![SINK])].into());
    share.told(&ToWorker::Deploy(Box::new(Deployment { plan, restore: None, layout, seat: 1 })));
    share
}

fn close(attempt: u64, subtask: usize) -> ToWorker {
    ToWorker::ToSubtask { attempt: Attempt(attempt), subtask, message: ToSubtask::Close }
}

fn ended(subtask: usize) -> FromSubtask {
    FromSubtask::Ended { subtask, metrics: vec![] }
}

fn finished(subtask: usize) -> FromSubtask {
    FromSubtask::Finished { subtask, prepared: None }
}

fn prepared(sink: OperatorId, checkpoint: u64) -> Option<PreparedEpoch> {
    Some(PreparedEpoch { checkpoint: CheckpointId(checkpoint), sink, transaction: None })
}

fn part(checkpoint: u64) -> Acknowledgement {
    Acknowledgement {
        checkpoint: CheckpointId(checkpoint),
        state: whole(Image::Inline(Buffer::default())),
        splits: vec![],
        prepared: None,
        times: SnapshotTimes::default(),
    }
}

fn acknowledged(subtask: usize, acknowledgement: Acknowledgement) -> FromSubtask {
    FromSubtask::Acknowledged { subtask, acknowledgement }
}

/// Asserts that all of `messages` but the last are accepted, and the last is not.
#[track_caller]
fn the_last_is_a_lie(share: &mut Share, messages: &[FromSubtask], expected: &str) {
    let heard: Vec<_> = messages.iter().map(|message| share.hear(Attempt(3), message)).collect();
    let (last, before) = heard.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    let fault = last.as_ref().unwrap_err();
    assert!(fault.contains(expected), "{fault}");
}

#[test]
fn a_worker_speaks_for_its_own_subtasks_until_they_have_ended() {
    let mut share = share();
    share.closed();
    the_last_is_a_lie(&mut share, &[ended(0)], "not its own");
    the_last_is_a_lie(&mut share, &[ended(1), ended(1)], "has ended");
    the_last_is_a_lie(&mut share, &[ended(99)], "not its own");
    assert!(share.hear(Attempt(4), &ended(3)).unwrap_err().contains("attempt 4"), "of an attempt to come");
    assert_eq!(share.hear(Attempt(2), &ended(0)), Ok(()), "of an older attempt: refused elsewhere");
    assert_eq!((share.knows(Attempt(3)), share.knows(Attempt(4)).is_err()), (Ok(()), true));
    assert!(!share.ended(Attempt(2), 3));
    assert!(share.ended(Attempt(3), 3));
    assert!(!share.ended(Attempt(3), 3));
}

#[test]
fn a_subtask_ends_only_after_it_was_told_to_close() {
    let mut share = share();
    the_last_is_a_lie(&mut share, &[ended(1)], "before it was told to close");
    share.told(&close(2, 1));
    the_last_is_a_lie(&mut share, &[ended(1)], "before it was told to close");
    share.told(&close(3, 1));
    assert_eq!(share.closing().collect::<Vec<_>>(), ["reads(2/2)"]);
    assert_eq!(share.hear(Attempt(3), &ended(1)), Ok(()));
    assert_eq!(share.closing().count(), 0);
}

#[test]
fn a_subtask_finishes_once_and_acknowledges_each_checkpoint_once() {
    the_last_is_a_lie(&mut share(), &[finished(1), finished(3), finished(1)], "finished twice");
    the_last_is_a_lie(
        &mut share(),
        &[acknowledged(1, part(1)), acknowledged(3, part(1)), acknowledged(1, part(4)), acknowledged(1, part(4))],
        "acknowledges checkpoint 4",
    );
    the_last_is_a_lie(&mut share(), &[acknowledged(1, part(4)), acknowledged(1, part(3))], "acknowledges checkpoint 3");
}

#[test]
fn splits_belong_to_subtasks_of_their_source() {
    let request = |source, subtask| FromSubtask::SplitRequested { source, subtask };
    the_last_is_a_lie(&mut share(), &[request(SOURCE, 1), request(SOURCE, 3)], "not its source");
    the_last_is_a_lie(&mut share(), &[request(OperatorId(1 << 40), 1)], "not its source");
    let with_split = || Acknowledgement { splits: vec![(0, AlignedVec::new())], ..part(1) };
    the_last_is_a_lie(&mut share(), &[acknowledged(1, with_split()), acknowledged(3, with_split())], "no source");
}

#[test]
fn only_the_sink_of_a_task_prepares_something_and_for_the_checkpoint_at_hand() {
    let part = |prepared| Acknowledgement { prepared, ..part(1) };
    the_last_is_a_lie(&mut share(), &[acknowledged(3, part(prepared(SINK, 1))), acknowledged(1, part(prepared(SINK, 1)))], "not a sink");
    the_last_is_a_lie(&mut share(), &[acknowledged(3, part(prepared(SINK, 2)))], "comes with checkpoint 1");
    the_last_is_a_lie(&mut share(), &[FromSubtask::Finished { subtask: 3, prepared: prepared(SOURCE, 9) }], "not a sink");
    assert_eq!(share().hear(Attempt(3), &FromSubtask::Finished { subtask: 3, prepared: prepared(SINK, 9) }), Ok(()));
    let declined = |subtask| {
        let checkpoint = CheckpointId(1);
        FromSubtask::Declined { subtask, checkpoint, is_outpaced: false, keeps_files: true, prepared: prepared(SINK, 1) }
    };
    the_last_is_a_lie(&mut share(), &[declined(3), declined(1)], "not a sink");
    the_last_is_a_lie(&mut share(), &[declined(0)], "not its own");
    assert_eq!(share().hear(Attempt(3), &FromSubtask::Failed { subtask: None, error: JobError::Cancelled }), Ok(()));
    let failed = |subtask| FromSubtask::Failed { subtask: Some(subtask), error: JobError::Cancelled };
    the_last_is_a_lie(&mut share(), &[failed(3), failed(0)], "not its own");
    let waits = |subtask| FromSubtask::WaitsForRoom { subtask, reason: None };
    the_last_is_a_lie(&mut share(), &[waits(3), waits(1)], "its task has no sink");
    the_last_is_a_lie(&mut share(), &[waits(0)], "not its own");
}

#[test]
fn a_subtask_acknowledges_one_image_in_the_message_or_some_files() {
    let two = || [Image::Inline(Buffer::default()), Image::Inline(Buffer::default())].into_iter().flat_map(whole).collect();
    the_last_is_a_lie(&mut share(), &[acknowledged(3, Acknowledgement { state: two(), ..part(1) })], "an image that is in none");
    the_last_is_a_lie(&mut share(), &[acknowledged(3, Acknowledgement { state: vec![], ..part(1) })], "0 files");
    let many = (0..=FILES_MAX).flat_map(|_| whole(Image::Inline(Buffer::default()))).collect();
    the_last_is_a_lie(&mut share(), &[acknowledged(3, Acknowledgement { state: many, ..part(1) })], "257 files");
}

#[test]
fn a_subtask_names_the_files_that_are_its_own_and_no_others() {
    let stored = |names: &[&str]| {
        let image = |name: &&str| Image::File(FileRef { name: (*name).to_owned(), len: 1, crc: 1 });
        acknowledged(3, Acknowledgement { state: names.iter().map(image).flat_map(whole).collect(), ..part(7) })
    };
    let own = |checkpoint| state_file_name(Attempt(3), CheckpointId(checkpoint), "writes", 1);
    let (fourth, sixth, seventh, eighth) = (own(4), own(6), own(7), own(8));
    for right in [&[&*seventh][..], &[&*fourth, &*sixth, &*seventh]] {
        assert_eq!(share().hear(Attempt(3), &stored(right)), Ok(()));
    }
    let others =
        ["../../etc/passwd", "/etc/passwd", "", "log-00000000000000000007.entry", "3-7-writes-0.state", "2-6-writes-1.state", &eighth];
    for other in others {
        the_last_is_a_lie(&mut share(), &[stored(&[other])], "not its own");
        the_last_is_a_lie(&mut share(), &[stored(&[other, &seventh])], "not its own");
    }
    the_last_is_a_lie(&mut share(), &[stored(&[&fourth, &sixth])], "no file of checkpoint 7");
    the_last_is_a_lie(&mut share(), &[stored(&[&sixth, &fourth, &seventh])], "out of turn");
    the_last_is_a_lie(&mut share(), &[stored(&[&seventh, &seventh])], "out of turn");
}
