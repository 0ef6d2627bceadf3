//! A process is called, reads and writes, and waits: what the tests of the network and of processes have in common.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use thalweg_io::{Buffer, Io, IoError, Listener, NetRead, NetWrite, TaskClass};
use thalweg_sim::SimProcess;

const PORT: u16 = 7_000;

/// Where a process listens.
pub fn door(process: &SimProcess) -> SocketAddr {
    (process.address(), PORT).into()
}

/// Lets so much time pass on the clock of the process.
pub async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(io.clock().now().after(Duration::from_millis(ms))).await;
}

/// Writes all of it.
pub async fn write(write: &mut Box<dyn NetWrite>, bytes: &[u8]) -> Result<(), ErrorKind> {
    write.write_all(Buffer::from(bytes)).await.map(drop).map_err(|error| error.kind())
}

/// What one read gives.
pub async fn read(read: &mut Box<dyn NetRead>) -> Result<Vec<u8>, ErrorKind> {
    let buffer = read.read(Buffer::with_capacity(4096)).await.map_err(|error: IoError| error.kind())?;
    Ok(buffer.to_vec())
}

/// Answers each connection of `listener`, as long as there is one, with the first byte of all that comes at once.
pub async fn answer_everybody(io: &Io, listener: Box<dyn Listener>) {
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
