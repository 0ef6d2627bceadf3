//! How cores start and end on io_uring: what the conformance suite cannot ask of a simulator.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test of the door itself")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thalweg_io::uring::UringCores;
use thalweg_io::{Buffer, CoreMain, Cores, Io, TaskClass, WriteError, block_on, mailbox, ring, yield_now};

fn main_of<F: Future<Output = ()> + 'static>(body: impl FnOnce(Io) -> F + Send + 'static) -> CoreMain {
    Box::new(move |_, io| Box::pin(body(io)))
}

#[test]
fn a_panic_ends_its_own_core_alone() {
    let (sender, mut receiver) = mailbox();
    let (mut producer, mut consumer) = ring::<u8>(1);
    let in_time: CoreMain = main_of(move |_| async move {
        assert!(producer.try_push(1).is_ok());
        // Wait until the other side has it, then fall over with the ring in hand.
        poll_fn(|cx| producer.poll_room(cx)).await;
        panic!("on purpose");
    });
    let at_once: CoreMain = Box::new(|_, _| panic!("on purpose, before there is a future"));
    let healthy = main_of(move |_| async move {
        let mut seen = 0;
        while poll_fn(|cx| consumer.poll_items(cx)).await {
            seen += consumer.try_pop().unwrap();
        }
        sender.send(seen).unwrap();
    });
    UringCores::new().start(vec![in_time, at_once, healthy]).unwrap().join();
    assert_eq!(block_on(receiver.recv()), Some(1));
}

#[test]
fn a_task_that_panics_leaves_its_core_running() {
    let (sender, mut receiver) = mailbox();
    let main = main_of(move |io| async move {
        io.spawner().spawn(TaskClass::Latency, "doomed", Box::pin(async { panic!("on purpose") }));
        io.clock().sleep_until(io.clock().now().after(Duration::from_millis(5))).await;
        sender.send("alive").unwrap();
    });
    UringCores::new().start(vec![main]).unwrap().join();
    assert_eq!(block_on(receiver.recv()), Some("alive"));
}

#[test]
fn more_cores_than_cpus_share_them_and_are_named() {
    let cores = UringCores::new();
    let count = 3 * cores.available() + 1;
    let names = Arc::new(Mutex::new(BTreeSet::new()));
    let mains = (0..count).map(|_| {
        let names = Arc::clone(&names);
        main_of(move |io| async move {
            assert_eq!(io.spin_limit(), 0);
            io.clock().sleep_until(io.clock().now().after(Duration::from_millis(5))).await;
            names.lock().unwrap().insert(std::thread::current().name().unwrap().to_owned());
        })
    });
    cores.start(mains.collect()).unwrap().join();
    let expected: BTreeSet<_> = (0..count).map(|n| format!("thalweg-core-{n}")).collect();
    assert_eq!(*names.lock().unwrap(), expected);
}

#[test]
fn no_cores_at_all_are_a_group_too() {
    UringCores::new().start(vec![]).unwrap().join();
}

/// A read that nothing answers, an accept nobody calls at, a task that waits for ever: the end of the core is theirs.
#[test]
fn a_core_ends_with_operations_under_way_and_leaks_no_descriptor() {
    let run = || {
        let main = main_of(|io| async move {
            let listener = io.net().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
            let (mut read, write) = io.net().connect(listener.address()).await.unwrap();
            let called = listener.accept().await.unwrap();
            let listening = io.clone();
            io.spawner().spawn(
                TaskClass::Background,
                "waiting",
                Box::pin(async move {
                    let _kept = (called, write, listening);
                    let _ = read.read(Buffer::with_capacity(4096)).await;
                    pending::<()>().await;
                }),
            );
            io.spawner().spawn(
                TaskClass::Background,
                "listening",
                Box::pin(async move {
                    let _ = listener.accept().await;
                }),
            );
            io.clock().sleep_until(io.clock().now().after(Duration::from_millis(2))).await;
        });
        UringCores::new().start(vec![main]).unwrap().join();
    };
    let started = std::time::Instant::now();
    // Other tests of this process open and close descriptors, too: hence many rounds, and a bound between none and all.
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    (0..100).for_each(|_| run());
    assert!(open() < before + 50, "{before} descriptors before, {} after 100 rounds", open());
    assert!(started.elapsed() < Duration::from_secs(20), "the end of a core waits for what nobody will answer");
}

#[test]
fn a_full_disk_says_so_and_gives_back_what_there_was_no_room_for() {
    let (sender, mut receiver) = mailbox();
    let main = main_of(move |io| async move {
        let full = io.disk().open("/dev/full".as_ref(), thalweg_io::OpenMode::Write).await.unwrap();
        let Err(WriteError::NoRoom(error, buffer)) = full.write_at(0, b"some bytes"[..].into()).await else { panic!("it is full") };
        sender.send((error.kind(), error.to_string(), buffer.to_vec())).unwrap();
    });
    UringCores::new().start(vec![main]).unwrap().join();
    let (kind, text, bytes) = block_on(receiver.recv()).unwrap();
    assert_eq!((kind, &bytes[..]), (std::io::ErrorKind::StorageFull, &b"some bytes"[..]));
    assert!(text.starts_with("cannot write to /dev/full: "), "{text}");
}

#[test]
fn a_thread_that_is_no_core_wakes_one() {
    let (sender, mut receiver) = mailbox();
    let (answer, mut answers) = mailbox();
    let main = main_of(move |_| async move {
        while let Some(n) = receiver.recv().await {
            answer.send(n + 1).unwrap();
        }
    });
    let group = UringCores::new().start(vec![main]).unwrap();
    for n in 0..1000 {
        sender.send(n).unwrap();
        assert_eq!(block_on(answers.recv()), Some(n + 1));
    }
    drop(sender);
    group.join();
    assert_eq!(block_on(answers.recv()), None);
}

/// The kernel holds completions back until the core enters it again, and one that is busy with something else does not do so by itself.
#[test]
fn what_arrives_reaches_a_core_that_never_rests() {
    let (address_sender, mut address) = mailbox();
    let (arrived_sender, mut arrived) = mailbox();
    let busy = main_of(move |io| async move {
        let listener = io.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        address_sender.send(listener.address()).unwrap();
        let (mut read, _write, _) = listener.accept().await.unwrap();
        let has_arrived = Rc::new(Cell::new(false));
        let (reader_io, flag) = (io.clone(), Rc::clone(&has_arrived));
        let reading = async move {
            let asked_at = reader_io.clock().now();
            assert_eq!(*read.read(Buffer::with_capacity(8)).await.unwrap(), *b"here");
            flag.set(true);
            arrived_sender.send(reader_io.clock().now().since(asked_at)).unwrap();
        };
        io.spawner().spawn(TaskClass::Latency, "reader", Box::pin(reading));
        let given_up_at = io.clock().now().after(Duration::from_secs(10));
        while !has_arrived.get() && io.clock().now() < given_up_at {
            yield_now().await;
        }
    });
    let caller = main_of(move |io| async move {
        let address = address.recv().await.unwrap();
        let (_read, mut write) = io.net().connect(address).await.unwrap();
        io.clock().sleep_until(io.clock().now().after(Duration::from_millis(50))).await;
        write.write_all(Buffer::from(&b"here"[..])).await.unwrap();
        io.clock().sleep_until(io.clock().now().after(Duration::from_millis(500))).await;
    });
    UringCores::new().start(vec![busy, caller]).unwrap().join();
    let waited = block_on(arrived.recv()).expect("it arrives while the core is busy");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}
