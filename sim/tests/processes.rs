//! Several processes in one world: what each loses when it dies, what the others notice, and that nobody tidies up.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use thalweg_io::{
    Buffer, CoreMain, Cores, File, Io, LocalBoxFuture, NetRead, NetWrite, OpenMode, ProbeEvent, Rng, SplitMix, TaskClass, mailbox,
};
use thalweg_sim::{
    CrashStyle, DiskConfig, DiskFault, Ending, HONEST_NET_FAULTS, KillKind, KillPoint, NetFault, Oracle, Origin, ProcessFault,
    REPORTED_FAULTS, SimCluster, SimProcess, Violation, World, WorldConfig, both,
};

const PORT: u16 = 7_000;
const KILL: ProcessFault = ProcessFault::Kill(KillKind::Process);

async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(io.clock().now().after(Duration::from_millis(ms))).await;
}

async fn create(io: &Io, path: &str) -> Rc<dyn File> {
    io.disk().open(Path::new(path), OpenMode::CreateNew).await.unwrap()
}

async fn write_at(file: &dyn File, offset: u64, bytes: &[u8]) {
    drop(file.write_at(offset, Buffer::from(bytes)).await.unwrap());
}

async fn read(from: &mut Box<dyn NetRead>) -> Result<Vec<u8>, ErrorKind> {
    from.read(Buffer::with_capacity(4096)).await.map(|buffer| buffer.to_vec()).map_err(|error| error.kind())
}

async fn write(to: &mut Box<dyn NetWrite>, bytes: &[u8]) -> Result<(), ErrorKind> {
    to.write_all(Buffer::from(bytes)).await.map(drop).map_err(|error| error.kind())
}

fn door(process: &SimProcess) -> SocketAddr {
    (process.address(), PORT).into()
}

/// Runs `body` on a core of `process`, and goes on.
fn start(process: &SimProcess, body: impl FnOnce(Io) -> LocalBoxFuture<()> + Send + 'static) {
    let main: CoreMain = Box::new(move |_, io| body(io));
    process.cores().start(vec![main]).unwrap().join();
}

fn cluster<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    config: WorldConfig,
    main: impl FnOnce(SimCluster) -> F + 'static,
) -> (World, T) {
    let world = World::new(seed, config);
    let result = world.run_cluster(main).expect_done();
    (world, result)
}

fn calm<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(SimCluster) -> F + 'static) -> (World, T) {
    cluster(1, WorldConfig::calm(), main)
}

/// Counts in a file, a number every 10 ms, until it is stopped.
fn counter(io: Io) -> LocalBoxFuture<()> {
    Box::pin(async move {
        let file = create(&io, "count").await;
        for n in 0..u64::MAX {
            write_at(&*file, 0, &n.to_le_bytes()).await;
            sleep_ms(&io, 10).await;
        }
    })
}

fn count(world: &World) -> u64 {
    let (_, bytes) = world.disk().files("/").unwrap().into_iter().find(|(name, _)| name == "count").unwrap();
    u64::from_le_bytes(bytes.try_into().unwrap())
}

#[test]
fn a_killed_process_stops_at_once_and_the_others_go_on() {
    let (world, alive) = calm(|cluster| async move {
        let (one, other) = (cluster.start("one"), cluster.start("other"));
        start(&one, counter);
        let wait = other.on_core(|io| {
            Box::pin(async move {
                sleep_ms(&io, 5_000).await;
                "alive"
            })
        });
        let kill = async {
            cluster.sleep_ms(1_000).await;
            one.kill();
            assert!(!one.is_alive() && other.is_alive());
            assert_eq!(one.on_core(|_| Box::pin(async {})).await, None, "it starts nothing any more");
        };
        let (alive, ()) = both(wait, kill).await;
        assert!((999_000_000..1_002_000_000).contains(&one.died().await.at_ns));
        alive
    });
    assert_eq!(alive, Some("alive"));
    assert!((85..=100).contains(&count(&world)), "{}", count(&world));
    assert_eq!(world.injected().get("process: killed"), Some(&1));
}

/// Does everything that one can do at the door, when it is dropped.
struct Tidy {
    io: Io,
    file: Rc<dyn File>,
    to: Option<Box<dyn NetWrite>>,
}

