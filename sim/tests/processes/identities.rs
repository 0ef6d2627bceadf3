//! What is a process's own: clock, random streams, cores.

use crate::setup::cluster;
use thalweg_io::{Cores, Io, LocalBoxFuture};
use thalweg_sim::WorldConfig;

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
