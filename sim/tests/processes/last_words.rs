//! What a killed process says to the world while it is dropped, which is nothing, and what the kernel of its machine says instead.

use crate::setup::{KILL, calm, create, start, write_at};
use crate::talk::{door, read, write};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Waker};
use thalweg_io::{File, Io, LocalBoxFuture, NetWrite, ProbeEvent, TaskClass, mailbox};
use thalweg_sim::{KillPoint, Oracle, Origin, Violation, World, WorldConfig, both};

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
