//! The simulated disk and network through the engine's door.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use thalweg_io::{Buffer, CoreMain, Cores, Io, IoError, LocalBoxFuture, MonotonicNs, OpenMode, ReadRequest, mailbox};
use thalweg_sim::{CrashStyle, DiskConfig, DiskFault, DiskFaultKind, NetConfig, NetFault, NetFaultKind, NetMoment, World, WorldConfig};

/// Runs `body` on one core of a new world and returns both.
fn on_core<T: Send + 'static>(seed: u64, config: WorldConfig, body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> (World, T) {
    let world = World::new(seed, config);
    let result = world.run(move |cores| async move { cores.on_core(body).await }).expect_done();
    (world, result)
}

/// Submits an operation that cannot complete at once.
async fn poll_once<T>(operation: &mut LocalBoxFuture<T>) {
    std::future::poll_fn(|cx| {
        assert!(operation.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(MonotonicNs(io.clock().now().0 + ms * 1_000_000)).await;
}

#[test]
fn files_put_before_a_run_are_read_and_files_written_in_it_are_found_after() {
    for seed in 0..10 {
        let world = World::new(seed, WorldConfig::random(seed));
        world.disk().put("data/in.csv", *b"a,b\n1,2\n").unwrap();
        world
            .run(|cores| async move {
                cores
                    .on_core(|io| {
                        Box::pin(async move {
                            let disk = io.disk();
                            let source = disk.open(Path::new("data/in.csv"), OpenMode::Read).await.unwrap();
                            let bytes = source.read_at(0, Buffer::with_capacity(4096)).await.unwrap();
                            disk.create_dir_all(Path::new("out")).await.unwrap();
                            let target = disk.open(Path::new("out/copy"), OpenMode::CreateNew).await.unwrap();
                            target.write_at(0, bytes).await.unwrap();
                            target.sync().await.unwrap();
                            disk.sync_dir(Path::new("out")).await.unwrap();
                            disk.sync_dir(Path::new("/")).await.unwrap();
                        })
                    })
                    .await;
            })
            .expect_done();
        world.disk().crash(CrashStyle::Random);
        assert_eq!(world.disk().files("out").unwrap(), [("copy".to_owned(), b"a,b\n1,2\n".to_vec())]);
    }
}

#[test]
fn a_batch_of_reads_comes_back_in_the_order_of_its_requests() {
    for seed in 0..10 {
        let world = World::new(seed, WorldConfig::random(seed));
        world.disk().put("f", (0..=255).collect::<Vec<u8>>()).unwrap();
        let found = world
            .run(|cores| async move {
                cores
                    .on_core(|io| {
                        Box::pin(async move {
                            let file = io.disk().open(Path::new("f"), OpenMode::Read).await.unwrap();
                            let requests = (0..20).map(|n| ReadRequest { offset: 20 * n, buffer: Buffer::with_capacity(16) }).collect();
                            let buffers = file.read_batch(requests).await;
                            buffers.into_iter().map(|buffer| buffer.unwrap().first().copied()).collect::<Vec<_>>()
                        })
                    })
                    .await
            })
            .expect_done();
        let expected: Vec<_> = (0..20).map(|n| u8::try_from(20 * n).ok()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_write_whose_future_was_dropped_is_done_all_the_same() {
    for seed in 0..10 {
        let mut config = WorldConfig::random(seed);
        config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 20, ..config.disk };
        let (_, found) = on_core(seed, config, |io| {
            Box::pin(async move {
                let file = io.disk().open(Path::new("f"), OpenMode::CreateNew).await.unwrap();
                let mut write = file.write_at(0, Buffer::from(&b"abandoned"[..]));
                poll_once(&mut write).await;
                drop(write);
                sleep_ms(&io, 100).await;
                file.read_at(0, Buffer::with_capacity(64)).await.unwrap().to_vec()
            })
        });
        assert_eq!(found, b"abandoned");
    }
}

#[test]
fn operations_under_way_together_complete_in_any_order() {
    let orders: std::collections::BTreeSet<_> = (0..20)
        .map(|seed| {
            let mut config = WorldConfig::calm();
            config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 50, ..config.disk };
            let (_, first_is_over) = on_core(seed, config, |io| {
                Box::pin(async move {
                    let file = io.disk().open(Path::new("f"), OpenMode::CreateNew).await.unwrap();
                    let mut writes = [file.write_at(0, Buffer::from(&b"1"[..])), file.write_at(0, Buffer::from(&b"2"[..]))];
                    std::future::poll_fn(|cx| match writes.iter_mut().position(|write| write.as_mut().poll(cx).is_ready()) {
                        Some(first) => std::task::Poll::Ready(first),
                        None => std::task::Poll::Pending,
                    })
                    .await
                })
            });
            first_is_over
        })
        .collect();
    assert_eq!(orders.len(), 2);
}

#[test]
fn a_listed_fault_hits_the_operation_with_its_number() {
    let mut config = WorldConfig::calm();
    config.disk.faults = vec![
        DiskFault::at(1, DiskFaultKind::Full),
        DiskFault::at(3, DiskFaultKind::Error),
        DiskFault::at(5, DiskFaultKind::Stall { ms: 500 }),
    ];
    let (world, (kinds, stalled_ms)) = on_core(1, config, |io| {
        Box::pin(async move {
            let file = io.disk().open(Path::new("f"), OpenMode::CreateNew).await.unwrap();
            let full = IoError::from(file.write_at(0, Buffer::from(&b"x"[..])).await.unwrap_err());
            file.write_at(0, Buffer::from(&b"x"[..])).await.unwrap();
            let failed = file.sync().await.unwrap_err();
            file.sync().await.unwrap();
            let start = io.clock().now();
            io.disk().sync_dir(Path::new("/")).await.unwrap();
            ((full.kind(), failed.raw_os_error()), io.clock().now().since(start).as_millis())
        })
    });
    assert_eq!(kinds, (ErrorKind::StorageFull, Some(5)));
    assert!(stalled_ms >= 500);
    assert_eq!(world.disk().faults_injected(), 3);
    world.disk().crash(CrashStyle::KeepUnsynced);
    assert_eq!(world.disk().files("/").unwrap(), [("f".to_owned(), b"x".to_vec())], "the process died, the machine did not");
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Sends 3,000 bytes through one connection and half of them back, at most `chunk` a read. Returns what came back.
fn echo(io: Io, chunk: usize) -> LocalBoxFuture<Vec<u8>> {
    Box::pin(async move {
        let listener = io.net().listen(any_port()).await.unwrap();
        let address = listener.address();
        io.spawner().spawn(
            thalweg_io::TaskClass::Throughput,
            "echo",
            Box::pin(async move {
                let (mut read, mut write, _) = listener.accept().await.unwrap();
                let mut position = 0usize;
                loop {
                    let bytes = read.read(Buffer::with_capacity(chunk)).await.unwrap();
                    if bytes.is_empty() {
                        break;
                    }
                    let even: Vec<u8> =
                        bytes.iter().enumerate().filter(|(n, _)| (position + n).is_multiple_of(2)).map(|(_, byte)| *byte).collect();
                    position += bytes.len();
                    write.write_all(Buffer::from(even.as_slice())).await.unwrap();
                }
            }),
        );
        let (mut read, mut write) = io.net().connect(address).await.unwrap();
        io.spawner().spawn(
            thalweg_io::TaskClass::Throughput,
            "send",
            Box::pin(async move {
                let bytes: Vec<u8> = (0..3000).map(|n| (n % 251) as u8).collect();
                write.write_all(Buffer::from(bytes.as_slice())).await.unwrap();
            }),
        );
        let mut back = vec![];
        loop {
            let bytes = read.read(Buffer::with_capacity(chunk)).await.unwrap();
            if bytes.is_empty() {
                return back;
            }
            back.extend_from_slice(&bytes);
        }
    })
}

#[test]
fn a_stream_delivers_every_byte_in_order_and_ends_when_the_sender_is_dropped() {
    for seed in 0..20 {
        let (_, back) = on_core(seed, WorldConfig::random(seed), move |io| echo(io, 1 + 97 * (seed as usize % 3)));
        let expected: Vec<u8> = (0..3000).filter(|n| n % 2 == 0).map(|n| (n % 251) as u8).collect();
        assert_eq!(back, expected, "seed {seed}");
    }
}

#[test]
fn devices_take_the_same_steps_for_the_same_seed() {
    let run = |seed| {
        let world = World::new(seed, WorldConfig::random(seed));
        let outcome = world.run(|cores| async move {
            cores
                .on_core(|io| {
                    Box::pin(async move {
                        let back = echo(io.clone(), 512).await;
                        let file = io.disk().open(Path::new("f"), OpenMode::CreateNew).await.unwrap();
                        drop(file.write_at(0, Buffer::from(back.as_slice())).await.unwrap());
                        file.sync().await.unwrap();
                    })
                })
                .await;
        });
        world.disk().crash(CrashStyle::Random);
        (outcome.trace_hash, outcome.stats, world.disk().files("/").unwrap())
    };
    for seed in 0..15 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn a_writer_waits_while_nobody_reads_and_fails_when_the_peer_is_gone() {
    let net = NetConfig { buffer_bytes: vec![100], ..WorldConfig::calm().net };
    let (_, kind) = on_core(1, WorldConfig { net, ..WorldConfig::calm() }, |io| {
        Box::pin(async move {
            let listener = io.net().listen(any_port()).await.unwrap();
            let (_read, mut write) = io.net().connect(listener.address()).await.unwrap();
            let (their_read, their_write, _) = listener.accept().await.unwrap();
            let mut writing = write.write_all(Buffer::from(&[1; 101][..]));
            let deadline = sleep_ms(&io, 1_000);
            let mut deadline = std::pin::pin!(deadline);
            std::future::poll_fn(|cx| {
                assert!(writing.as_mut().poll(cx).is_pending());
                deadline.as_mut().poll(cx)
            })
            .await;
            // Nobody notices that one reads no more; a peer that is gone altogether answers what it has not read by a reset.
            drop(their_read);
            poll_once(&mut writing).await;
            drop(their_write);
            writing.await.unwrap_err().kind()
        })
    });
    assert_eq!(kind, ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_to_nobody_or_by_configuration_is_refused() {
    let net = NetConfig { faults: vec![NetFault::at(NetMoment::Connect { nth: 0 }, NetFaultKind::Refuse)], ..WorldConfig::calm().net };
    let (_, kinds) = on_core(1, WorldConfig { net, ..WorldConfig::calm() }, |io| {
        Box::pin(async move {
            let listener = io.net().listen(any_port()).await.unwrap();
            let address = listener.address();
            let configured = io.net().connect(address).await.err().map(|error| error.kind());
            let accepted = io.net().connect(address).await.err().map(|error| error.kind());
            drop(listener);
            let nobody = io.net().connect(address).await.err().map(|error| error.kind());
            [configured, accepted, nobody]
        })
    });
    assert_eq!(kinds, [Some(ErrorKind::ConnectionRefused), None, Some(ErrorKind::ConnectionRefused)]);
}

#[test]
fn a_crash_closes_files_and_takes_what_was_under_way() {
    let mut config = WorldConfig::calm();
    config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 20, early_effect_per_mille: 0, ..config.disk };
    let world = World::new(1, config);
    let disk = world.disk().clone();
    let errors = world
        .run(move |cores| async move {
            let (sender, mut receiver) = mailbox();
            let main: CoreMain = Box::new(move |_, io| {
                Box::pin(async move {
                    let file = io.disk().open(Path::new("f"), OpenMode::CreateNew).await.unwrap();
                    io.disk().sync_dir(Path::new("/")).await.unwrap();
                    let mut write = file.write_at(0, Buffer::from(&b"under way"[..]));
                    poll_once(&mut write).await;
                    sender.send(vec![]).unwrap();
                    let errors = vec![IoError::from(write.await.unwrap_err()).raw_os_error(), file.len().await.unwrap_err().raw_os_error()];
                    sender.send(errors).unwrap();
                })
            });
            cores.start(vec![main]).unwrap().join();
            assert_eq!(receiver.recv().await, Some(vec![]));
            disk.crash(CrashStyle::KeepUnsynced);
            receiver.recv().await
        })
        .expect_done();
    assert_eq!(errors, Some(vec![Some(5), Some(5)]));
    assert_eq!(world.disk().files("/").unwrap(), [("f".to_owned(), vec![])]);
}
