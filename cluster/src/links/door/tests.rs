use super::super::early::{UNKNOWN_MAX, UNKNOWN_TIME};
use super::*;
use thalweg_io::{Buffer, CoreId, Net, NetRead, NetWrite};
use thalweg_kernel::checkpoint::CheckpointId;
use thalweg_kernel::worker::AttemptPlan;
use thalweg_kernel::worker::{FrameHeader, FrameKind, Place};
use thalweg_small_world::{World, poll_once};

fn at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7200))
}

/// The place of the core that owns the door.
const HERE: Place = Place { seat: 0, core: 0 };

/// An attempt of a few hundred workers with one core each.
fn announced(owner: u64, attempt: u64) -> Announced {
    let plan = AttemptPlan { job: JobId(1), attempt: Attempt(attempt), owner, epoch: CheckpointId(1), snapshots: None };
    Announced::new(&plan, HERE, vec![1; 400].into())
}

fn opening(seat: usize, owner: u64, attempt: u64) -> Opening {
    let (from, to) = (Place { seat, core: 0 }, HERE);
    Opening { job: JobId(1), attempt: Attempt(attempt), owner, from, to }
}

/// A door, and the authenticator of a caller.
fn doorstep(world: &World) -> (Door, Authenticator) {
    let io = world.io();
    let auth = |core| Authenticator::new(&io, CoreId(core), None, Duration::from_secs(10));
    (world.run(Door::open(&io, at(), auth(0))).unwrap(), auth(1))
}

fn call(world: &World, auth: &Authenticator, opening: Opening) -> (Box<dyn NetRead>, Box<dyn NetWrite>) {
    let called = world.run(async {
        let (mut read, mut write) = world.connect(at()).await.unwrap();
        auth.authenticate(&mut *read, &mut *write, Side::Caller, Purpose::Data).await.unwrap();
        write.write_all(opening.encode()).await.unwrap();
        (read, write)
    });
    world.sleep(Duration::from_millis(1));
    called
}

fn has_come(door: &Door, opening: Opening) -> bool {
    door.expect(opening).poll_caller(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn callers_of_our_own_wait_for_their_attempt_however_many_they_are_and_however_long_it_takes() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    // Other workers may have heard of the attempt a little earlier.
    let first = call(&world, &auth, opening(1, 1, 1));
    door.announce(announced(1, 1));
    world.sleep(2 * UNKNOWN_TIME);
    let others: Vec<_> = (2..=CALLERS_MAX + UNKNOWN_MAX + 10).map(|seat| call(&world, &auth, opening(seat, 1, 1))).collect();
    world.sleep(1000 * PATIENCE);
    door.begin(JobId(1), 1, Attempt(1));
    assert!((1..=CALLERS_MAX + UNKNOWN_MAX + 10).all(|seat| has_come(&door, opening(seat, 1, 1))));
    drop((first, others));
}

/// Whether the door has hung up.
fn is_hung_up(world: &World, (read, _): &mut (Box<dyn NetRead>, Box<dyn NetWrite>)) -> bool {
    let read = world.run(async { poll_once(read.read(Buffer::with_capacity(8)).as_mut()).await });
    read.is_some_and(|read| read.unwrap().is_empty())
}

#[test]
fn callers_of_an_attempt_that_nobody_has_announced_wait_for_a_few_seconds_and_only_a_few_of_them() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    door.announce(announced(1, 1));
    let known = call(&world, &auth, opening(1, 1, 1));
    let mut strangers: Vec<_> = (0..UNKNOWN_MAX as u64 + 10).map(|owner| call(&world, &auth, opening(1, 100 + owner, 1))).collect();
    let mut still_there = || strangers.iter_mut().filter_map(|stranger| (!is_hung_up(&world, stranger)).then_some(())).count();
    assert_eq!(still_there(), UNKNOWN_MAX);
    world.sleep(UNKNOWN_TIME);
    assert_eq!(still_there(), 0);
    door.begin(JobId(1), 1, Attempt(1));
    assert!(has_come(&door, opening(1, 1, 1)), "a flood of strangers does not push it out");
    drop(known);
}

