//! The flights example as a process of its own, command line and all. Its code is part of the test's binary, which starts itself again: so it is never an
//! older build that is tested, whichever way the tests are started.

#[path = "../../examples/flights.rs"]
pub mod example;

use std::path::Path;
use std::process::Command;
use thalweg::StreamExecutionEnvironment;
use thalweg::cli;

/// Carries the command line past the test harness, which has one of its own.
const COMMAND_LINE: &str = "THALWEG_TEST_FLIGHTS";
const SEPARATOR: &str = "\n";

/// `flights <arguments>` in the working directory `dir`.
pub fn flights(dir: &Path, arguments: &[&str]) -> Command {
    in_test("flights_job::the_process", dir, arguments)
}

/// The same where the test of this name calls [`become_the_process`].
pub fn in_test(name: &str, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let command_line = [&["flights"], arguments].concat().join(SEPARATOR);
    command.args([name, "--exact", "--nocapture"]).env(COMMAND_LINE, command_line).env_remove("RUST_LOG").current_dir(dir);
    command
}

/// In a process that was started for it, runs the job that `build` makes, and ends. Returns at once in any other.
pub fn become_the_process(build: impl Fn(&StreamExecutionEnvironment, &example::FlightsArgs) + Send + 'static) {
    if let Ok(command_line) = std::env::var(COMMAND_LINE) {
        let code = cli::run_from::<example::FlightsArgs, _>(command_line.split(SEPARATOR), example::ABOUT, build);
        std::process::exit(i32::from(code));
    }
}

/// No test: what [`flights`] runs.
#[test]
fn the_process() {
    become_the_process(example::build);
}
