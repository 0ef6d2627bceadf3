use super::*;
use crate::checkpoint::Snapshots;
use std::rc::Rc;
use std::task::Waker;
use thalweg_storage::checkpoint::{Scope, StateLayout};

/// Images in pieces of 1,000 bytes, of a task that writes splits of 600 bytes.
struct Task {
    snapshots: Rc<Snapshots>,
    splits: u32,
}

const FIRST: CheckpointId = CheckpointId(1);
const SECOND: CheckpointId = CheckpointId(2);
const THIRD: CheckpointId = CheckpointId(3);
const INLINE_BYTES_MAX: Option<usize> = Some(500);

impl Task {
    fn new() -> Self {
        Self { snapshots: Rc::new(Snapshots::new("task".to_owned(), 1_000, 0, 0)), splits: 0 }
    }

    /// The barrier of `checkpoint` passes; the task writes `splits` splits, and owes as many states as `owes` says.
    fn barrier(&mut self, checkpoint: CheckpointId, splits: u32, owes: usize) {
        self.snapshots.begin(checkpoint, MonotonicNs(100));
        self.splits = 0;
        (0..splits).for_each(|_| self.write());
        (0..owes).for_each(|_| assert_eq!(self.snapshots.owes(("counter", "count", &StateLayout::default()), 0).0.checkpoint, checkpoint));
        self.snapshots.end(checkpoint, MonotonicNs(200));
    }

    fn write(&mut self) {
        self.splits += 1;
        self.snapshots.write(|writer| {
            let state = writer.state("task", "state", &StateLayout::default());
            writer.append(state, Scope::Split(self.splits), 1, &[7; 600]);
        });
    }

    fn oldest(&self) -> Option<Oldest> {
        self.snapshots.images().oldest(INLINE_BYTES_MAX)
    }

    /// Takes the pieces of the oldest image that are there, and says how they end.
    fn written(&self) -> (usize, Option<&'static str>) {
        let mut images = self.snapshots.images();
        let mut bytes = 0;
        loop {
            match images.poll_piece(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Piece::Part(part)) => {
                    bytes += part.len();
                    images.give_back(part);
                }
                Poll::Ready(Piece::End(end)) => {
                    assert!((bytes + end.rest.len()) as u64 <= end.len);
                    return (bytes, Some("whole"));
                }
                Poll::Ready(Piece::GivenUp) => return (bytes, Some("given up")),
                Poll::Pending => return (bytes, None),
            }
        }
    }
}

#[test]
fn a_small_image_is_handed_over_whole_and_a_large_one_in_pieces() {
    let mut task = Task::new();
    task.barrier(FIRST, 0, 0);
    assert_eq!(task.snapshots.tell_whole().map(|(checkpoint, _)| checkpoint), Some(FIRST));
    assert!(task.snapshots.tell_whole().is_none(), "it is told once");
    let Some(Oldest::Whole(image, bytes)) = task.oldest() else { panic!("it is small") };
    assert_eq!((image.checkpoint, image.begun, image.sealed_at), (FIRST, MonotonicNs(100), Some(MonotonicNs(200))));
    assert!(bytes.len() <= 500 && task.oldest().is_none());
    task.barrier(SECOND, 5, 0);
    assert!(matches!(task.oldest(), Some(Oldest::Write(SECOND))));
    let (bytes, end) = task.written();
    assert!(bytes > 1_000 && end == Some("whole"));
    assert_eq!(task.snapshots.images().written().map(|image| image.checkpoint), Some(SECOND));
    assert!(task.snapshots.images().is_empty());
}

/// What is owed is written while the task goes on; only then is the image whole.
#[test]
fn an_image_is_written_while_it_grows_and_is_whole_when_nothing_is_owed() {
    let mut task = Task::new();
    task.barrier(FIRST, 2, 2);
    assert!(task.snapshots.can_save() && task.snapshots.wants(FIRST) && task.snapshots.tell_whole().is_none());
    assert!(matches!(task.oldest(), Some(Oldest::Write(FIRST))));
    assert!(matches!(task.written(), (1_000.., None)));
    task.snapshots.paid(FIRST);
    assert!(task.snapshots.can_save() && task.written() == (0, None), "another state is owed");
    task.snapshots.paid(FIRST);
    assert!(!task.snapshots.can_save() && task.snapshots.tell_whole().is_some());
    assert_eq!(task.written(), (0, Some("whole")));
}

#[test]
fn nothing_is_saved_while_pieces_wait_for_the_disk() {
    let mut task = Task::new();
    task.barrier(FIRST, 10, 1);
    assert!(!task.snapshots.can_save(), "the pieces wait");
    assert!(matches!(task.oldest(), Some(Oldest::Write(FIRST))));
    task.written();
    assert!(task.snapshots.can_save());
}

/// Images that a later barrier finds unfinished, or not begun to be written, are of no use: they are declined, in the order of their barriers.
#[test]
fn a_later_barrier_gives_up_what_is_not_on_its_way() {
    let mut task = Task::new();
    task.barrier(FIRST, 5, 0);
    assert!(matches!(task.oldest(), Some(Oldest::Write(FIRST))));
    task.barrier(SECOND, 5, 1);
    assert!(!task.snapshots.wants(FIRST) && task.snapshots.wants(SECOND));
    task.barrier(THIRD, 0, 0);
    assert!(!task.snapshots.wants(SECOND) && !task.snapshots.can_save(), "what was owed to it is owed no more");
    task.snapshots.paid(SECOND);
    assert_eq!(task.written().1, Some("whole"), "it is on its way");
    task.snapshots.images().written();
    assert!(matches!(task.oldest(), Some(Oldest::GivenUp(image)) if image.checkpoint == SECOND));
    assert!(matches!(task.oldest(), Some(Oldest::Whole(image, _)) if image.checkpoint == THIRD));
}

/// What was sealed for an image that the disk has no room for goes, although the image has left.
#[test]
fn what_is_owed_to_an_image_that_has_left_is_not_owed_for_ever() {
    let mut task = Task::new();
    task.barrier(FIRST, 5, 1);
    assert!(matches!(task.oldest(), Some(Oldest::Write(FIRST))));
    task.snapshots.images().written();
    assert!(task.snapshots.can_save() && !task.snapshots.wants(FIRST));
    task.snapshots.paid(FIRST);
    assert!(!task.snapshots.can_save());
}

#[test]
fn the_end_of_an_attempt_gives_up_what_is_being_written() {
    let mut task = Task::new();
    task.barrier(FIRST, 5, 1);
    assert!(matches!(task.oldest(), Some(Oldest::Write(FIRST))));
    task.snapshots.give_up_all();
    assert_eq!(task.written(), (0, Some("given up")));
}
