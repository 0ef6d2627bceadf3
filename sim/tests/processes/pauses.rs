//! Processes that stop for a while and go on: zombies, to the others.

use crate::setup::{cluster, create, write_at};
use crate::talk::{door, read, write};
use thalweg_io::mailbox;
use thalweg_sim::{DiskConfig, KillPoint, ProcessFault, WorldConfig, both};

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
