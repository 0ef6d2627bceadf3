//! The end of a process for which there is no memory left.

use std::fmt;
use std::io::Write;

/// Says on stderr what needs the memory and ends the process at once, as the allocator does for want of it, but with a reason. Takes no memory itself, so it
/// says it past the log.
pub fn out_of_memory(reason: fmt::Arguments<'_>) -> ! {
    // Nobody may be listening any more.
    let _ = writeln!(std::io::stderr(), "error: out of memory: {reason}");
    std::process::abort()
}
