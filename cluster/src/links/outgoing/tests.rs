use super::super::door::Door;
use super::super::early::UNKNOWN_TIME;
use super::super::incoming::Incoming;
use super::*;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use thalweg_io::{Clock, CoreId, TaskClass, mailbox};
use thalweg_kernel::checkpoint::{Attempt, JobId};
use thalweg_kernel::worker::{Carried, CoreShared, Lifeline, MetricRegistry, Place, Unpacker};
use thalweg_kernel::{JobMetrics, StreamExecutionEnvironment};
use thalweg_small_world::World;

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

/// A channel whose frames are counted and hold only a number. Clones share it.
#[derive(Clone)]
struct Counted {
    number: ChannelNumber,
    layout: Layout,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Frames that wait to be sent.
    frames: usize,
    /// Frames that have arrived.
    delivered: usize,
    /// How often the link has looked for a frame.
    looks: usize,
    waker: Option<Waker>,
}

impl Counted {
    fn new(number: u32, layout: &str) -> Self {
        Self { number: ChannelNumber(number), layout: Layout::described(layout), state: Arc::default() }
    }

    fn push(&self) {
        let mut state = self.state.lock().unwrap();
        state.frames += 1;
        state.waker.take().into_iter().for_each(Waker::wake);
    }

    fn take_looks(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().looks)
    }

    /// The end of the channel that a link takes.
    fn end(&self) -> Box<dyn RemoteChannel> {
        Box::new(self.clone())
    }
}

impl RemoteChannel for Counted {
    fn number(&self) -> ChannelNumber {
        self.number
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn into_packer(self: Box<Self>) -> Box<dyn Packer> {
        self
    }

    fn into_unpacker(self: Box<Self>) -> Box<dyn Unpacker> {
        self
    }
}

impl Packer for Counted {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock().unwrap();
        state.looks += 1;
        if state.frames > 0 {
            return Poll::Ready(true);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn pack(&mut self, attempt: Attempt, channel: u32, sequence: u64, out: &mut Buffer) -> Result<Carried, LinkFailure> {
        self.state.lock().unwrap().frames -= 1;
        let header = FrameHeader {
            channel,
            sequence,
            layout: self.layout.fingerprint().as_u64(),
            count: 1,
            ..FrameHeader::new(FrameKind::Records, attempt)
        };
        let payload = sequence.to_le_bytes();
        out.extend_from_slice(&header.encode(&payload));
        out.extend_from_slice(&payload);
        Ok(Carried { records: 1, ..Carried::default() })
    }

    fn tell_window(&mut self, _records: u32) {}
}

impl Unpacker for Counted {
    fn deliver(&mut self, _header: &FrameHeader, _buffer: Buffer) -> Result<Carried, FrameError> {
        self.state.lock().unwrap().delivered += 1;
        Ok(Carried { records: 1, ..Carried::default() })
    }

    fn poll_returned(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Buffer>> {
        Poll::Pending
    }

    fn window(&self) -> u32 {
        0
    }
}

fn surroundings(world: &World, lifeline: &Lifeline) -> Surroundings {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(vec![1u64]).for_each(|_| {});
    let job = env.build("links").unwrap();
    let shared = CoreShared::new(&job, mailbox().0, Arc::new(Mutex::new(JobMetrics::default())));
    let metrics = Rc::new(MetricRegistry::new(0));
    Surroundings::new(&world.io(), ATTEMPT, "w".to_owned(), &metrics, &shared, lifeline)
}

/// Starts a link with one channel; the returned slot receives its failure.
fn start(world: &World, lifeline: &Lifeline) -> (Surroundings, Rc<Mutex<Option<LinkFailure>>>) {
    let around = surroundings(world, lifeline);
    let link = Outgoing::new(around.clone(), vec![Counted::new(0, "a").end()], 4);
    let (failure, auth) = (Rc::<Mutex<_>>::default(), auth(world, 1));
    let failed = Rc::clone(&failure);
    let run = async move { *failed.lock().unwrap() = link.run(at(), auth, opening()).await.err() };
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

/// With a parallelism of 128 on two cores each link had 8,192 channels and looked at all of them on every wake: a one-second job took minutes.
#[test]
fn a_link_with_a_thousand_channels_looks_at_the_one_that_wakes_it() {
    const CHANNELS: u32 = 1000;
    let (world, lifeline) = (World::default(), Lifeline::new());
    let door = world.run(Door::open(&world.io(), at(), auth(&world, 0))).unwrap();
    let channels: Vec<Counted> = (0..CHANNELS).map(|number| Counted::new(number, "a")).collect();
    let looks = || channels.iter().map(Counted::take_looks).sum::<usize>();
    let around = surroundings(&world, &lifeline);
    let link = Outgoing::new(around.clone(), channels.iter().map(Counted::end).collect(), 4);
    let auth = auth(&world, 1);
    world.io().spawner().spawn(TaskClass::Latency, "link", Box::pin(async move { drop(link.run(at(), auth, opening()).await) }));
    door.begin(JobId(1), 1, ATTEMPT);
    let awaited = door.expect(opening());
    let pause = || world.sleep_until(world.io().clock().now().after(Duration::from_millis(1)));
    // All in one `run`: in another call of `run` another task would poll the link.
    world.run(async {
        let mut caller = poll_fn(|cx| awaited.poll_caller(cx)).await;
        let mut credit = Buffer::default();
        append_entries(&mut credit, FrameKind::Credit, &around, (0..CHANNELS).map(|number| [number, 4, 0]));
        caller.write.write_all(credit).await.unwrap();
        pause().await;
        let looked = looks();
        assert!((1000..=2000).contains(&looked), "each of them at first, and when it has got credit: {looked}");
        for number in [999, 3, 3] {
            channels[number].push();
            pause().await;
            let looked = looks();
            assert!((1..=3).contains(&looked), "{looked} looks for one frame");
            assert_eq!(channels[number].state.lock().unwrap().frames, 0, "it was sent");
        }
    });
}

/// As in two processes that were started with different schemas: rkyv would accept the bytes.
#[test]
fn records_of_another_layout_are_refused_by_the_receiver_with_both_texts() {
    let texts = ["row{id:u64,}", "row{cents:u64,}"];
    for (expected, is_refused) in [(texts[0], false), (texts[1], true)] {
        let (world, lifeline) = (World::default(), Lifeline::new());
        let door = world.run(Door::open(&world.io(), at(), auth(&world, 0))).unwrap();
        door.begin(JobId(1), 1, ATTEMPT);
        let around = surroundings(&world, &lifeline);
        let (sender, receiver) = (Counted::new(0, texts[0]), Counted::new(0, expected));
        let link = Outgoing::new(around.clone(), vec![sender.end()], 4);
        let auth = auth(&world, 1);
        world.io().spawner().spawn(TaskClass::Latency, "link-out", Box::pin(async move { drop(link.run(at(), auth, opening()).await) }));
        let link = Incoming::new(around, vec![receiver.end()], 4);
        let (failure, awaited) = (Rc::<Mutex<_>>::default(), door.expect(opening()));
        let failed = Rc::clone(&failure);
        let run = async move { *failed.lock().unwrap() = link.run(awaited).await.err() };
        world.io().spawner().spawn(TaskClass::Latency, "link-in", Box::pin(run));
        sender.push();
        world.sleep(Duration::from_secs(1));
        assert_eq!(receiver.state.lock().unwrap().delivered, usize::from(!is_refused));
        let failure = failure.lock().unwrap().take().unwrap_or_default();
        for text in texts {
            assert_eq!(failure.contains(text), is_refused, "{failure}");
        }
    }
}
