use super::super::door::Door;
use super::super::early::UNKNOWN_TIME;
use super::super::incoming::Incoming;
use super::super::lifeline::Lifeline;
use super::super::links::Place;
use super::*;
use crate::checkpoint::{Attempt, JobId};
use crate::exchange::frame::{Batch, Entry, ErasedEnd, Frame, InputChannel, OutputChannel, RecordType, typed};
use crate::exchange::remote::RecordPacker;
use crate::exchange::remote::packing::Carried;
use crate::record::RecordLayout;
use crate::runtime::{EngineSettings, JobMetrics, KeyGroups, MetricRegistry, Shared};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use thalweg_io::{Clock, CoreId, TaskClass, mailbox};
use thalweg_world::small::World;

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

/// The sender's end of a channel, and what a link takes.
fn remote_channel(number: u32, record: &RecordType) -> (ErasedEnd, RemoteChannel) {
    let number = ChannelNumber(number);
    let (sender, end) = (record.channel)(number, 4, u32::MAX);
    (sender, RemoteChannel { number, end, record: record.clone() })
}

fn surroundings(world: &World, lifeline: &Lifeline) -> Surroundings {
    let shared = Shared {
        operators: Arc::new([]),
        settings: Arc::new(EngineSettings::default()),
        key_groups: KeyGroups::DEFAULT,
        coordinator: mailbox().0,
        metrics: Arc::new(Mutex::new(JobMetrics::default())),
    };
    let metrics = Rc::new(MetricRegistry::new(0));
    Surroundings::new(&world.io(), ATTEMPT, "w".to_owned(), &metrics, &shared, lifeline)
}

/// Sets a link with one channel going; what it says when it fails is to be found where this returns.
fn start(world: &World, lifeline: &Lifeline) -> (Surroundings, Rc<Mutex<Option<LinkFailure>>>) {
    let around = surroundings(world, lifeline);
    let (sender, channel) = remote_channel(0, &RecordType::of::<u64>());
    let link = Outgoing::new(around.clone(), vec![channel], 4);
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

/// How often the channels of the one test that has [`Watched`] ones were looked at.
static LOOKS: AtomicUsize = AtomicUsize::new(0);

/// Counts how often it is looked at.
struct Watched(RecordPacker<u64>);

impl Packer for Watched {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        LOOKS.fetch_add(1, Ordering::Relaxed);
        self.0.poll_frame(cx)
    }

    fn pack(&mut self, attempt: Attempt, channel: u32, sequence: u64, out: &mut Buffer) -> Result<Carried, LinkFailure> {
        self.0.pack(attempt, channel, sequence, out)
    }

    fn tell_window(&mut self, records: u32) {
        self.0.tell_window(records);
    }
}

/// With a parallelism of 128 on two cores each link had 8,192 channels and looked at all of them whenever one of them woke it: a job of a second took minutes.
#[test]
fn a_link_with_a_thousand_channels_looks_at_the_one_that_wakes_it() {
    const CHANNELS: u32 = 1000;
    let (world, lifeline) = (World::default(), Lifeline::new());
    let door = world.run(Door::open(&world.io(), at(), auth(&world, 0))).unwrap();
    let mut record = RecordType::of::<u64>();
    record.packer = |end, record| Box::new(Watched(RecordPacker::new(typed::<InputChannel<u64>>(end), &record.layout)));
    let (senders, channels): (Vec<_>, Vec<_>) = (0..CHANNELS).map(|number| remote_channel(number, &record)).unzip();
    let around = surroundings(&world, &lifeline);
    let link = Outgoing::new(around.clone(), channels, 4);
    let auth = auth(&world, 1);
    world.io().spawner().spawn(TaskClass::Latency, "link", Box::pin(async move { drop(link.run(at(), auth, opening()).await) }));
    door.begin(JobId(1), 1, ATTEMPT);
    let awaited = door.expect(opening());
    let pause = || world.sleep_until(world.io().clock().now().after(Duration::from_millis(1)));
    // All in one: in another call of `run` another task polls the link.
    world.run(async {
        let mut caller = poll_fn(|cx| awaited.poll_caller(cx)).await;
        let mut credit = Buffer::default();
        append_entries(&mut credit, FrameKind::Credit, &around, (0..CHANNELS).map(|number| [number, 4, 0]));
        caller.write.write_all(credit).await.unwrap();
        pause().await;
        assert!(
            (1000..=2000).contains(&LOOKS.load(Ordering::Relaxed)),
            "each of them at first, and when it has got credit: {}",
            LOOKS.load(Ordering::Relaxed)
        );
        let mut senders: Vec<OutputChannel<u64>> = senders.into_iter().map(typed).collect();
        for number in [999, 3, 3] {
            LOOKS.store(0, Ordering::Relaxed);
            assert!(senders[number].data.try_push(Batch::Owned(Frame::new())).is_ok());
            pause().await;
            assert!((1..=3).contains(&LOOKS.load(Ordering::Relaxed)), "{} looks for one frame", LOOKS.load(Ordering::Relaxed));
            assert_eq!(senders[number].data.len(), 0, "it was sent");
        }
    });
}

/// One Rust type with two layouts, as two processes may give that were started with different schemas: rkyv would take the bytes.
#[test]
fn records_of_two_layouts_of_one_type_are_refused_by_the_receiver_with_both_texts() {
    let [sent, expected] =
        ["row{id:u64,}", "row{cents:u64,}"].map(|text| RecordType::with(RecordLayout::<u64>::given(Layout::described(text))));
    for (receives, refused) in [(&sent, false), (&expected, true)] {
        let (world, lifeline) = (World::default(), Lifeline::new());
        let door = world.run(Door::open(&world.io(), at(), auth(&world, 0))).unwrap();
        door.begin(JobId(1), 1, ATTEMPT);
        let around = surroundings(&world, &lifeline);
        let (sender, channel) = remote_channel(0, &sent);
        let link = Outgoing::new(around.clone(), vec![channel], 4);
        let auth = auth(&world, 1);
        world.io().spawner().spawn(TaskClass::Latency, "link-out", Box::pin(async move { drop(link.run(at(), auth, opening()).await) }));
        let number = ChannelNumber(0);
        let (end, receiver) = (receives.channel)(number, 4, u32::MAX);
        let link = Incoming::new(around, vec![RemoteChannel { number, end, record: receives.clone() }], 4);
        let (failure, awaited) = (Rc::<Mutex<_>>::default(), door.expect(opening()));
        let failed = Rc::clone(&failure);
        let run = async move { *failed.lock().unwrap() = link.run(awaited).await.err() };
        world.io().spawner().spawn(TaskClass::Latency, "link-in", Box::pin(run));
        let mut frame = Frame::new();
        frame.entries.push(Entry { timestamp: 1, record: 7u64 });
        let mut sender: OutputChannel<u64> = typed(sender);
        assert!(sender.data.try_push(Batch::Owned(frame)).is_ok());
        world.sleep(Duration::from_secs(1));
        let mut receiver: InputChannel<u64> = typed(receiver);
        assert_eq!(receiver.data.try_pop().is_some(), !refused);
        let failure = failure.lock().unwrap().take().unwrap_or_default();
        for text in ["row{id:u64,}", "row{cents:u64,}"] {
            assert_eq!(failure.contains(text), refused, "{failure}");
        }
    }
}