impl Drop for Tidy {
    fn drop(&mut self) {
        let (disk, io, file) = (self.io.disk(), self.io.clone(), Rc::clone(&self.file));
        let mut to = self.to.take().unwrap();
        let mut work: Vec<LocalBoxFuture<()>> = vec![
            Box::pin(async move { disk.unlink(Path::new("file")).await.unwrap() }),
            Box::pin(async move { write_at(&*file, 0, b"tidied up").await }),
            Box::pin(async move { write(&mut to, b"farewell").await.unwrap() }),
            Box::pin(async move { drop(io.net().listen("0.0.0.0:1".parse().unwrap()).await) }),
        ];
        for _ in 0..50 {
            for future in &mut work {
                assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "a dead process is answered");
            }
        }
        let io = self.io.clone();
        let late = Box::pin(async move { io.observe("late", "", [0; 3]) });
        self.io.spawner().spawn(TaskClass::Latency, "tidy", late);
        self.io.observe("tidied", "up", [0; 3]);
        panic!("and this is nobody's fault");
    }
}

/// Notes the names of all events, and whose they were.
#[derive(Default)]
struct Names(Rc<RefCell<Vec<String>>>);

impl Oracle for Names {
    fn name(&self) -> &str {
        "names"
    }

    fn observe(&mut self, _: u64, _: &ProbeEvent<'_>) -> Result<(), Violation> {
        unreachable!("every process has a name")
    }

    fn observe_in(&mut self, origin: Origin<'_>, _: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        self.0.borrow_mut().push(format!("{}#{}: {}", origin.process, origin.incarnation, event.name));
        Ok(())
    }

    fn at_end(&mut self, _: u64) -> Result<(), Violation> {
        Ok(())
    }
}

#[test]
fn destructors_do_nothing_in_a_killed_process_and_its_peer_hears_what_the_kernel_says() {
    for seed in 0..30 {
        let names = Names::default();
        let seen = Rc::clone(&names.0);
        let world = World::new(seed, WorldConfig::random(seed));
        world.watch(names);
        let outcome = world.run_cluster(|cluster| async move {
            let (peer, dies) = (cluster.start("peer"), cluster.start("dies"));
            let (ready, mut is_ready) = mailbox();
            let address = door(&peer);
            dies.plan(KillPoint::Event { name: "window", nth: 0 }, KILL);
            let listen = peer.on_core(move |io| {
                Box::pin(async move {
                    let listener = io.net().listen(address).await.unwrap();
                    ready.send(()).unwrap();
                    let (mut from, _to, _) = listener.accept().await.unwrap();
                    let mut heard = vec![];
                    loop {
                        let bytes = read(&mut from).await.unwrap();
                        if bytes.is_empty() {
                            return heard;
                        }
                        heard.extend(bytes);
                    }
                })
            });
            let die = async {
                is_ready.recv().await.unwrap();
                let end = dies.on_core(move |io| {
                    Box::pin(async move {
                        let (_from, mut to) = io.net().connect(address).await.unwrap();
                        write(&mut to, b"alive").await.unwrap();
                        let file = create(&io, "file").await;
                        write_at(&*file, 0, b"as it was").await;
                        let _tidy = Tidy { io: io.clone(), file, to: Some(to) };
                        io.observe("window", "", [0; 3]);
                        io.observe("after", "", [0; 3]);
                        std::future::pending::<()>().await;
                    })
                });
                assert_eq!(end.await, None);
                assert_eq!(dies.killed().unwrap().window, Some("window"));
            };
            both(listen, die).await.0.unwrap()
        });
        assert_eq!(outcome.expect_done(), b"alive", "seed {seed}");
        assert_eq!(seen.take(), ["dies#0: window"], "seed {seed}");
        assert_eq!(world.disk().files("/").unwrap(), [("file".to_owned(), b"as it was".to_vec())]);
    }
}

