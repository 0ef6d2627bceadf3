//! Strangers who call as fast as they can, at the data port of a worker and at the port of the coordinator, in a cluster without a secret whose processes may
//! have 1024 descriptors open: the job goes on as if they were not there, and they cost neither descriptors nor memory nor lines of the log.
//!
//! `cargo test` runs a short form. `scripts/flood` runs a long one and shows the numbers; `THALWEG_FLOOD_SECONDS` says how long.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes, in real time")]

mod flights_job;
mod processes;
mod shown;

use processes::{Process, coordinator, free_address, in_place_of, newest_checkpoint, signal, wait_until, worker};
use shown::{CHECKPOINTS, undisturbed};
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Descriptors that a process may have open.
const LIMIT: usize = 1024;

/// What a caller of a process without a secret says first, for `purpose` (1 reports to a coordinator, 2 sends frames), and how long the answer is.
fn greeting(purpose: u8) -> Vec<u8> {
    [&b"THALWEG>"[..], &[1, 0, purpose, 0, 0, 0, 0, 0], &[7; 32]].concat()
}
const ANSWER_BYTES: usize = 48;

/// An opening frame of the first attempt of a job that nobody has heard of (docs/src/formats.md#frames).
fn opening(job: u64) -> Vec<u8> {
    let owner = job;
    let places = [1u32, 0, 0, 0].map(u32::to_le_bytes).concat();
    let payload = [&job.to_le_bytes()[..], &owner.to_le_bytes(), &places].concat();
    let mut header = [&b"TWF1"[..], &[1, 0, 1, 0], &1u64.to_le_bytes(), &[0; 48]].concat();
    header[48..52].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[52..56].copy_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    let checksum = crc32fast::hash(&header[..60]);
    header[60..64].copy_from_slice(&checksum.to_le_bytes());
    [header, payload].concat()
}

/// Connections that a stranger keeps who does not hang up.
const STAYING: usize = 400;

/// Between two calls of a stranger: it is no test of who gets the CPU.
const PAUSE: Duration = Duration::from_millis(1);

/// Calls, and says `words` after the greeting. Whatever goes wrong is the caller's own affair.
fn call(at: SocketAddr, purpose: u8, words: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    stream.write_all(&greeting(purpose))?;
    stream.read_exact(&mut [0; ANSWER_BYTES])?;
    stream.write_all(words)?;
    Ok(stream)
}

/// What a process has: descriptors, memory in KiB, lines of its log.
#[derive(Clone, Copy, Debug)]
struct Cost {
    descriptors: usize,
    memory_kib: usize,
    log_lines: usize,
}

fn cost(process: &Process) -> Cost {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Cost {
        descriptors: fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count(),
        memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
        log_lines: process.log().lines().count(),
    }
}

/// `command` with few descriptors.
fn limited(command: &Command) -> Command {
    let mut by = Command::new("sh");
    by.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"")]).arg(command.get_program()).args(command.get_args());
    in_place_of(command, by)
}

#[test]
fn strangers_cost_nothing_however_many_call_and_whether_they_hang_up_or_stay() {
    let seconds: Option<u64> = std::env::var("THALWEG_FLOOD_SECONDS").ok().map(|seconds| seconds.parse().unwrap());
    let time = Duration::from_secs(seconds.unwrap_or(2));
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let (at, data) = (free_address(), free_address());
    // Slow enough to last for as long as anybody looks.
    let rate = (10_000 / (10 + time.as_secs())).to_string();
    let options = ["--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", "100ms"];
    let options =
        [&options[..], &["--rate", &rate, "--parallelism", "2", "--restart-strategy", "fixed-delay", "--restart-delay", "10ms"]].concat();
    let mut head = Process::start(limited(&coordinator(dir.path(), at, &options)), dir.path(), "coordinator");
    let start = |name: &str| {
        let data = if name == "worker-1" { data.to_string() } else { "127.0.0.1:0".to_owned() };
        Process::start(limited(&worker(dir.path(), name, at, &["--data", &data])), dir.path(), name)
    };
    let mut workers = ["worker-1", "worker-2"].map(start);
    let newest = || newest_checkpoint(&dir.path().join(CHECKPOINTS)).unwrap_or_default();
    let checkpoints = || newest().0;
    wait_until("there is a checkpoint", || {
        assert!(head.ended().is_none(), "{}", head.log());
        checkpoints() > 0
    });
    let paced = |time: Duration| {
        let before = checkpoints();
        std::thread::sleep(time);
        checkpoints() - before
    };
    let undisturbed_pace = paced(Duration::from_secs(2)) as f64 / 2.0;
    let before = [cost(&head), cost(&workers[0])];

    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    // Each comes to a thousand calls a second at most; whoever asks for a flood gets more than five thousand.
    let crowd = if seconds.is_some() { 2 } else { 1 };
    let kinds = [(data, 2, 0), (at, 1, 0), (data, 2, STAYING / crowd), (at, 1, STAYING / crowd)].repeat(crowd);
    let strangers: Vec<_> = kinds
        .into_iter()
        .map(|(address, purpose, stay)| {
            let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
            std::thread::spawn(move || {
                let mut staying = VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    let number = calls.fetch_add(1, Ordering::Relaxed);
                    let words = if purpose == 2 { opening(number as u64) } else { vec![number as u8; 64] };
                    staying.extend(call(address, purpose, &words));
                    staying.drain(..staying.len().saturating_sub(stay));
                    std::thread::sleep(PAUSE);
                }
            })
        })
        .collect();
    let (begun, (first, attempt)) = (Instant::now(), newest());
    let mut most = before;
    while begun.elapsed() < time {
        std::thread::sleep(Duration::from_millis(100));
        for (most, now) in most.iter_mut().zip([cost(&head), cost(&workers[0])]) {
            let (descriptors, memory_kib) = (most.descriptors.max(now.descriptors), most.memory_kib.max(now.memory_kib));
            *most = Cost { descriptors, memory_kib, log_lines: now.log_lines };
        }
        assert!(head.ended().is_none(), "{}", head.log());
    }
    let pace = (checkpoints() - first) as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(newest().1, attempt, "the job was not restarted: {}", head.log());
    let calls_meanwhile = calls.load(Ordering::Relaxed);
    // Also an attempt that begins meanwhile comes about.
    workers[1] = start("worker-2");
    wait_until("the job goes on", || newest().1 > attempt);
    over.store(true, Ordering::Relaxed);
    strangers.into_iter().for_each(|stranger| stranger.join().unwrap());
    let calls = calls_meanwhile;
    println!("{calls} calls in {time:?}; checkpoints a second: {undisturbed_pace:.1} before, {pace:.1} meanwhile");
    for (who, before, most) in [("coordinator", before[0], most[0]), ("worker", before[1], most[1])] {
        println!("{who}: before {before:?}, at most {most:?}");
        // Of a few thousand a second: no more than stand at the door at a time.
        assert!(most.descriptors < before.descriptors + 200, "{most:?}");
        assert!(most.memory_kib < before.memory_kib + (64 << 10), "{most:?}");
        assert!(most.log_lines < before.log_lines + 40, "{}", if who == "worker" { workers[0].log() } else { head.log() });
    }
    assert!(calls > 1000 && pace > undisturbed_pace / 4.0, "{calls} calls, {pace} checkpoints a second");
    signal(head.id(), "TERM");
    assert_eq!(head.code(), 0, "{}", head.log());
}
