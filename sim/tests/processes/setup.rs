//! Clusters to test with, and what their processes do with files.

use crate::talk::sleep_ms;
use std::path::Path;
use std::rc::Rc;
use thalweg_io::{Buffer, CoreMain, Cores, File, Io, LocalBoxFuture, OpenMode};
use thalweg_sim::{KillKind, ProcessFault, SimCluster, SimProcess, World, WorldConfig};

/// What happens to most.
pub const KILL: ProcessFault = ProcessFault::Kill(KillKind::Process);

/// Creates a file that is new.
pub async fn create(io: &Io, path: &str) -> Rc<dyn File> {
    io.disk().open(Path::new(path), OpenMode::CreateNew).await.unwrap()
}

/// Writes all of it.
pub async fn write_at(file: &dyn File, offset: u64, bytes: &[u8]) {
    drop(file.write_at(offset, Buffer::from(bytes)).await.unwrap());
}

/// Runs `body` on a core of `process`, and goes on.
pub fn start(process: &SimProcess, body: impl FnOnce(Io) -> LocalBoxFuture<()> + Send + 'static) {
    let main: CoreMain = Box::new(move |_, io| body(io));
    process.cores().start(vec![main]).unwrap().join();
}

/// A run of several processes; what `main` gives.
pub fn cluster<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    config: WorldConfig,
    main: impl FnOnce(SimCluster) -> F + 'static,
) -> (World, T) {
    let world = World::new(seed, config);
    let result = world.run_cluster(main).expect_done();
    (world, result)
}

/// The same, where nothing happens that is not asked for.
pub fn calm<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(SimCluster) -> F + 'static) -> (World, T) {
    cluster(1, WorldConfig::calm(), main)
}

/// Counts in a file, a number every 10 ms, until it is stopped.
pub fn counter(io: Io) -> LocalBoxFuture<()> {
    Box::pin(async move {
        let file = create(&io, "count").await;
        for n in 0..u64::MAX {
            write_at(&*file, 0, &n.to_le_bytes()).await;
            sleep_ms(&io, 10).await;
        }
    })
}

/// How far the counter has come.
pub fn count(world: &World) -> u64 {
    let (_, bytes) = world.disk().files("/").unwrap().into_iter().find(|(name, _)| name == "count").unwrap();
    u64::from_le_bytes(bytes.try_into().unwrap())
}
