use super::*;
use crate::cluster::testing::World;
use thalweg_io::{CoreId, Net, NetRead};

fn at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7200))
}

fn opening(seat: usize, owner: u64, attempt: u64) -> Opening {
    let (from, to) = (Place { seat, core: 0 }, Place { seat: 0, core: 0 });
    Opening { job: JobId(1), attempt: Attempt(attempt), owner, from, to }
}

/// A door, and somebody who may call there.
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
    let first = call(&world, &auth, opening(0, 1, 1));
    world.sleep(2 * PATIENCE);
    let others: Vec<_> = (1..=CALLERS_MAX + 10).map(|seat| call(&world, &auth, opening(seat, 1, 1))).collect();
    door.begin(JobId(1), 1, Attempt(1));
    assert!((0..=CALLERS_MAX + 10).all(|seat| has_come(&door, opening(seat, 1, 1))));
    drop((first, others));
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
    // Another folder, that goes on with the same job, counts its attempts from 1.
    let (new, stale) = (call(&world, &auth, opening(1, 2, 1)), call(&world, &auth, opening(2, 1, 6)));
    door.begin(JobId(1), 2, Attempt(1));
    assert!(has_come(&door, opening(1, 2, 1)));
    assert!(!has_come(&door, opening(2, 2, 1)) && !has_come(&door, opening(2, 1, 6)));
    drop((new, stale));
}
