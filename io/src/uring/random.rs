//! The root of a process's random streams: sixty-four bits from the kernel.

use std::io;

/// A seed that nobody can predict.
pub(crate) fn root_seed() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    loop {
        // SAFETY: the pointer and the length are those of a live array that the call fills in.
        let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if filled == bytes.len() as isize {
            return Ok(u64::from_ne_bytes(bytes));
        }
        let error = io::Error::last_os_error();
        // Up to 256 bytes arrive whole or not at all, so the rest is a signal before the pool was ready, or a kernel without the call.
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
