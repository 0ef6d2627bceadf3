//! Byte streams of the network.

use super::{Promised, World, cases, on_one_core, on_two_cores, pattern, pause, within};
use crate::{Buffer, Io, Listener, NetRead, NetWrite, TaskClass, mailbox};
use std::cell::Cell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

cases![
    an_echo_comes_back,
    cores_talk_to_each_other,
    a_large_transfer_keeps_its_order,
    a_writer_waits_while_its_peer_does_not_read_and_goes_on_when_it_does,
    dropping_the_writer_ends_the_stream_and_leaves_the_other_direction,
    connecting_where_nobody_listens_is_refused_and_says_where,
    a_read_that_was_given_up_loses_no_bytes,
    a_read_goes_on_behind_what_is_there_and_stops_where_it_is_told,
    an_accept_that_was_given_up_loses_no_connection,
    a_peer_that_is_gone_ends_a_write_with_an_error,
];

type Stream = (Box<dyn NetRead>, Box<dyn NetWrite>);

async fn listen(io: &Io, address: SocketAddr) -> Box<dyn Listener> {
    let listener = io.net().listen(address).await.promised();
    assert_ne!(listener.address().port(), 0, "a listener knows the port that was picked");
    listener
}

/// The two ends of a new connection: the caller's, the listener's.
async fn connection(io: &Io, address: SocketAddr) -> (Stream, Stream) {
    let listener = listen(io, address).await;
    let caller = io.net().connect(listener.address()).await.promised();
    let (read, write, peer) = listener.accept().await.promised();
    assert_eq!(peer.ip(), listener.address().ip());
    (caller, (read, write))
}

async fn read_exactly(read: &mut Box<dyn NetRead>, len: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while bytes.len() < len {
        let buffer = read.read(Buffer::with_capacity((len - bytes.len()).min(64 * 1024))).await.promised();
        assert!(!buffer.is_empty(), "the stream ended after {} of {len} bytes", bytes.len());
        bytes.extend_from_slice(&buffer);
    }
    bytes
}

async fn read_to_end(read: &mut Box<dyn NetRead>) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let buffer = read.read(Buffer::with_capacity(64 * 1024)).await.promised();
        if buffer.is_empty() {
            return bytes;
        }
        bytes.extend_from_slice(&buffer);
    }
}

fn on_connection(world: &dyn World, body: impl AsyncFnOnce(Io, Stream, Stream) + Send + 'static) {
    let address = world.address();
    on_one_core(world, move |io| async move {
        let (caller, called) = connection(&io, address).await;
        body(io, caller, called).await;
    });
}

fn an_echo_comes_back(world: &dyn World) {
    on_connection(world, async |_, (mut read, mut write), (mut far_read, mut far_write)| {
        for n in 1..100 {
            let bytes = pattern(n * 37, n as u64);
            let returned = write.write_all(bytes[..].into()).await.promised();
            assert_eq!(*returned, bytes, "a write gives its buffer back as it was");
            let heard = read_exactly(&mut far_read, bytes.len()).await;
            far_write.write_all(heard[..].into()).await.promised();
            assert_eq!(read_exactly(&mut read, bytes.len()).await, bytes);
        }
    });
}

fn cores_talk_to_each_other(world: &dyn World) {
    let address = world.address();
    let (sender, mut receiver) = mailbox();
    on_two_cores(
        world,
        move |io| async move {
            let listener = listen(&io, address).await;
            sender.send(listener.address()).promised();
            let (mut read, mut write, _) = listener.accept().await.promised();
            let question = read_to_end(&mut read).await;
            write.write_all(question[..].into()).await.promised();
        },
        move |io| async move {
            let address = receiver.recv().await.promised();
            let (mut read, mut write) = io.net().connect(address).await.promised();
            write.write_all(b"who is there?"[..].into()).await.promised();
            drop(write);
            assert_eq!(read_to_end(&mut read).await, b"who is there?");
        },
    );
}

/// Sends `parts` parts of 64 KiB and ends the stream; counts them in `sent`.
fn send_parts(io: &Io, mut write: Box<dyn NetWrite>, parts: u64, sent: &Rc<Cell<u64>>) {
    let sent = Rc::clone(sent);
    let task = async move {
        for n in 0..parts {
            write.write_all(pattern(64 * 1024, n)[..].into()).await.promised();
            sent.set(n + 1);
        }
    };
    io.spawner().spawn(TaskClass::Throughput, "sender", Box::pin(task));
}

async fn receive_parts(read: &mut Box<dyn NetRead>, parts: u64) {
    for n in 0..parts {
        assert!(read_exactly(read, 64 * 1024).await == pattern(64 * 1024, n), "part {n} is not what was sent");
    }
    assert!(read_to_end(read).await.is_empty());
}

