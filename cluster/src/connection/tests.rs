use super::*;
use std::future::poll_fn;
use thalweg_small_world::{Halves, World};

fn connection(world: &World, (read, write): Halves) -> Connection {
    Connection::new(world.io(), Talk::new(read, write, 64), Heartbeat::default())
}

fn named(name: &str) -> Message {
    Message::Hello { binary: 1, name: name.to_owned() }
}

async fn next(connection: &mut Connection) -> Result<Message, ConnectionError> {
    poll_fn(|cx| connection.poll_next(cx)).await
}

fn text(message: Message) -> String {
    let Message::Hello { name, .. } = message else { panic!("{} was not expected", message.name()) };
    name
}

/// Takes messages until the connection ends; returns their names, the reason of the end, and when it came.
async fn until_its_end(world: World, mut connection: Connection) -> (Vec<String>, ConnectionError, Duration) {
    let mut heard = Vec::new();
    loop {
        match next(&mut connection).await {
            Ok(message) => heard.push(text(message)),
            Err(error) => return (heard, error, world.now()),
        }
    }
}

#[test]
fn messages_arrive_in_order_however_the_stream_is_cut() {
    for chunk in [1, 7, 4096] {
        let world = World::default();
        let (here, there) = world.pair(50, chunk);
        let (mut here, there) = (connection(&world, here), connection(&world, there));
        let sent: Vec<String> = (0..20).map(|i| "x".repeat(i * 10)).collect();
        sent.iter().for_each(|name| here.send(&named(name)).unwrap());
        let sending = async {
            for _ in 0..20 {
                let _ = super::within(&world.io(), Duration::from_millis(400), next(&mut here)).await;
            }
            drop(here);
        };
        let receiving = until_its_end(world.clone(), there);
        let (mut sending, mut receiving) = (Box::pin(sending), Box::pin(receiving));
        let mut is_sent = false;
        let (heard, end, _) = world.run(poll_fn(|cx| {
            is_sent = is_sent || sending.as_mut().poll(cx).is_ready();
            receiving.as_mut().poll(cx)
        }));
        assert_eq!(heard, sent, "in parts of {chunk}");
        assert!(matches!(end, ConnectionError::Closed), "{end}");
    }
}

#[test]
fn two_that_have_nothing_to_say_stay_connected() {
    let world = World::default();
    let (here, there) = world.pair(1 << 16, 1 << 16);
    let ends = [here, there].map(|end| Box::pin(until_its_end(world.clone(), connection(&world, end))));
    let mut hour = world.io().clock().sleep_until(MonotonicNs(3_600_000_000_000));
    let mut ends = ends;
    world.run(poll_fn(|cx| {
        for end in &mut ends {
            if let Poll::Ready((_, error, at)) = end.as_mut().poll(cx) {
                panic!("{error} at {at:?}");
            }
        }
        hour.as_mut().poll(cx)
    }));
}

#[test]
fn a_silent_peer_is_dead_after_the_timeout_and_a_slow_one_is_not() {
    let world = World::default();
    let (here, (_read, mut write)) = world.pair(1 << 16, 1 << 16);
    let ended = until_its_end(world.clone(), connection(&world, here));
    let message = codec::encode(&named("slow")).unwrap();
    let trickle = {
        let world = world.clone();
        async move {
            for byte in message.iter() {
                world.io().clock().sleep_until(world.io().clock().now().after(Duration::from_secs(2))).await;
                write.write_all(Buffer::from(&[*byte][..])).await.unwrap();
            }
            // Then silence, with the connection open.
            std::future::pending::<()>().await;
        }
    };
    let bytes = codec::encode(&named("slow")).unwrap().len() as u64;
    let (mut ended, mut trickle) = (Box::pin(ended), Box::pin(trickle));
    let (heard, end, at) = world.run(poll_fn(|cx| {
        let _ = trickle.as_mut().poll(cx);
        ended.as_mut().poll(cx)
    }));
    assert_eq!(heard, ["slow"]);
    assert!(matches!(end, ConnectionError::Silent(_)), "{end}");
    assert_eq!(at, Duration::from_millis(2000 * bytes + 2500));
}

#[test]
fn last_words_are_heard_before_the_end_even_if_nothing_can_be_said_any_more() {
    let world = World::default();
    let (here, (read, mut write)) = world.pair(1 << 16, 1 << 16);
    let mut here = connection(&world, here);
    here.send(&named("nobody reads this")).unwrap();
    world.run(async {
        write.write_all(codec::encode(&named("farewell")).unwrap()).await.unwrap();
        drop((read, write));
    });
    let (heard, _, at) = world.run(until_its_end(world.clone(), here));
    assert_eq!((heard, at), (vec!["farewell".to_owned()], Duration::ZERO));
}

#[test]
fn one_that_does_not_read_is_given_up_before_it_fills_the_memory() {
    let world = World::default();
    let (here, _there) = world.pair(100, 100);
    let mut here = connection(&world, here);
    let large = "x".repeat(1 << 20);
    for _ in 0..=QUEUE_BYTES_MAX / large.len() {
        here.send(&named(&large)).unwrap();
    }
    let end = world.run(next(&mut here)).map(|message| message.name());
    assert!(matches!(end, Err(ConnectionError::Clogged(_))), "{end:?}");
}

