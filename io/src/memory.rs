//! Ending a process that has run out of memory.

use std::fmt;
use std::io::Write;

/// Prints to stderr who needs the memory and ends the process at once, as the allocator does when it has none, but with a reason. Allocates nothing itself,
/// so it bypasses the log.
pub fn out_of_memory(reason: fmt::Arguments<'_>) -> ! {
    // stderr may be closed.
    let _ = writeln!(std::io::stderr(), "error: out of memory: {reason}");
    std::process::abort()
}
