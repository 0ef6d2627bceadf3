use super::super::admission::{GOODBYE, HANDSHAKE};
use super::super::config::Heartbeat;
use super::super::message::Message;
use super::*;
use crate::auth::Secret;
use core::net::SocketAddr;
use std::time::Duration;
use thalweg_io::{CoreId, Net, NetRead, NetWrite, yield_now};
use thalweg_kernel::JobError;
use thalweg_kernel::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg_kernel::worker::OperatorId;
use thalweg_kernel::worker::TaskShape;
use thalweg_kernel::worker::{AttemptPlan, Deployment, FromSubtask, Placement, Seat, ToSubtask, ToWorker};
use thalweg_small_world::World;

const GRAPH: u64 = 77;
const BINARY: u64 = 7;

fn at() -> SocketAddr {
    "127.0.0.1:7100".parse().unwrap()
}

fn secret() -> Secret {
    Secret::new("the secret of the cluster").unwrap()
}

/// A reception, and the coordinator's mailbox.
struct Set {
    world: World,
    inbox: MailboxReceiver<ToCoordinator>,
    job: Option<Mailbox<Farewell>>,
    ended: MailboxReceiver<()>,
}

fn reception() -> Set {
    let world = World::default();
    let io = world.io();
    let (coordinator, inbox) = mailbox();
    let (job, job_end) = mailbox();
    let (end, ended) = mailbox();
    let auth = Authenticator::new(&io, CoreId(0), Some(secret()), HANDSHAKE);
    let task = TaskShape { uid: "all".to_owned(), name: "all".to_owned(), source: Some(OperatorId(0)), sinks: vec![] };
    let (options, heartbeat) = (vec!["--fast".to_owned()], Heartbeat::default());
    let terms = Terms {
        binary: BINARY,
        graph: GRAPH,
        options,
        description: vec![1, 2],
        heartbeat,
        here: at().ip(),
        workers_max: 3,
        shape: [task].into(),
    };
    let run = {
        let io = io.clone();
        async move {
            let listener = io.net().listen(at()).await.unwrap();
            receive_workers(io, listener, auth, terms, coordinator, job_end).await;
            end.send(()).unwrap();
        }
    };
    io.spawner().spawn(TaskClass::Latency, "reception", Box::pin(run));
    world.sleep(Duration::from_millis(1));
    Set { world, inbox, job: Some(job), ended }
}

impl Set {
    async fn call(&self) -> Talk {
        let (mut read, mut write) = self.world.connect(at()).await.unwrap();
        // A core of its own for each caller: nonces belong to one process.
        let auth = Authenticator::new(&self.world.io(), CoreId(1), Some(secret()), HANDSHAKE);
        auth.authenticate(&mut *read, &mut *write, Side::Caller, Purpose::Control).await.unwrap();
        Talk::new(read, write, 1 << 20)
    }

    async fn register(&self, name: &str, binary: u64, graph: u64) -> (Talk, Message) {
        let mut talk = self.call().await;
        talk.say(&Message::Hello { binary, name: name.to_owned() }).await.unwrap().unwrap();
        match talk.hear().await.unwrap() {
            Message::Options { options, description, .. } => assert_eq!((options, description), (vec!["--fast".to_owned()], vec![1, 2])),
            refused => return (talk, refused),
        }
        talk.say(&Message::Register { graph, cores: 1, doors: vec![at()] }).await.unwrap().unwrap();
        let answer = talk.hear().await.unwrap();
        (talk, answer)
    }

    fn join(&self, name: &str) -> Connection {
        let (talk, answer) = self.world.run(self.register(name, BINARY, GRAPH));
        assert!(matches!(answer, Message::Accepted { .. }), "{}", answer.name());
        Connection::new(self.world.io(), talk, Heartbeat::default())
    }

    /// The messages that the coordinator has received.
    fn heard(&mut self) -> Vec<ToCoordinator> {
        std::iter::from_fn(|| self.inbox.try_recv()).collect()
    }