#[test]
fn the_listener_of_a_dead_process_refuses_and_the_next_one_gets_its_port() {
    let (_, found) = calm(|cluster| async move {
        let (server, client) = (cluster.start("server"), cluster.start("client"));
        let address = door(&server);
        let serve = move |io: Io| -> LocalBoxFuture<()> {
            Box::pin(async move {
                let listener = io.net().listen(address).await.unwrap();
                loop {
                    let (_, mut to, _) = listener.accept().await.unwrap();
                    write(&mut to, b"served").await.unwrap();
                }
            })
        };
        let ask = || {
            client.on_core(move |io| {
                Box::pin(async move {
                    match io.net().connect(address).await {
                        Ok((mut from, _to)) => read(&mut from).await,
                        Err(error) => Err(error.kind()),
                    }
                })
            })
        };
        start(&server, serve);
        cluster.sleep_ms(10).await;
        let before = ask().await.unwrap();
        server.kill();
        let dead = ask().await.unwrap();
        let next = server.restart();
        assert_eq!((next.incarnation(), next.address()), (1, server.address()));
        start(&next, serve);
        cluster.sleep_ms(10).await;
        (before, dead, ask().await.unwrap())
    });
    assert_eq!(found, (Ok(b"served".to_vec()), Err(ErrorKind::ConnectionRefused), Ok(b"served".to_vec())));
}

#[test]
fn a_paused_process_keeps_its_connections_and_finds_out_later_that_time_went_on() {
    for seed in 0..10 {
        let mut config = WorldConfig::random(seed);
        (config.net.buffer_bytes, config.net.latency_ms_max, config.net.slow_machine) = (vec![2_000], 3, None);
        config.poll_cost_ns_max = 0;
        let (world, (heard, wrote_ms)) = cluster(seed, config, |cluster| async move {
            let (zombie, peer) = (cluster.start("zombie"), cluster.start("peer"));
            let address = door(&zombie);
            let (ready, mut is_ready) = mailbox();
            let serve = zombie.on_core(move |io| {
                Box::pin(async move {
                    let listener = io.net().listen(address).await.unwrap();
                    ready.send(()).unwrap();
                    let (mut from, _to, _) = listener.accept().await.unwrap();
                    let (mut bytes, start) = (0, io.clock().now());
                    let mut longest_ms = 0;
                    while bytes < 6_000 {
                        let asked = io.clock().now();
                        bytes += read(&mut from).await.unwrap().len();
                        longest_ms = longest_ms.max(io.clock().now().since(asked).as_millis());
                    }
                    (longest_ms, io.clock().now().since(start).as_millis())
                })
            });
            let drive = async {
                is_ready.recv().await.unwrap();
                zombie.pause();
                let talk = peer.on_core(move |io| {
                    Box::pin(async move {
                        // Its kernel accepts.
                        let (_from, mut to) = io.net().connect(address).await.unwrap();
                        let start = io.clock().now();
                        write(&mut to, &[1; 2_000]).await.unwrap();
                        assert!(io.clock().now().since(start).as_millis() < 1_000);
                        write(&mut to, &[1; 4_000]).await.unwrap();
                        io.clock().now().since(start).as_millis()
                    })
                });
                let resume = async {
                    cluster.sleep_ms(30_000).await;
                    assert!(zombie.is_alive());
                    zombie.resume();
                };
                both(talk, resume).await.0.unwrap()
            };
            let (served, wrote_ms) = both(serve, drive).await;
            (served.unwrap(), wrote_ms)
        });
        assert!((29_000..31_000).contains(&wrote_ms), "seed {seed}: {wrote_ms}");
        assert!(heard.0 < 1_000 && heard.1 < 1_000, "seed {seed}: it accepted after it had been resumed: {heard:?}");
        assert_eq!(world.injected()["process: paused"], 1);
    }
}

#[test]
fn a_pause_can_be_planned_and_what_the_disk_was_doing_is_done_meanwhile() {
    let mut config = WorldConfig::calm();
    config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 4, early_effect_per_mille: 0, ..config.disk };
    let (world, found) = cluster(1, config, |cluster| async move {
        let zombie = cluster.start("zombie");
        zombie.plan(KillPoint::Submitted { operation: 1 }, ProcessFault::Pause { ms: 5_000 });
        let (disk, watching) = (cluster.disk(), cluster.clone());
        let work = zombie.on_core(|io| {
            Box::pin(async move {
                let file = create(&io, "file").await;
                let start = io.clock().now();
                write_at(&*file, 0, b"written").await;
                io.clock().now().since(start).as_millis()
            })
        });
        let watch = async move {
            watching.sleep_ms(1_000).await;
            disk.files("/").unwrap()
        };
        both(work, watch).await
    });
    assert!((5_000..5_010).contains(&found.0.unwrap()));
    assert_eq!(found.1, [("file".to_owned(), b"written".to_vec())]);
    assert_eq!(world.disk().operations(), 2);
}

