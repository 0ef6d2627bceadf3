//! Two machines, the second connected to the first, in a world that is calm but for what a test plans.

use crate::talk::{door, read, sleep_ms};
use std::io::ErrorKind;
use thalweg_io::{Io, LocalBoxFuture, MonotonicNs, NetRead, NetWrite, mailbox};
use thalweg_sim::{FaultCounts, NetConfig, NetFault, NetFaultKind, NetMoment, SimProcess, World, WorldConfig, both};

/// The two halves of a connection.
pub type Stream = (Box<dyn NetRead>, Box<dyn NetWrite>);

/// How long it is since `start`, by the clock of the process.
pub fn ms_since(io: &Io, start: MonotonicNs) -> u64 {
    io.clock().now().since(start).as_millis() as u64
}

/// Reads to the end or to an error; what came, and the error.
pub async fn read_all(from: &mut Box<dyn NetRead>) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = vec![];
    loop {
        match read(from).await {
            Ok(more) if more.is_empty() => return (bytes, None),
            Ok(more) => bytes.extend(more),
            Err(kind) => return (bytes, Some(kind)),
        }
    }
}

/// What `future` gives within so many milliseconds.
pub async fn within<T>(io: &Io, ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut alarm) = (std::pin::pin!(future), std::pin::pin!(sleep_ms(io, ms)));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Lets `called` have a connection that `caller` has opened to it.
pub async fn connection<A: Send + 'static, B: Send + 'static>(
    called: &SimProcess,
    caller: &SimProcess,
    there: impl FnOnce(Io, Stream) -> LocalBoxFuture<A> + Send + 'static,
    here: impl FnOnce(Io, Stream) -> LocalBoxFuture<B> + Send + 'static,
) -> (A, B) {
    let (ready, mut is_ready) = mailbox();
    let address = door(called);
    let accepts = called.on_core(move |io| {
        Box::pin(async move {
            let listener = io.net().listen(address).await.unwrap();
            ready.send(()).unwrap();
            let (read, write, _) = listener.accept().await.unwrap();
            there(io, (read, write)).await
        })
    });
    let calls = async {
        is_ready.recv().await.unwrap();
        caller
            .on_core(move |io| {
                Box::pin(async move {
                    let stream = io.net().connect(address).await.unwrap();
                    here(io, stream).await
                })
            })
            .await
    };
    let (a, b) = both(accepts, calls).await;
    (a.unwrap(), b.unwrap())
}

/// Two machines, the second connected to the first.
pub fn duo<A: Send + 'static, B: Send + 'static>(
    seed: u64,
    change: impl FnOnce(&mut NetConfig),
    there: impl FnOnce(Io, Stream) -> LocalBoxFuture<A> + Send + 'static,
    here: impl FnOnce(Io, Stream) -> LocalBoxFuture<B> + Send + 'static,
) -> (World, (A, B)) {
    let mut config = WorldConfig::calm();
    change(&mut config.net);
    let world = World::new(seed, config);
    let outcome = world.run_cluster(|cluster| async move {
        let (called, caller) = (cluster.start("called"), cluster.start("caller"));
        connection(&called, &caller, there, here).await
    });
    (world, outcome.expect_done())
}

/// What was done to the network, by name.
pub fn injected(world: &World) -> FaultCounts {
    world.injected().into_iter().filter(|(name, _)| name.starts_with("net:")).collect()
}

/// Strikes a write, when `nth` have gone unharmed.
pub fn at_write(nth: u64, kind: NetFaultKind) -> NetFault {
    NetFault::at(NetMoment::Write { nth }, kind)
}

/// Strikes after so much virtual time.
pub fn at_ms(ms: u64, kind: NetFaultKind) -> NetFault {
    NetFault::at(NetMoment::Time { ms }, kind)
}