    fn joined(&mut self) -> Member {
        match self.heard().pop() {
            Some(ToCoordinator::Joined(member)) => member,
            _ => panic!("somebody has joined"),
        }
    }

    /// Lets `worker` work for a while; returns its messages, unless its connection ends.
    fn work(&self, worker: &mut Connection, duration: Duration) -> Vec<Message> {
        let mut heard = Vec::new();
        let mut sleep = self.world.io().clock().sleep_until(self.world.io().clock().now().after(duration));
        self.world.run(poll_fn(|cx| {
            while let Poll::Ready(next) = worker.poll_next(cx) {
                let Ok(message) = next else { return Poll::Ready(()) };
                heard.push(message);
            }
            sleep.as_mut().poll(cx)
        }));
        heard
    }

    fn deploy(member: &Member, attempt: u64) {
        let seat = Seat { worker: member.id, name: member.name.clone(), cores: 1, doors: member.doors.clone() };
        let other = Seat { worker: WorkerId(99), ..seat.clone() };
        let plan = AttemptPlan { job: JobId(1), attempt: Attempt(attempt), owner: 1, epoch: CheckpointId(1), snapshots: None };
        let layout = Placement { parallelism: vec![2], seats: vec![seat, other] };
        let deployment = Deployment { plan, restore: None, layout, seat: 0 };
        assert!(member.orders.send(ToWorker::Deploy(Box::new(deployment))).is_ok());
    }
}

fn report(attempt: u64, message: FromSubtask) -> Message {
    Message::Report { attempt: Attempt(attempt), message }
}

fn ended(attempt: u64, subtask: usize) -> Message {
    report(attempt, FromSubtask::Ended { subtask, metrics: vec![] })
}

fn finished(attempt: u64, subtask: usize) -> Message {
    report(attempt, FromSubtask::Finished { subtask, prepared: None })
}

fn metrics(attempt: u64) -> Message {
    let metrics = vec![thalweg_kernel::Metric::of_job("a number", thalweg_kernel::MetricKind::Gauge, 3)];
    Message::Metrics { attempt: Attempt(attempt), metrics }
}

fn names(heard: &[ToCoordinator]) -> Vec<String> {
    let name = |message: &ToCoordinator| match message {
        ToCoordinator::Joined(member) => format!("joined {}", member.id),
        ToCoordinator::Lost { worker, reason } => format!("lost {worker}: {reason}"),
        ToCoordinator::FromSubtask { attempt, .. } => format!("attempt {attempt}"),
        ToCoordinator::Metrics { attempt, metrics } => {
            format!("{} metrics of {:?} in {attempt}", metrics.len(), metrics.first().and_then(|first| first.worker.as_deref()))
        }
        _ => "something else".to_owned(),
    };
    heard.iter().map(name).collect()
}

#[test]
fn a_worker_joins_is_given_orders_is_heard_and_is_lost_once() {
    let mut set = reception();
    let mut worker = set.join("a worker");
    let member = set.joined();
    assert_eq!((member.name.as_str(), member.cores, member.doors.len()), ("a worker", 1, 1));
    Set::deploy(&member, 1);
    let heard = set.work(&mut worker, Duration::from_secs(60));
    assert!(matches!(heard[..], [Message::Order(ToWorker::Deploy(_))]));
    worker.send(&finished(1, 0)).unwrap();
    set.work(&mut worker, Duration::from_millis(10));
    assert_eq!(names(&set.heard()), ["attempt 1"]);
    worker.send(&metrics(1)).unwrap();
    set.work(&mut worker, Duration::from_millis(10));
    assert_eq!(names(&set.heard()), ["1 metrics of Some(\"a worker\") in 1"]);
    let close = ToWorker::ToSubtask { attempt: Attempt(1), subtask: 0, message: ToSubtask::Close };
    assert!(member.orders.send(close).is_ok());
    assert_eq!(set.work(&mut worker, Duration::from_millis(10)).len(), 1);
    worker.send(&ended(1, 0)).unwrap();
    set.work(&mut worker, Duration::from_millis(10));
    assert_eq!(names(&set.heard()), ["attempt 1"]);
    // The worker stands still from here on.
    set.world.sleep(Duration::from_millis(2999));
    assert_eq!(names(&set.heard()), ["lost 1: no sign of life came for 2.5s"]);
    worker.send(&ended(1, 0)).unwrap();
    set.work(&mut worker, Duration::from_secs(10));
    assert!(set.heard().is_empty(), "nothing of it follows");
}