#[test]
fn a_machine_that_loses_power_says_nothing_and_knows_nothing_when_it_is_back() {
    let (_, (silent, refused, answers)) = calm(|cluster| async move {
        let (server, client) = (cluster.start("server"), cluster.start("client"));
        let address = door(&server);
        start(&server, move |io| {
            Box::pin(async move {
                let listener = io.net().listen(address).await.unwrap();
                let (mut from, _to, _) = listener.accept().await.unwrap();
                while let Ok(heard) = read(&mut from).await
                    && !heard.is_empty()
                {}
            })
        });
        cluster.sleep_ms(10).await;
        let (to_host, mut from_client) = mailbox();
        let (to_client, mut go_on) = mailbox::<()>();
        start(&client, move |io| {
            Box::pin(async move {
                let (mut from, mut to) = io.net().connect(address).await.unwrap();
                write(&mut to, b"hello").await.unwrap();
                to_host.send(Err(ErrorKind::Other)).unwrap();
                // The power is off.
                go_on.recv().await.unwrap();
                let mut hearing = Box::pin(read(&mut from));
                let mut waiting = Box::pin(sleep_ms(&io, 600_000));
                std::future::poll_fn(|cx| {
                    assert!(hearing.as_mut().poll(cx).is_pending());
                    waiting.as_mut().poll(cx)
                })
                .await;
                drop(hearing);
                let connected = io.net().connect(address).await.err().map(|error| error.kind());
                to_host.send(write(&mut to, b"is anybody there?").await).unwrap();
                to_host.send(Err(connected.unwrap())).unwrap();
                // It is on again.
                go_on.recv().await.unwrap();
                sleep_ms(&io, 5_000).await;
                let connected = io.net().connect(address).await.err().map(|error| error.kind());
                to_host.send(Err(connected.unwrap())).unwrap();
                to_host.send(read(&mut from).await.map(drop)).unwrap();
                // It was asked before; now it answers.
                let _ = write(&mut to, b"hello?").await;
                sleep_ms(&io, 5_000).await;
                to_host.send(read(&mut from).await.map(drop)).unwrap();
                to_host.send(write(&mut to, b"hello?").await).unwrap();
            })
        });
        from_client.recv().await.unwrap().unwrap_err();
        server.machine().power_loss(CrashStyle::Random);
        assert!(!server.is_alive());
        to_client.send(()).unwrap();
        let silent = [from_client.recv().await.unwrap(), from_client.recv().await.unwrap()];
        let _next = server.restart();
        to_client.send(()).unwrap();
        let refused = from_client.recv().await.unwrap();
        let mut answers = vec![];
        for _ in 0..3 {
            answers.push(from_client.recv().await.unwrap());
        }
        (silent, refused, answers)
    });
    assert_eq!(silent, [Ok(()), Err(ErrorKind::TimedOut)], "what is written waits; who connects waits in vain");
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    assert_eq!(answers, [Err(ErrorKind::ConnectionReset), Ok(()), Err(ErrorKind::BrokenPipe)]);
}

#[test]
fn the_files_of_a_dead_process_are_closed_and_those_of_the_others_stay_open() {
    let (world, found) = calm(|cluster| async move {
        let (one, other) = (cluster.start("one"), cluster.start("other"));
        let hold = |name: &'static str| {
            move |io: Io| -> LocalBoxFuture<()> {
                Box::pin(async move {
                    let file = create(&io, name).await;
                    write_at(&*file, 0, b"seven b").await;
                    io.disk().unlink(Path::new(name)).await.unwrap();
                    let _leaked = std::mem::ManuallyDrop::new(file);
                    sleep_ms(&io, 1_000_000).await;
                })
            }
        };
        start(&one, hold("a"));
        start(&other, hold("b"));
        let disk = cluster.disk();
        cluster.sleep_ms(100).await;
        let before = disk.model().used_bytes();
        one.kill();
        let after = disk.model().used_bytes();
        (before, after)
    });
    assert_eq!(found, (14, 7));
    assert_eq!(world.disk().model().used_bytes(), 0);
}

