use super::super::config::Heartbeat;
use super::super::connection::Talk;
use super::*;
use crate::codec::{INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::whole;
use thalweg_io::{Buffer, Mailbox, mailbox};
use thalweg_kernel::SnapshotTimes;
use thalweg_kernel::StreamExecutionEnvironment;
use thalweg_kernel::checkpoint::{CheckpointId, JobId};
use thalweg_kernel::worker::{Acknowledgement, AttemptPlan, CoreOrder, CoreShared, Placement, Seat, ToSubtask, WorkerId};
use thalweg_small_world::{Halves, World};
use thalweg_storage::checkpoint::Image;

/// A session, the mailbox of its subtasks, and the coordinator's end of its connection.
struct Set {
    world: World,
    session: Session,
    subtasks: Mailbox<ToCoordinator>,
    coordinator: Connection,
    /// Kept open: nobody carries out the orders.
    _core: MailboxReceiver<CoreOrder>,
}

fn set() -> Set {
    let world = World::default();
    let env = StreamExecutionEnvironment::new();
    let _ = env.from_collection(vec![1u64]).map(|n| n + 1).collect();
    let job = Rc::new(env.build("a job").unwrap());
    let (subtasks, inbox) = mailbox();
    let (core, orders) = mailbox();
    let metrics = Arc::new(Mutex::new(JobMetrics::default()));
    let shared = CoreShared::new(&job, subtasks.clone(), Arc::clone(&metrics));
    let agent = Agent::new(world.io(), Rc::clone(&job), vec![core], shared);
    let (here, there) = world.pair(1 << 16, 1 << 16);
    let connect = |(read, write): Halves| Connection::new(world.io(), Talk::new(read, write, MESSAGE_BYTES_MAX), Heartbeat::default());
    let (connection, coordinator) = (connect(here), connect(there));
    let session = Session::new(world.io(), job, 1, connection, Local::new(agent, inbox), metrics);
    Set { world, session, subtasks, coordinator, _core: orders }
}

fn deployment(attempt: u64) -> ToWorker {
    let seat = Seat { worker: WorkerId(1), name: String::new(), cores: 1, doors: vec![] };
    let plan = AttemptPlan { job: JobId(1), attempt: Attempt(attempt), owner: 1, epoch: CheckpointId(1), snapshots: None };
    ToWorker::Deploy(Box::new(Deployment { plan, restore: None, layout: Placement { parallelism: vec![1], seats: vec![seat] }, seat: 0 }))
}

impl Set {
    fn say(&self, message: FromSubtask) {
        assert!(self.subtasks.send(ToCoordinator::FromSubtask { attempt: Attempt(1), message }).is_ok());
    }

    fn order(&mut self, order: ToWorker) {
        self.coordinator.send(&Message::Order(order)).unwrap();
    }

    /// The coordinator's messages, until there are `enough` or the time limit has passed.
    fn hear(&mut self, enough: usize, limit: Duration) -> Vec<Message> {
        let Self { world, session, coordinator, .. } = self;
        let (_keep, mut stopped) = mailbox();
        let mut sleep = world.io().clock().sleep_until(world.io().clock().now().after(limit));
        let mut heard = Vec::new();
        world.run(poll_fn(|cx| {
            if let Poll::Ready(end) = session.poll(&mut stopped, cx) {
                let SessionEnd::Lost(reason) = end else { panic!("it has ended") };
                panic!("{reason}");
            }
            while let Poll::Ready(next) = coordinator.poll_next(cx) {
                heard.push(next.unwrap());
            }
            if heard.len() >= enough { Poll::Ready(()) } else { sleep.as_mut().poll(cx) }
        }));
        heard
    }
}

#[test]
fn more_state_than_any_queue_takes_is_acknowledged_in_one_turn_to_a_coordinator_that_reads() {
    let mut set = set();
    set.order(deployment(1));
    set.hear(usize::MAX, Duration::from_millis(1));
    for checkpoint in 1..=10 {
        let mut state = Buffer::default();
        state.resize(INLINE_BYTES_MAX, 0);
        let (checkpoint, image) = (CheckpointId(checkpoint), Image::Inline(state));
        let acknowledgement =
            Acknowledgement { checkpoint, state: whole(image), splits: vec![], prepared: None, times: SnapshotTimes::default() };
        set.say(FromSubtask::Acknowledged { subtask: 0, acknowledgement });
    }
    let heard = set.hear(10, Duration::from_secs(3600));
    assert!(heard.iter().all(|message| matches!(message, Message::Report { message: FromSubtask::Acknowledged { .. }, .. })));
    assert_eq!(heard.len(), 10);
}

#[test]
fn numbers_are_of_the_attempt_that_was_deployed_last() {
    let mut set = set();
    let number = || vec![Metric::of_job("a number", thalweg_kernel::MetricKind::Gauge, 3)];
    for attempt in [1, 2] {
        set.order(deployment(attempt));
        set.hear(usize::MAX, Duration::from_millis(1));
        set.session.numbers(|numbers| numbers.extend(number()));
        let interval = set.session.job.settings().metrics_interval_ms;
        let heard = set.hear(1, Duration::from_millis(2 * interval));
        assert!(matches!(&heard[..], [Message::Metrics { attempt: of, .. }] if *of == Attempt(attempt)), "{}", heard.len());
    }
}

#[test]
fn the_end_of_a_subtask_is_told_even_if_its_numbers_are_too_many() {
    let mut set = set();
    let many = Metric { operator: "x".repeat(MESSAGE_BYTES_MAX), ..Metric::of_job("a number", thalweg_kernel::MetricKind::Gauge, 3) };
    set.say(FromSubtask::Ended { subtask: 0, metrics: vec![many] });
    let heard = set.hear(1, Duration::from_secs(1));
    let [Message::Report { message: FromSubtask::Ended { subtask: 0, metrics }, .. }] = &heard[..] else { panic!("it has ended") };
    assert!(metrics.is_empty());
}

#[test]
fn whoever_does_not_end_is_named_every_ten_seconds_and_closing_still_waits() {
    let mut set = set();
    set.order(deployment(1));
    set.order(ToWorker::ToSubtask { attempt: Attempt(1), subtask: 0, message: ToSubtask::Close });
    set.hear(usize::MAX, Duration::from_millis(9_900));
    assert_eq!(set.session.overdue.count, 0);
    set.hear(usize::MAX, Duration::from_millis(10_200));
    assert_eq!((set.session.overdue.count, set.session.share.closing().count()), (2, 1));
    set.say(FromSubtask::Ended { subtask: 0, metrics: vec![] });
    set.hear(usize::MAX, Duration::from_millis(1));
    assert_eq!((set.session.overdue.count, set.session.share.closing().count()), (0, 0));
}