#[test]
fn a_worker_that_closes_its_connection_is_lost_at_once() {
    let mut set = reception();
    drop(set.join("a worker"));
    set.world.sleep(Duration::from_millis(1));
    assert_eq!(names(&set.heard()), ["joined 1", "lost 1: the connection was closed by the other side"]);
    let mut leaving = set.join("another");
    leaving.send(&Message::Leaving).unwrap();
    set.work(&mut leaving, Duration::from_millis(1));
    assert_eq!(names(&set.heard()), ["joined 2", "lost 2: it was told to stop"]);
}

#[test]
fn a_worker_that_comes_back_is_lost_before_it_joins_again() {
    let mut set = reception();
    let _before = set.join("a worker");
    let _now = set.join("a worker");
    assert_eq!(names(&set.heard()), ["joined 1", "lost 1: it has come back", "joined 2"]);
    let _other = set.join("another");
    assert_eq!(names(&set.heard()), ["joined 3"]);
}

#[test]
fn what_a_worker_cannot_have_said_ends_its_session_and_is_not_heard() {
    let misplaced = Message::Options { options: vec![], description: vec![], heartbeat: Heartbeat::default() };
    let lies = [
        (ended(1, 1), "subtask 1"),
        (ended(2, 0), "attempt 2"),
        (ended(1, 1 << 40), "not its own"),
        (misplaced, "no place"),
        (metrics(2), "attempt 2"),
        // Messages that would break an assertion of the coordinator; the other cases are in share/tests.rs.
        (ended(1, 0), "before it was told to close"),
    ];
    for (lie, expected) in lies {
        let mut set = reception();
        let mut worker = set.join("a worker");
        let member = set.joined();
        Set::deploy(&member, 1);
        set.work(&mut worker, Duration::from_millis(1));
        worker.send(&lie).unwrap();
        set.work(&mut worker, Duration::from_millis(1));
        let heard = names(&set.heard());
        assert!(
            heard.len() == 1 && heard[0].starts_with("lost 1: it does not keep to the protocol") && heard[0].contains(expected),
            "{heard:?}"
        );
    }
}

#[test]
fn another_binary_or_graph_is_refused_with_both_fingerprints() {
    let mut set = reception();
    for (binary, graph, texts) in
        [(8, GRAPH, ["0000000000000008", "0000000000000007"]), (BINARY, 1, ["0000000000000001", "000000000000004d"])]
    {
        let (talk, answer) = set.world.run(set.register("a worker", binary, graph));
        let Message::Refused { reason, is_final: true } = answer else { panic!("it was accepted") };
        assert!(texts.iter().all(|text| reason.contains(text)), "{reason}");
        drop(talk);
    }
    set.world.sleep(Duration::from_secs(20));
    assert!(set.heard().is_empty());
}

#[test]
fn a_worker_of_another_machine_that_can_only_be_reached_there_is_refused_with_the_cure() {
    let mut set = reception();
    set.world.set_callers("10.0.0.2:40000".parse().unwrap());
    let (_talk, answer) = set.world.run(set.register("a worker", BINARY, GRAPH));
    let Message::Refused { reason, is_final: true } = answer else { panic!("it was accepted") };
    assert!(reason.contains("10.0.0.2") && reason.contains("a data address"), "{reason}");
    assert!(set.heard().is_empty());
}