#[test]
fn what_a_dead_process_had_under_way_is_done_or_not_and_that_of_the_others_is_done() {
    let mut found = BTreeSet::new();
    for seed in 0..60 {
        let mut config = WorldConfig::calm();
        config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 500, early_effect_per_mille: 0, ..config.disk };
        let (world, ()) = cluster(seed, config, |cluster| async move {
            cluster.disk().put("a", "----").unwrap();
            cluster.disk().put("b", "----").unwrap();
            let (one, other) = (cluster.start("one"), cluster.start("other"));
            let put = |name: &'static str| {
                move |io: Io| -> LocalBoxFuture<()> {
                    Box::pin(async move {
                        let file = io.disk().open(Path::new(name), OpenMode::Write).await.unwrap();
                        write_at(&*file, 0, b"NEW!").await;
                    })
                }
            };
            // The second operation of the one is submitted, and that is its end.
            one.plan(KillPoint::Submitted { operation: 1 }, KILL);
            let (dead, done) = both(one.on_core(put("a")), other.on_core(put("b"))).await;
            assert_eq!((dead, done), (None, Some(())));
            assert_eq!(one.killed().unwrap().at_operation, 2);
        });
        let mut files = world.disk().files("/").unwrap().into_iter().map(|(_, content)| String::from_utf8(content).unwrap());
        found.insert(files.next().unwrap());
        assert_eq!(files.next().unwrap(), "NEW!");
    }
    assert!(found.contains("----") && found.contains("NEW!") && found.len() > 2, "{found:?}");
}

#[test]
fn a_loss_of_power_takes_what_that_machine_has_not_synced_and_nothing_of_the_others() {
    let half_synced = |name: &'static str| {
        move |io: Io| -> LocalBoxFuture<()> {
            Box::pin(async move {
                let file = create(&io, name).await;
                write_at(&*file, 0, b"synced ").await;
                file.sync().await.unwrap();
                write_at(&*file, 7, b"unsynced").await;
                sleep_ms(&io, 1_000_000).await;
            })
        }
    };
    let run = |everywhere: bool| {
        calm(move |cluster| async move {
            let (one, other) = (cluster.start("one"), cluster.start("other"));
            // On the same machine as the first, and dead already: its pages were in the same cache.
            let before = one.machine().start("before", 1);
            start(&one, half_synced("one"));
            start(&other, half_synced("other"));
            start(&before, half_synced("before"));
            cluster.sleep_ms(100).await;
            before.kill();
            match everywhere {
                false => one.machine().power_loss(CrashStyle::LoseUnsynced),
                true => {
                    cluster.disk().put("stays", "").unwrap();
                    cluster.power_loss(CrashStyle::LoseUnsynced);
                }
            }
            assert_eq!((one.is_alive(), other.is_alive()), (false, !everywhere));
            let content = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8(bytes).unwrap());
            cluster.disk().files("/").unwrap().into_iter().map(content).collect::<Vec<_>>()
        })
        .1
    };
    let of = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    assert_eq!(run(false), [of("before", "synced "), of("one", "synced "), of("other", "synced unsynced")]);
    assert_eq!(run(true), [of("stays", "")], "names were not synced either");
}

