//! The identity of this process, from Linux.

use crate::{ProcessIdentity, UnixMillis};
use std::fs::read_to_string;
use std::time::SystemTime;

/// The place of the start time in `/proc/self/stat`, counted after the name of the program (proc(5): field 22 of all).
const START_TIME_FIELD: usize = 19;

/// The identity of this process.
pub(crate) fn this_process() -> ProcessIdentity {
    let host = read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "an unnamed host" } else { host.trim() };
    ProcessIdentity { host: host.to_owned(), pid: std::process::id(), started: started().unwrap_or_else(now) }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The start of the process: ticks since the machine's boot, and the time of the boot.
fn started() -> Option<UnixMillis> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses and may itself contain parentheses and spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: i64 = fields.split_whitespace().nth(START_TIME_FIELD)?.parse().ok()?;
    let booted = read_to_string("/proc/stat").ok()?;
    let booted_s: i64 = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // SAFETY: the call takes no pointers.
    let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let since_boot_ms = ticks.checked_mul(1000)?.checked_div(ticks_per_s)?;
    Some(UnixMillis(booted_s.checked_mul(1000)?.checked_add(since_boot_ms)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_begun_on_this_host_not_long_ago() {
        let this = this_process();
        assert_eq!(this.pid, std::process::id());
        assert!(!this.host.is_empty() && !this.host.contains('\n'), "{this:?}");
        let age_ms = now().0 - this.started.0;
        // The kernel counts ticks, and reports the boot in whole seconds.
        assert!((-2_000..3_600_000).contains(&age_ms), "{age_ms} ms");
    }
}