#[test]
fn a_worker_that_was_too_slow_or_one_too_many_may_call_again() {
    let mut set = reception();
    let mut slow = set.world.run(set.call());
    assert!(set.world.run(slow.hear()).is_err(), "it is hung up on, and not refused");
    assert_eq!(set.world.now().as_secs(), HANDSHAKE.as_secs());
    let workers: Vec<_> = (0..3).map(|number| set.world.run(set.register(&number.to_string(), BINARY, GRAPH))).collect();
    assert_eq!(set.heard().len(), workers.len());
    let (_talk, answer) = set.world.run(set.register("one more", BINARY, GRAPH));
    let Message::Refused { reason, is_final: false } = answer else { panic!("{}", answer.name()) };
    assert!(reason.contains("workers already"), "{reason}");
}

#[test]
fn the_end_of_a_job_is_heard_however_much_there_is_to_say_of_its_failure() {
    let mut set = reception();
    let mut worker = set.join("a worker");
    let member = set.joined();
    let failure = Some(JobError::invalid("x".repeat(20 << 20)).to_string());
    assert!(member.orders.send(ToWorker::End { failure }).is_ok());
    let heard = set.work(&mut worker, Duration::from_secs(1));
    assert!(matches!(&heard[..], [Message::Order(ToWorker::End { failure: Some(_) })]));
}

#[test]
fn a_flood_of_silent_callers_is_bounded_and_does_not_keep_a_worker_out() {
    let mut set = reception();
    let callers: Vec<_> = (0..1000).map(|_| set.world.run(set.world.connect(at())).unwrap()).collect();
    let still_open = |callers: &mut Vec<(Box<dyn NetRead>, Box<dyn NetWrite>)>| {
        callers.retain_mut(|(read, _)| set_is_open(&set.world, read));
        callers.len()
    };
    let mut callers = callers;
    assert_eq!(still_open(&mut callers), CALLERS_MAX);
    let _worker = set.join("a worker");
    assert_eq!(still_open(&mut callers), CALLERS_MAX - 1, "the one that has stood there longest made room");
    set.world.sleep(HANDSHAKE + Duration::from_millis(1));
    assert_eq!(still_open(&mut callers), 0, "nobody stays without a word");
    assert_eq!(names(&set.heard())[0], "joined 1");
}

fn set_is_open(world: &World, read: &mut Box<dyn NetRead>) -> bool {
    let mut reading = read.read_more(thalweg_io::Buffer::with_capacity(1), 1);
    world.run(thalweg_small_world::poll_once(reading.as_mut())).is_none()
}

#[test]
fn when_the_job_has_ended_every_worker_hears_it_and_the_reception_closes() {
    let mut set = reception();
    let mut worker = set.join("a worker");
    let member = set.joined();
    assert!(member.orders.send(ToWorker::End { failure: Some("it failed".to_owned()) }).is_ok());
    drop((member, set.job.take()));
    let heard = set.work(&mut worker, Duration::from_secs(1));
    assert!(matches!(&heard[..], [Message::Order(ToWorker::End { failure: Some(reason) })] if reason == "it failed"));
    assert!(set.ended.try_recv().is_none(), "the worker has not closed its side");
    drop(worker);
    set.world.sleep(Duration::from_millis(1));
    assert!(set.ended.try_recv().is_some());
    assert!(set.heard().is_empty(), "nobody is lost in the end");
    assert!(set.world.run(set.world.connect(at())).is_err(), "nobody listens any more");
}