#[test]
fn deaths_are_planned_at_events_operations_and_times_of_the_process_they_are_meant_for() {
    let body = |io: Io| -> LocalBoxFuture<()> {
        Box::pin(async move {
            let file = io.disk().open(Path::new("file"), OpenMode::Write).await.unwrap();
            for n in 0..10 {
                write_at(&*file, 0, b"x").await;
                io.observe("step", "", [n, 0, 0]);
                sleep_ms(&io, 100).await;
            }
        })
    };
    let die = |at: KillPoint, kind: KillKind| {
        calm(move |cluster| async move {
            cluster.disk().put("file", "").unwrap();
            let (one, other) = (cluster.start("one"), cluster.start("other"));
            cluster.sleep_ms(50).await;
            one.plan(at, ProcessFault::Kill(kind));
            let (dead, done) = both(one.on_core(body), other.on_core(body)).await;
            assert_eq!((dead, done), (None, Some(())));
            one.killed().unwrap()
        })
        .1
    };
    let killed = die(KillPoint::Event { name: "step", nth: 3 }, KillKind::Process);
    assert_eq!((killed.at_operation, killed.window, killed.kind), (5, Some("step"), KillKind::Process));
    assert_eq!(die(KillPoint::Submitted { operation: 2 }, KillKind::Process).at_operation, 3);
    let killed = die(KillPoint::Done { operation: 4 }, KillKind::PowerLoss(CrashStyle::Random));
    assert_eq!((killed.at_operation, killed.kind), (5, KillKind::PowerLoss(CrashStyle::Random)));
    let killed = die(KillPoint::Time { ms: 500 }, KillKind::Process);
    assert!((500_000_000..502_000_000).contains(&killed.at_ns));
}

#[test]
fn machines_have_clocks_of_their_own_and_processes_random_streams_by_their_names() {
    let look = |order: [&'static str; 2]| {
        let config = WorldConfig { clocks: WorldConfig::random(11).clocks, ..WorldConfig::calm() };
        cluster(5, config, move |cluster| async move {
            let mut found = vec![];
            for name in order {
                let process = cluster.start(name);
                assert_eq!(process.cores().available(), 2);
                let of_core =
                    |io: Io| -> LocalBoxFuture<(u64, u64)> { Box::pin(async move { (io.clock().now().0, io.rng("numbers").next_u64()) }) };
                let first = process.on_core(of_core).await.unwrap();
                let second = process.on_core(of_core).await.unwrap();
                let restarted = process.restart().on_core(of_core).await.unwrap();
                assert_eq!(first.0 / 1_000_000_000, second.0 / 1_000_000_000);
                assert!(first.1 != second.1 && first.1 != restarted.1 && second.1 != restarted.1);
                found.push((name, first));
            }
            found.sort_unstable();
            found
        })
        .1
    };
    let (one, other) = (look(["a", "b"]), look(["b", "a"]));
    assert_eq!((one[0].1.1, one[1].1.1), (other[0].1.1, other[1].1.1));
    assert_ne!(one[0].1.1, one[1].1.1);
    assert_ne!(one[0].1.0 / 1_000_000_000, one[1].1.0 / 1_000_000_000, "monotonic clocks cannot be compared");
}

#[test]
fn a_panic_in_a_living_process_ends_the_run_and_a_deadlock_is_found() {
    let world = World::new(1, WorldConfig::calm());
    let outcome = world.run_cluster(|cluster| async move {
        let process = cluster.start("one");
        process.on_core::<()>(|_| Box::pin(async move { panic!("oh") })).await
    });
    assert!(matches!(&outcome.ending, Ending::Panicked { task, .. } if task == "one#0/core-0/main"), "{outcome}");
    let outcome = world.run_cluster(|cluster| async move {
        let process = cluster.start("one");
        process.pause();
        process.on_core::<()>(|_| Box::pin(async move {})).await
    });
    assert!(matches!(&outcome.ending, Ending::Deadlock { tasks } if tasks.len() == 2), "{outcome}");
}

/// Connects to all others, sends numbers, counts in files what it hears.
async fn busy(io: Io, own: SocketAddr, others: Vec<SocketAddr>, name: String) {
    let Ok(listener) = io.net().listen(own).await else { return };
    for (n, other) in others.into_iter().enumerate() {
        let (io, talking, name) = (io.clone(), io.clone(), format!("{name}-{n}"));
        let talk = async move {
            let mut rng = talking.rng("talk");
            for round in 0..30 {
                sleep_ms(&talking, 5 + rng.below(20)).await;
                let Ok((mut from, mut to)) = talking.net().connect(other).await else { continue };
                let Ok(file) = talking.disk().open(Path::new(&format!("{name}-{round}")), OpenMode::CreateNew).await else { continue };
                for step in 0..5 {
                    let Ok(()) = write(&mut to, &[round; 200]).await else { break };
                    talking.observe("sent", &name, [step, 0, 0]);
                    let Ok(heard) = read(&mut from).await else { break };
                    drop(file.write_at(0, Buffer::from(heard.as_slice())).await);
                    drop(file.sync().await);
                }
            }
        };
        io.spawner().spawn(TaskClass::Throughput, "talk", Box::pin(talk));
    }
    while let Ok((mut from, mut to, _)) = listener.accept().await {
        let echo = async move {
            while let Ok(heard) = read(&mut from).await
                && !heard.is_empty()
                && write(&mut to, &heard[..1]).await.is_ok()
            {}
        };
        io.spawner().spawn(TaskClass::Throughput, "echo", Box::pin(echo));
    }
}

