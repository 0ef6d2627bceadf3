//! Whether io_uring can be used here, found out before glommio does: it panics where this says what to do.

use crate::StartError;
use io_uring::IoUring;
use std::io;

/// glommio refuses to start with less, whoever the user is.
const MEMLOCK_NEEDED_BYTES: u64 = 512 * 1024;

/// Where the administrator may have switched io_uring off: 1 for the unprivileged outside a group, 2 for everybody.
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Checks the limit on locked memory and that a ring can be set up.
///
/// The rings themselves have been charged to the memory cgroup and not to the limit since Linux 5.12, and the 64 KiB that glommio registers three
/// times per core are a matter of speed only (it goes on without), so the limit need not grow with the number of cores.
pub(super) fn check() -> Result<(), StartError> {
    let limit_bytes = memlock_limit().map_err(|error| StartError::Other { core: 0, reason: error.to_string() })?;
    if limit_bytes < MEMLOCK_NEEDED_BYTES {
        return Err(StartError::MemlockTooLow { limit_bytes, needed_bytes: MEMLOCK_NEEDED_BYTES });
    }
    match IoUring::new(8) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(error, limit_bytes)),
    }
}

fn explain(error: io::Error, limit_bytes: u64) -> StartError {
    let switch = std::fs::read_to_string(SWITCH).ok();
    let cure = match (error.raw_os_error(), switch.as_deref().map(str::trim)) {
        (Some(libc::EPERM), Some("1" | "2")) => {
            "allow it with `sysctl kernel.io_uring_disabled=0`, or ask whoever runs this machine to".to_owned()
        }
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) => {
            "a container or service policy forbids it: run docker or podman with `--security-opt seccomp=unconfined` (or a seccomp profile that \
             allows io_uring_setup, io_uring_enter and io_uring_register); without a container, Linux 5.15 or newer is needed"
                .to_owned()
        }
        // Before Linux 5.12 the rings are charged to the limit on locked memory.
        (Some(libc::ENOMEM), _) => {
            return StartError::MemlockTooLow { limit_bytes, needed_bytes: limit_bytes.saturating_mul(2).max(8 << 20) };
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => "too many files are open: raise the limit with `ulimit -n`".to_owned(),
        _ => "see io_uring_setup(2) for what this error means".to_owned(),
    };
    StartError::IoUringForbidden { reason: format!("io_uring_setup: {error}"), cure }
}

fn memlock_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}