/// Its network may be slow, or it is late by a moment: without an answer it would look for its coordinator for ever.
#[test]
fn whoever_is_about_to_join_when_the_job_ends_is_told_so() {
    let mut set = reception();
    let (mut talk, mut read, _write) = {
        let talk = set.world.run(set.call());
        let (read, write) = set.world.run(set.world.connect(at())).unwrap();
        (talk, read, write)
    };
    set.job.take().unwrap().send(Farewell { failure: Some("it failed".to_owned()) }).unwrap();
    set.world.sleep(GOODBYE / 2);
    let heard = set.world.run(async {
        talk.say(&Message::Hello { binary: BINARY, name: "late".to_owned() }).await.unwrap().unwrap();
        assert!(matches!(talk.hear().await.unwrap(), Message::Options { .. }));
        talk.say(&Message::Register { graph: GRAPH, cores: 1, doors: vec![at()] }).await.unwrap().unwrap();
        assert!(matches!(talk.hear().await.unwrap(), Message::Accepted { .. }));
        talk.hear().await.unwrap()
    });
    assert!(matches!(&heard, Message::Order(ToWorker::End { failure: Some(reason) }) if reason == "it failed"), "{}", heard.name());
    assert!(set.heard().is_empty(), "the coordinator has nothing to do with it any more");
    assert!(set_is_open(&set.world, &mut read), "a stranger is waited for, as long as everybody");
    drop(talk);
    set.world.sleep(GOODBYE / 2 + Duration::from_millis(1));
    assert!(set.ended.try_recv().is_some() && !set_is_open(&set.world, &mut read), "and not longer");
}

#[test]
fn a_worker_that_does_not_close_its_side_delays_the_end_by_no_more_than_a_bound() {
    let mut set = reception();
    let _worker = set.join("a worker");
    drop((set.joined(), set.job.take()));
    set.world.sleep(GOODBYE + Duration::from_millis(1));
    assert!(set.ended.try_recv().is_some());
}

/// The coordinator may have read its messages for the last time just before the reception reports a worker.
#[test]
fn a_worker_that_joins_in_the_very_moment_of_the_end_is_told_so() {
    for turns in 0..12 {
        let mut set = reception();
        let mut talk = set.world.run(set.call());
        let (job, mut inbox) = (set.job.take().unwrap(), std::mem::replace(&mut set.inbox, mailbox().1));
        let heard = set.world.run(async {
            talk.say(&Message::Hello { binary: BINARY, name: "late".to_owned() }).await.unwrap().unwrap();
            assert!(matches!(talk.hear().await.unwrap(), Message::Options { .. }));
            talk.say(&Message::Register { graph: GRAPH, cores: 1, doors: vec![at()] }).await.unwrap().unwrap();
            for _ in 0..turns {
                yield_now().await;
            }
            // As when a coordinator ends.
            while let Some(message) = inbox.try_recv() {
                let ToCoordinator::Joined(member) = message else { continue };
                assert!(member.orders.send(ToWorker::End { failure: None }).is_ok());
            }
            job.send(Farewell { failure: None }).unwrap();
            drop((job, inbox));
            let mut heard = Vec::new();
            while let Ok(message) = talk.hear().await {
                heard.push(message);
            }
            heard
        });
        assert!(matches!(heard[..], [Message::Accepted { .. }, Message::Order(ToWorker::End { failure: None })]), "after {turns} turns");
    }
}

#[test]
fn a_worker_gets_in_while_a_flood_lasts() {
    let set = reception();
    let (mut calling, mut connected) = (Vec::new(), Vec::new());
    let mut worker = Box::pin(set.register("a worker", BINARY, GRAPH));
    let mut turns = 0;
    let answer = set.world.run(poll_fn(|cx| {
        turns += 1;
        assert!(turns < 200, "it is kept out");
        calling.extend((0..BATCH).map(|_| Box::pin(set.world.connect(at()))));
        calling.retain_mut(|stranger| match stranger.as_mut().poll(cx) {
            Poll::Ready(halves) => {
                connected.extend(halves);
                false
            }
            Poll::Pending => true,
        });
        cx.waker().wake_by_ref();
        worker.as_mut().poll(cx).map(|(_, answer)| answer)
    }));
    assert!(matches!(answer, Message::Accepted { .. }), "{}", answer.name());
}