/// A cluster to which everything happens at once; what is left of it.
fn storm(seed: u64) -> (u64, thalweg_sim::RunStats, u64, thalweg_sim::FaultCounts) {
    let mut config = WorldConfig::random(seed);
    let stream = |name: &str| SplitMix::stream(seed, name);
    let size = 2 + stream("size").below(4) as usize;
    config.net.faults = NetFault::draw(&mut stream("faults/net"), &HONEST_NET_FAULTS, 6, size, 2_000, 200, &[("sent", 30)]);
    config.net.buffer_bytes = vec![64, 65_536];
    config.disk.faults = DiskFault::draw(&mut stream("faults/disk"), &REPORTED_FAULTS, 20, 300);
    let world = World::new(seed, config);
    let outcome = world.run_cluster(move |cluster| async move {
        let mut fate = cluster.rng("fate");
        let names = ["a", "b", "c", "d", "e"];
        let mut processes: Vec<_> = (0..size).map(|n| cluster.start(names[n])).collect();
        let doors: Vec<_> = processes.iter().map(door).collect();
        let go = |process: &SimProcess| {
            let own = door(process);
            let others = doors.iter().copied().filter(|other| *other != own).collect();
            let name = format!("{}-{}", process.name(), process.incarnation());
            start(process, move |io| Box::pin(busy(io, own, others, name)));
        };
        for process in &processes {
            go(process);
            let nth = fate.below(20);
            process.plan(KillPoint::Event { name: "sent", nth }, KILL);
        }
        for _ in 0..12 {
            cluster.sleep_ms(100 + fate.below(200)).await;
            let victim = fate.below(size as u64) as usize;
            match fate.below(5) {
                0 => processes[victim].kill(),
                1 => processes[victim].machine().power_loss(CrashStyle::Random),
                2 => processes[victim].plan(KillPoint::Time { ms: 1 }, ProcessFault::Pause { ms: 50 + fate.below(500) }),
                3 => cluster.power_loss(CrashStyle::Random),
                _ => cluster.network().heal(),
            }
            for process in &mut processes {
                if !process.is_alive() && fate.below(2) == 0 {
                    *process = process.restart();
                    go(process);
                }
            }
        }
    });
    let (hash, stats) = (outcome.trace_hash, outcome.stats);
    outcome.expect_done();
    (hash, stats, world.disk().model().digest(), world.injected())
}

#[test]
fn one_seed_gives_one_history_whatever_happens_to_how_many_processes() {
    let mut hashes = BTreeSet::new();
    let mut seen = thalweg_sim::FaultCounts::new();
    for seed in 0..25 {
        let one = storm(seed);
        assert_eq!(one, storm(seed), "seed {seed}");
        hashes.insert(one.0);
        for (name, count) in one.3 {
            *seen.entry(name).or_default() += count;
        }
    }
    assert_eq!(hashes.len(), 25);
    for name in ["process: killed", "process: killed in a window", "process: power loss", "process: paused", "net: reset", "net: half-open"]
    {
        assert!(seen.contains_key(name), "{name} is not among {seen:?}");
    }
}

#[test]
fn how_a_process_was_left_does_not_outlive_the_run() {
    let world = World::new(1, WorldConfig::calm());
    let outcome = world.run_cluster(|cluster| async move {
        let process = cluster.start("one");
        start(&process, counter);
        cluster.sleep_ms(100).await;
        process.pause();
        process.is_alive()
    });
    assert!(outcome.expect_done());
    // Another run on the same disk, with one process only.
    let files = world
        .run(|cores| async move { cores.on_core(|io| Box::pin(async move { io.disk().list(Path::new("/")).await.unwrap().len() })).await });
    assert_eq!(files.expect_done(), 1);
}
