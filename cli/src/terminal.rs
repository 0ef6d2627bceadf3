//! Log lines, on a terminal and elsewhere.
//!
//! On a terminal they share stderr with the progress line: that line is wiped before a log line, and the next tick shows the progress below it.

use std::io::{IsTerminal, Write, stderr};
use tracing_subscriber::EnvFilter;

/// Returns to the beginning of the line, and clears it (ECMA-48: CR, EL).
const WIPE_LINE: &[u8] = b"\r\x1b[K";

/// Starts to log on stderr. `RUST_LOG` has precedence.
pub(super) fn start_logging(quiet: bool) {
    let usual = if quiet { "warn" } else { "warn,thalweg::job=info,thalweg_io::uring::open_files=info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let logging = tracing_subscriber::fmt().with_env_filter(filter);
    // A program that has set up its own logging keeps it.
    drop(if stderr().is_terminal() {
        // The user is watching, so time and target are omitted.
        logging.without_time().with_target(false).with_writer(AboveProgress::default).try_init()
    } else {
        logging.with_writer(stderr).with_ansi(false).try_init()
    });
}

/// Writes log lines over the progress line.
#[derive(Default)]
struct AboveProgress;

impl Write for AboveProgress {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.write_all(line)?;
        Ok(line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> std::io::Result<()> {
        // In one write, so that no other output comes between.
        stderr().write_all(&[WIPE_LINE, line].concat())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        stderr().flush()
    }
}
