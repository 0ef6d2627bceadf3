//! A coordinator and its workers as processes of their own, each the flights example with its command line.

#![allow(dead_code, reason = "each test takes what it needs")]

use crate::flights_job::flights;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// An address of this machine that nobody listens at.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until `holds`, and looks every millisecond.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never comes about that {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends the signal of this name.
pub fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
}

/// A process that is killed when the test is done with it. What it says goes to files.
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`; what it says is kept in `dir` under `name`.
    pub fn start(mut command: Command, dir: &Path, name: &str) -> Self {
        let (stdout, stderr) = (dir.join(format!("{name}.stdout")), dir.join(format!("{name}.stderr")));
        let [out, err] = [&stdout, &stderr].map(|path| fs::File::create(path).unwrap());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        Self { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end: its exit code.
    #[track_caller]
    pub fn code(&mut self) -> i32 {
        wait_until("a process ends", || self.ended().is_some());
        self.ended().unwrap().code().expect("nobody has killed it")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `flights coordinator` at `listen` in `dir`.
pub fn coordinator(dir: &Path, listen: SocketAddr, arguments: &[&str]) -> Command {
    flights(dir, &[&["coordinator", "--listen", &listen.to_string(), "--workers", "2"], arguments].concat())
}

/// `flights worker` of the coordinator at `address`, in the folder of this name in `dir`: it is not the coordinator's.
pub fn worker(dir: &Path, name: &str, address: SocketAddr, arguments: &[&str]) -> Command {
    let own = dir.join(name);
    fs::create_dir_all(&own).unwrap();
    flights(&own, &[&["worker", "--coordinator", &address.to_string(), "--cores", "1"], arguments].concat())
}

/// `by`, which is to do what `usual` does in the same place: its environment and its folder.
pub fn in_place_of(usual: &Command, mut by: Command) -> Command {
    by.current_dir(usual.get_current_dir().unwrap());
    for (name, value) in usual.get_envs() {
        if let Some(value) = value {
            by.env(name, value);
        }
    }
    by
}

/// The number of the newest checkpoint that is complete, and its attempt.
pub fn newest_checkpoint(folder: &Path) -> Option<(u64, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (checkpoint, attempt) = name.strip_prefix("chk-")?.strip_suffix(".metadata")?.split_once('-')?;
        Some((checkpoint.parse().ok()?, attempt.parse().ok()?))
    });
    numbers.max()
}
