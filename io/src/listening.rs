//! Beginning to listen at an address.
//!
//! The socket of a process that was killed can outlive it by some seconds, while the kernel takes its io_uring apart. Whoever is started again at once finds
//! the address taken, and waits: it is free in a moment, unless somebody else has it.

use crate::{Io, IoError, Listener, MonotonicNs};
use core::net::SocketAddr;
use std::io::ErrorKind;
use std::time::Duration;

/// How long an address that is taken is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at `address`, when it has become free.
///
/// # Errors
/// If it has not within five seconds, or cannot be listened at.
pub async fn listen(io: &Io, address: SocketAddr) -> Result<Box<dyn Listener>, IoError> {
    let until: MonotonicNs = io.clock().now().after(PATIENCE);
    let mut is_said = false;
    loop {
        match io.net().listen(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && io.clock().now() < until => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::info!(target: "thalweg::job", %address, "the address is taken; trying again for {PATIENCE:?}");
                }
                io.clock().sleep_until(io.clock().now().after(PAUSE)).await;
            }
            ended => return ended,
        }
    }
}
