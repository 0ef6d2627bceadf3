//! Whether io_uring can be used here, found out before any thread is started.

use crate::StartError;
use io_uring::{IoUring, Probe, opcode};
use std::io;

/// What some cores' rings take where they are charged to the limit on locked memory (Linux before 5.12).
const MEMLOCK_PLENTY_BYTES: u64 = 64 << 20;

/// Where the administrator may have switched io_uring off: 1 for the unprivileged outside a group, 2 for everybody.
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Checks that a ring can be set up and used, and that the kernel knows the youngest operation that is needed.
///
/// The limit on locked memory is not looked at: since Linux 5.12 rings are charged to the memory cgroup, nothing here registers buffers, and where it does
/// matter the kernel says `ENOMEM`.
pub(super) fn check() -> Result<(), StartError> {
    let mut ring = IoUring::new(8).map_err(|error| explain("io_uring_setup", error))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| explain("io_uring_register", error))?;
    if !probe.is_supported(opcode::LinkAt::CODE) {
        let reason = "this kernel's io_uring is too old: it cannot link files".to_owned();
        return Err(StartError::IoUringForbidden { reason, cure: "Linux 5.15 or newer is needed".to_owned() });
    }
    // SAFETY: the operation points at nothing. There is room: the ring is new.
    let _ = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    ring.submit_and_wait(1).map_err(|error| explain("io_uring_enter", error))?;
    Ok(())
}

fn explain(call: &str, error: io::Error) -> StartError {
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
            if let Ok(limit_bytes) = memlock_limit()
                && limit_bytes < MEMLOCK_PLENTY_BYTES
            {
                return StartError::MemlockTooLow { limit_bytes, needed_bytes: MEMLOCK_PLENTY_BYTES };
            }
            "the kernel is out of memory, or the memory cgroup's limit is reached".to_owned()
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => "too many files are open: raise the limit with `ulimit -n`".to_owned(),
        _ => "see io_uring_setup(2) for what this error means".to_owned(),
    };
    StartError::IoUringForbidden { reason: format!("{call}: {error}"), cure }
}

pub(super) fn memlock_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}