#[test]
fn whoever_sends_as_long_as_little_waits_is_never_clogged_however_much_it_is() {
    let world = World::default();
    let (here, there) = world.pair(1 << 16, 1 << 16);
    let (mut here, mut there) = (connection(&world, here), connection(&world, there));
    let large = "x".repeat(codec::INLINE_BYTES_MAX);
    let (mut sent, mut heard, mut most) = (0, 0, 0);
    world.run(poll_fn(|cx| {
        while sent < 10 && here.is_clear() {
            here.send(&named(&large)).unwrap();
            sent += 1;
        }
        most = most.max(here.talk.writer.queued_bytes);
        assert!(here.poll_next(cx).is_pending(), "nobody says anything here");
        if let Poll::Ready(next) = there.poll_next(cx) {
            heard += usize::from(text(next.unwrap()).len() == large.len());
        }
        cx.waker().wake_by_ref();
        if heard == 10 { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert!(most < 2 * codec::INLINE_BYTES_MAX, "{most} bytes waited");
}

#[test]
fn signs_of_life_without_end_leave_others_their_turn() {
    let world = World::default();
    let (here, (_read, mut write)) = world.pair(1 << 16, 1 << 16);
    let mut here = connection(&world, here);
    for message in (0..3 * BATCH).map(|_| Message::Heartbeat).chain([named("and a word")]) {
        world.run(write.write_all(codec::encode(&message).unwrap())).unwrap();
    }
    let mut turns = 0;
    let heard = world.run(poll_fn(|cx| {
        turns += 1;
        here.poll_next(cx)
    }));
    assert_eq!((text(heard.unwrap()).as_str(), turns), ("and a word", 4));
}

#[test]
fn what_is_only_announced_takes_no_memory_and_garbage_ends_the_connection() {
    let world = World::default();
    let (here, (_read, mut write)) = world.pair(1 << 16, 1 << 16);
    let mut here = connection(&world, here);
    let mut header = Buffer::from(&codec::encode(&Message::Heartbeat).unwrap()[..HEADER_BYTES]);
    header[8..12].copy_from_slice(&(MESSAGE_BYTES_MAX as u32).to_le_bytes());
    let crc = crc32fast::hash(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    world.run(write.write_all(header)).unwrap();
    assert!(matches!(world.run(next(&mut here)), Err(ConnectionError::Silent(_))));
    let (read_bytes, _) = here.talk.reader.reading.as_ref().map(|(before, _)| (*before, ())).unwrap();
    assert_eq!(read_bytes, HEADER_BYTES);

    let (here, (_read, mut write)) = world.pair(1 << 16, 1 << 16);
    world.run(write.write_all(Buffer::from(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]))).unwrap();
    let (heard, end, _) = world.run(until_its_end(world.clone(), connection(&world, here)));
    assert!(heard.is_empty() && matches!(end, ConnectionError::Codec(CodecError::Foreign)), "{end}");
}

/// A message whose length has grown on its way would swallow the heartbeats behind it, each of which would count as one: for ever, were it not noticed.
#[test]
fn a_length_that_was_changed_is_noticed_without_waiting_for_the_body() {
    for bit in 0..32 {
        let world = World::default();
        let (here, there) = world.pair(1 << 16, 1 << 16);
        let (_read, mut write) = there;
        let mut message = codec::encode(&named("of some length")).unwrap();
        message[8 + bit / 8] ^= 1 << (bit % 8);
        world.run(write.write_all(message)).unwrap();
        let (heard, end, at) = world.run(until_its_end(world.clone(), connection(&world, here)));
        assert!(heard.is_empty() && matches!(end, ConnectionError::Codec(CodecError::Corrupt)), "bit {bit}: {end}");
        assert_eq!(at, Duration::ZERO, "bit {bit}");
    }
}

#[test]
fn a_handshake_takes_only_short_messages() {
    let world = World::default();
    let ((read, write), (_read, mut other)) = world.pair(1 << 16, 1 << 16);
    let mut talk = Talk::new(read, write, 64);
    world.run(other.write_all(codec::encode(&named(&"x".repeat(65))).unwrap())).unwrap();
    let end = world.run(talk.hear()).map(|message| message.name());
    assert!(matches!(end, Err(ConnectionError::Codec(CodecError::TooLong { limit: 64, .. }))), "{end:?}");
}

#[test]
fn whoever_finishes_waits_for_the_other_and_not_for_ever() {
    let world = World::default();
    let ((read, write), (_their_read, _their_write)) = world.pair(1 << 16, 1 << 16);
    let mut talk = Talk::new(read, write, 64);
    world.run(talk.say(&named("last"))).unwrap().unwrap();
    world.run(talk.finish(&world.io(), Duration::from_secs(2)));
    assert_eq!(world.now(), Duration::from_secs(2));
}