#[test]
fn a_stranger_who_calls_and_hangs_up_costs_nothing() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    door.announce(announced(1, 1));
    // A caller such as anybody can be, and one that has learnt the number of an attempt.
    for opening in [opening(1, 77, 1), opening(1, 1, 1)] {
        let (mut read, write) = call(&world, &auth, opening);
        assert_eq!(door.doorstep.borrow().early.count(), 1);
        drop(write);
        assert!(world.run(read.read(Buffer::with_capacity(8))).unwrap().is_empty(), "it was hung up on");
        assert_eq!(door.doorstep.borrow().early.count(), 0);
    }
}

#[test]
fn a_caller_from_a_place_that_the_attempt_does_not_have_is_a_stranger() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    door.announce(announced(1, 1));
    let from = |seat, core| Opening { from: Place { seat, core }, ..opening(1, 1, 1) };
    let elsewhere = Opening { to: Place { seat: 0, core: 1 }, ..opening(1, 1, 1) };
    for opening in [from(400, 0), from(1, 1), from(0, 0), elsewhere] {
        let mut called = call(&world, &auth, opening);
        assert!(!is_hung_up(&world, &mut called));
        world.sleep(UNKNOWN_TIME);
        assert!(is_hung_up(&world, &mut called), "{opening:?}");
    }
}

#[test]
fn what_a_caller_says_while_it_waits_is_not_lost() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    door.announce(announced(1, 1));
    let (read, mut write) = call(&world, &auth, opening(1, 1, 1));
    let demand = FrameHeader::new(FrameKind::Demand, Attempt(1)).encode(&[]);
    world.run(write.write_all(Buffer::from(&demand[..]))).unwrap();
    world.sleep(Duration::from_millis(1));
    door.begin(JobId(1), 1, Attempt(1));
    let awaited = door.expect(opening(1, 1, 1));
    let Poll::Ready(mut caller) = awaited.poll_caller(&mut Context::from_waker(Waker::noop())) else { panic!("it has come") };
    let (header, _) = world.run(poll_fn(|cx| caller.reader.poll_next(cx))).unwrap().unwrap();
    assert_eq!(header.kind, FrameKind::Demand);
    drop((read, write));
}

#[test]
fn callers_of_the_attempt_that_was_announced_before_have_nothing_to_wait_for() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    door.announce(announced(1, 1));
    let (mut old, mut next) = (call(&world, &auth, opening(1, 1, 1)), call(&world, &auth, opening(1, 1, 2)));
    door.announce(announced(1, 2));
    assert!(is_hung_up(&world, &mut old) && !is_hung_up(&world, &mut next));
    world.sleep(2 * UNKNOWN_TIME);
    door.begin(JobId(1), 1, Attempt(2));
    assert!(has_come(&door, opening(1, 1, 2)));
}

#[test]
fn whoever_calls_again_before_its_attempt_takes_the_place_of_its_first_connection() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    let (mut given_up, write) = call(&world, &auth, opening(1, 1, 1));
    let again = call(&world, &auth, opening(1, 1, 1));
    assert!(world.run(given_up.read(Buffer::with_capacity(8))).unwrap().is_empty(), "it was hung up on");
    door.begin(JobId(1), 1, Attempt(1));
    assert!(has_come(&door, opening(1, 1, 1)), "the connection that came last waits for the link");
    assert!(!has_come(&door, opening(1, 1, 1)), "and it alone");
    drop((write, again));
}

#[test]
fn a_caller_of_an_attempt_that_is_over_is_turned_away_whether_it_comes_early_or_late() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    let early = call(&world, &auth, opening(1, 1, 1));
    door.begin(JobId(1), 1, Attempt(2));
    assert!(!has_come(&door, opening(1, 1, 1)));
    let (mut read, write) = call(&world, &auth, opening(1, 1, 1));
    assert!(world.run(read.read(Buffer::with_capacity(8))).unwrap().is_empty(), "it was hung up on");
    drop((early, write));
}

#[test]
fn attempts_of_two_coordinators_are_told_apart_though_they_have_one_number() {
    let world = World::default();
    let (door, auth) = doorstep(&world);
    door.begin(JobId(1), 1, Attempt(5));
    // Another checkpoint folder that continues the same job counts its attempts from 1.
    let (new, stale) = (call(&world, &auth, opening(1, 2, 1)), call(&world, &auth, opening(2, 1, 6)));
    door.begin(JobId(1), 2, Attempt(1));
    assert!(has_come(&door, opening(1, 2, 1)));
    assert!(!has_come(&door, opening(2, 2, 1)) && !has_come(&door, opening(2, 1, 6)));
    drop((new, stale));
}