fn a_large_transfer_keeps_its_order(world: &dyn World) {
    on_connection(world, async |io, (_, write), (mut read, _far_write)| {
        send_parts(&io, write, 64, &Rc::default());
        receive_parts(&mut read, 64).await;
    });
}

fn a_writer_waits_while_its_peer_does_not_read_and_goes_on_when_it_does(world: &dyn World) {
    /// 32 MiB: more than the buffers of both sides grow to.
    const PARTS: u64 = 512;
    on_connection(world, async |io, (_, write), (mut read, _far_write)| {
        let sent = Rc::new(Cell::new(0));
        send_parts(&io, write, PARTS, &sent);
        let mut before = u64::MAX;
        while before != sent.get() || sent.get() == 0 {
            before = sent.get();
            pause(&io, Duration::from_millis(200)).await;
        }
        assert!(before < PARTS, "32 MiB were sent to somebody who reads nothing");
        receive_parts(&mut read, PARTS).await;
        assert_eq!(sent.get(), PARTS);
    });
}

fn dropping_the_writer_ends_the_stream_and_leaves_the_other_direction(world: &dyn World) {
    on_connection(world, async |_, (mut read, mut write), (mut far_read, mut far_write)| {
        write.write_all(b"last words"[..].into()).await.promised();
        drop(write);
        assert_eq!(read_to_end(&mut far_read).await, b"last words");
        assert!(far_read.read(Buffer::with_capacity(8)).await.promised().is_empty(), "the end is the end");
        far_write.write_all(b"understood"[..].into()).await.promised();
        assert_eq!(read_exactly(&mut read, 10).await, b"understood");
    });
}

fn connecting_where_nobody_listens_is_refused_and_says_where(world: &dyn World) {
    let address = world.address();
    on_one_core(world, move |io| async move {
        let listener = listen(&io, address).await;
        let address = listener.address();
        drop(listener);
        let error = io.net().connect(address).await.err().expect("nobody is there");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

fn a_read_that_was_given_up_loses_no_bytes(world: &dyn World) {
    on_connection(world, async |io, (_read, mut write), (mut far_read, _far_write)| {
        for n in 0..20 {
            let heard = within(&io, Duration::from_millis(1), far_read.read(Buffer::with_capacity(64))).await;
            assert!(heard.is_none(), "nothing has been said yet");
            let bytes = pattern(64, n);
            write.write_all(bytes[..].into()).await.promised();
            assert_eq!(read_exactly(&mut far_read, 64).await, bytes);
        }
    });
}

fn a_read_goes_on_behind_what_is_there_and_stops_where_it_is_told(world: &dyn World) {
    on_connection(world, async |io, (_read, mut write), (mut far_read, _far_write)| {
        // The abandoned read asks for more than the reads that follow.
        assert!(within(&io, Duration::from_millis(1), far_read.read_more(b"lost"[..].into(), 4096)).await.is_none());
        let bytes = pattern(1000, 7);
        write.write_all(bytes[..].into()).await.promised();
        let mut heard = vec![];
        while heard.len() < bytes.len() {
            let buffer = far_read.read_more(b"kept"[..].into(), 4 + 17).await.promised();
            assert!(buffer.starts_with(b"kept") && buffer.len() > 4 && buffer.len() <= 4 + 17);
            heard.extend_from_slice(&buffer[4..]);
        }
        assert_eq!(heard, bytes);
        drop(write);
        assert_eq!(*far_read.read_more(b"kept"[..].into(), 9).await.promised(), b"kept"[..]);
    });
}

fn an_accept_that_was_given_up_loses_no_connection(world: &dyn World) {
    let address = world.address();
    on_one_core(world, move |io| async move {
        let listener = listen(&io, address).await;
        assert!(within(&io, Duration::from_millis(1), listener.accept()).await.is_none());
        let (_read, mut write) = io.net().connect(listener.address()).await.promised();
        let (mut read, _, _) = listener.accept().await.promised();
        write.write_all(b"x"[..].into()).await.promised();
        assert_eq!(read_exactly(&mut read, 1).await, b"x");
    });
}

fn a_peer_that_is_gone_ends_a_write_with_an_error(world: &dyn World) {
    on_connection(world, async |io, (_read, mut write), called| {
        drop(called);
        for _ in 0..100 {
            if let Err(error) = write.write_all(pattern(64 * 1024, 1)[..].into()).await {
                assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                return;
            }
            pause(&io, Duration::from_millis(1)).await;
        }
        panic!("the peer is gone and the writer does not learn of it");
    });
}
