//! The limit on the files and sockets that this process may have open.
//!
//! The usual soft limit of 1024 is a default for programs that know no better; the hard limit is what the administrator really means. So the soft limit is
//! raised to the hard limit before the first core starts, once per process, and the outcome is logged. A part of it is kept from incoming connections: see
//! [`leave_room`].

use std::io;
use std::os::fd::RawFd;
use std::sync::Once;

/// With fewer than this a job with many files or workers reaches its limit.
const FEW: u64 = 1024;

/// Incoming connections may take all descriptors but one in this many.
const KEPT_SHARE: u64 = 4;

/// The current limit, and the maximum to which this process may raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// The limit from the system.
pub(super) fn limit() -> io::Result<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Raises the limit as far as this process may, and logs the outcome, at its first call.
pub(super) fn raise_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| match try_raise() {
        Ok((before, now)) if now < FEW => {
            tracing::warn!(
                limit = now,
                before,
                "few files and connections may be open at a time: raise the hard limit (`ulimit -Hn`, LimitNOFILE= in systemd)"
            );
        }
        Ok((before, now)) if before < now => tracing::info!(limit = now, before, "the limit on open files was raised to its hard limit"),
        Ok((_, now)) => tracing::debug!(limit = now, "the limit on open files is its hard limit"),
        Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
    });
}

/// Raises the limit. Returns the limit before and afterwards.
fn try_raise() -> io::Result<(u64, u64)> {
    let Limit { soft, hard } = limit()?;
    if soft < hard {
        let raised = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: the pointer is to a live rlimit that the call reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((soft, limit()?.soft))
}

/// Checks whether a connection just accepted may stay. The kernel assigns the lowest free number, so the number tells how many are in use.
pub(super) fn leave_room(accepted: RawFd) -> io::Result<()> {
    let soft = limit()?.soft;
    let most = soft - soft / KEPT_SHARE;
    if u64::try_from(accepted).is_ok_and(|number| number < most) {
        return Ok(());
    }
    let reason =
        format!("{most} of the {soft} files that may be open are, and the others are kept for what is not a call: raise `ulimit -n`");
    Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason))
}
