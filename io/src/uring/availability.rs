//! Checks whether io_uring can be used here, before any thread is started.

use super::raw::{IN_FLIGHT_MAX, SUBMISSION_ENTRIES};
use crate::StartError;
use io_uring::{IoUring, Probe, opcode};
use std::io;

/// The number of operations that fit into the ring of [`check`].
const PROBE_ENTRIES: u32 = 8;

/// The switch by which the administrator may have disabled io_uring: 1 for unprivileged users outside a group, 2 for everybody.
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Checks that a ring can be set up and used, and that the kernel supports the newest operation that is needed.
///
/// The limit on locked memory is not checked: not every kernel charges rings to it, this backend registers no buffers, and where the limit does matter the
/// kernel says `ENOMEM`. `cores` is the number of cores about to be started.
pub(super) fn check(cores: usize) -> Result<(), StartError> {
    let explain = |call: &str, error: io::Error| explain(call, error, cores);
    let mut ring = IoUring::new(PROBE_ENTRIES).map_err(|error| explain("io_uring_setup", error))?;
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

/// The error for a core, one of `cores`, whose ring could not be set up.
pub(super) fn no_ring(error: io::Error, cores: usize) -> StartError {
    explain("io_uring_setup", error, cores)
}

/// The limit on locked memory, if it explains why the rings of this many cores cannot be created.
fn memlock_too_low(error: &io::Error, cores: usize) -> Option<StartError> {
    let needed_bytes = memlock_bytes(cores);
    let limit_bytes = memlock_limit().ok()?;
    let explains = error.raw_os_error() == Some(libc::ENOMEM) && limit_bytes < needed_bytes;
    explains.then_some(StartError::MemlockTooLow { limit_bytes, needed_bytes })
}

/// Whether the Linux of this release charges rings to the limit on locked memory; `true` if the release cannot be parsed.
pub(super) fn charges_rings(release: &str) -> bool {
    /// From the first version on rings were charged to the memory cgroup alone, and from the second on to the limit again.
    const NOT_FROM: (u32, u32) = (5, 12);
    const AGAIN_FROM: (u32, u32) = (6, 14);
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => !(NOT_FROM..AGAIN_FROM).contains(&(major, minor)),
        _ => true,
    }
}

/// The memory that is charged for the rings of `cores` cores, [where rings are charged](charges_rings), in bytes; includes the ring of [`check`], which the
/// kernel frees a little after it was closed.
pub(super) fn memlock_bytes(cores: usize) -> u64 {
    /// `struct io_rings` without its entries, and the sizes of an entry of the completion queue, of the submission queue, and of its index.
    const HEADER_BYTES: u64 = 320;
    const COMPLETION_BYTES: u64 = 16;
    const SUBMISSION_BYTES: u64 = 64;
    const INDEX_BYTES: u64 = 4;
    let page_bytes = page_bytes();
    let ring = |submissions: u32, completions: u32| {
        let (submissions, completions) = (u64::from(submissions), u64::from(completions));
        let rings_bytes = HEADER_BYTES + completions * COMPLETION_BYTES + submissions * INDEX_BYTES;
        rings_bytes.next_multiple_of(page_bytes) + (submissions * SUBMISSION_BYTES).next_multiple_of(page_bytes)
    };
    cores as u64 * ring(SUBMISSION_ENTRIES, IN_FLIGHT_MAX) + ring(PROBE_ENTRIES, 2 * PROBE_ENTRIES)
}

fn page_bytes() -> u64 {
    // SAFETY: the call takes no pointers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

fn explain(call: &str, error: io::Error, cores: usize) -> StartError {
    if let Some(too_low) = memlock_too_low(&error, cores) {
        return too_low;
    }
    let switch = std::fs::read_to_string(SWITCH).ok();
    let reason = format!("{call}: {error}");
    let cure = match (error.raw_os_error(), switch.as_deref().map(str::trim)) {
        (Some(libc::EPERM), Some("1" | "2")) => {
            let cure = "allow it with `sysctl kernel.io_uring_disabled=0`, or ask whoever runs this machine to".to_owned();
            return StartError::IoUringForbidden { reason, cure };
        }
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) => {
            let cure = "a container or service policy forbids it: run docker or podman with `--security-opt seccomp=unconfined` (or a seccomp \
                        profile that allows io_uring_setup, io_uring_enter and io_uring_register); without a container, Linux 5.15 or newer \
                        is needed"
                .to_owned();
            return StartError::IoUringForbidden { reason, cure };
        }
        (Some(libc::ENOMEM), _) => {
            "the kernel is out of memory, the memory cgroup's limit is reached, or other processes of this user use up the limit \
                                     on locked memory (`ulimit -l`)"
                .to_owned()
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => "too many files are open: raise the limit with `ulimit -n`".to_owned(),
        _ => "see io_uring_setup(2) for what this error means".to_owned(),
    };
    StartError::NoRing { reason, cure }
}

pub(super) fn memlock_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_is_forbidden_is_told_from_one_that_cannot_be_had_for_now() {
        for error in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
            let error = explain("io_uring_setup", io::Error::from_raw_os_error(error), 1);
            assert!(matches!(error, StartError::IoUringForbidden { .. }), "{error}");
        }
        for error in [libc::EMFILE, libc::ENFILE, libc::EAGAIN] {
            let error = explain("io_uring_setup", io::Error::from_raw_os_error(error), 1);
            assert!(matches!(error, StartError::NoRing { .. }), "{error}");
        }
    }

    #[test]
    fn rings_are_charged_before_5_12_and_from_6_14_on() {
        for release in ["5.4.0-150-generic", "5.11", "6.14.0-rc1", "6.18.44", "7.0.1", "of no kind", ""] {
            assert!(charges_rings(release), "{release}");
        }
        for release in ["5.12.0", "5.15.0-91-generic", "6.1.0-13-amd64", "6.8", "6.13.7"] {
            assert!(!charges_rings(release), "{release}");
        }
    }
}
