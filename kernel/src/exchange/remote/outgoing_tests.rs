use super::super::door::Door;
use super::super::early::UNKNOWN_TIME;
use super::super::lifeline::Lifeline;
use super::super::links::Place;
use super::*;
use crate::checkpoint::{Attempt, JobId};
use crate::cluster::testing::World;
use crate::exchange::frame::RecordType;
use crate::runtime::{EngineSettings, JobMetrics, KeyGroups, MetricRegistry, Shared};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use thalweg_io::{CoreId, TaskClass, mailbox};

const ATTEMPT: Attempt = Attempt(1);

fn at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7200))
}

fn opening() -> Opening {
    Opening { job: JobId(1), attempt: ATTEMPT, owner: 1, from: Place { seat: 1, core: 0 }, to: Place { seat: 0, core: 0 } }
}

fn auth(world: &World, core: usize) -> Authenticator {
    Authenticator::new(&world.io(), CoreId(core), None, Duration::from_secs(10))
}

/// Sets a link with one channel going; what it says when it fails is to be found where this returns.
fn start(world: &World, lifeline: &Lifeline) -> (Surroundings, Rc<Mutex<Option<LinkFailure>>>) {
    let shared = Shared {
        operators: Arc::new([]),
        settings: Arc::new(EngineSettings::default()),
        key_groups: KeyGroups::DEFAULT,
        coordinator: mailbox().0,
        metrics: Arc::new(Mutex::new(JobMetrics::default())),
    };
    let metrics = Rc::new(MetricRegistry::new(0));
    let around = Surroundings::new(&world.io(), ATTEMPT, "w".to_owned(), &metrics, &shared, lifeline);
    let (number, record) = (ChannelNumber(0), RecordType::of::<u64>());
    let (sender, end) = (record.channel)(number, 4, u32::MAX);
    let link = Outgoing::new(around.clone(), vec![RemoteChannel { number, end, record }], 4);
    let (failure, auth) = (Rc::<Mutex<_>>::default(), auth(world, 1));
    let failed = Rc::clone(&failure);
    let run = async move {
        *failed.lock().unwrap() = link.run(at(), auth, opening()).await.err();
        drop(sender);
    };
    world.io().spawner().spawn(TaskClass::Latency, "link", Box::pin(run));
    (around, failure)
}

#[test]
fn a_caller_that_is_hung_up_on_before_its_attempt_is_known_there_calls_again_for_as_long_as_it_takes() {
    let (world, lifeline) = (World::default(), Lifeline::new());
    let door = world.run(Door::open(&world.io(), at(), auth(&world, 0))).unwrap();
    let (_, failure) = start(&world, &lifeline);
    world.sleep(20 * UNKNOWN_TIME);
    door.begin(JobId(1), 1, ATTEMPT);
    let awaited = door.expect(opening());
    let before = world.now();
    world.run(poll_fn(|cx| awaited.poll_caller(cx)));
    assert!(world.now() - before <= CALL_AGAIN_MAX, "it took {:?}", world.now() - before);
    assert!(failure.lock().unwrap().is_none());
}

#[test]
fn a_connection_that_breaks_after_the_first_credit_is_the_end_of_the_link() {
    let (world, lifeline) = (World::default(), Lifeline::new());
    let door = world.run(Door::open(&world.io(), at(), auth(&world, 0))).unwrap();
    let (around, failure) = start(&world, &lifeline);
    door.begin(JobId(1), 1, ATTEMPT);
    let awaited = door.expect(opening());
    let mut caller = world.run(poll_fn(|cx| awaited.poll_caller(cx)));
    let mut credit = Buffer::default();
    append_entries(&mut credit, FrameKind::Credit, &around, [[0, 4, 0]].into_iter());
    world.run(caller.write.write_all(credit)).unwrap();
    world.sleep(Duration::from_millis(1));
    drop(caller);
    world.sleep(Duration::from_millis(1));
    assert_eq!(*failure.lock().unwrap(), Some(LinkFailure::Broken("it closed the connection".to_owned())));
}
