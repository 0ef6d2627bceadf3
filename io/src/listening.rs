//! Starting to listen at an address.
//!
//! The socket of a process that was killed can outlive it by some seconds, while the kernel tears down its io_uring. A process that is restarted at once
//! finds the address in use, and waits: it is free in a moment, unless another process has it.

use crate::{Io, IoError, Listener, MonotonicNs};
use core::net::SocketAddr;
use std::io::ErrorKind;
use std::time::Duration;

/// How long to keep trying an address in use.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at `address`, once it is free.
///
/// # Errors
/// If it is not free within five seconds, or cannot be listened at.
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
