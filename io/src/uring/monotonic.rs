//! Monotonic time, from the kernel.

use crate::MonotonicNs;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now() -> MonotonicNs {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the call fills in. It cannot fail: the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    MonotonicNs(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
