//! `thalweg-bench`: the workloads of `bench/workloads.md`, in the same form as the peers in `bench/peers`.
//!
//! ```text
//! thalweg-bench w=w2 p=2 n=30000000 runs=3 warm=1 dist=1
//! ```
//!
//! Prints one line per run: `RESULT {json}` with events, wall and CPU seconds, peak memory, events/s, events per CPU second, outputs and check values.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures with the real clock")]

mod change;
mod check;
mod event;
mod exchange;
mod latency;
mod measure;
mod open_loop;
mod pressure;
mod stall;
mod table;
mod workloads;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: thalweg-bench w=w1|w2|w3|w6|w8|w8s|table|stall|change|pressure [p=CORES] [n=EVENTS] [runs=3] [warm=1] [warmn=N] [dist=0|1] [keys=1000000] [tag=TEXT] [cp=MS] [cpdir=DIR]
  w     workload: w1 stateless, w2 keyed aggregate, w3 tumbling window, w8 w2 over two processes beside a bare TCP stream, w8s the same
        with strings (see bench/workloads.md)
  w=w6 rate=100000 seconds=60 [cp=] [keys=] [p=] [runs=]: latency of inputs that are due at fixed times, without checkpoints and with them
  w=table: the table of keyed state alone (n, keys), beside that of bench/peers/limit
  w=stall barriers=200 cp=1000 [p=] [keys=] [cpdir=]: how long slices of w2 hold a core, with checkpoints and without
  w=change changes=100000 barriers=300 cp=1000 [p=] [keys=] [dist=] [cpdir=]: how large checkpoints are where so many keys change between two of them
  w=pressure seconds=600: memory of two workers, a line of CSV a second, while a sink takes 100 records a second
  p     cores, and parallelism; default 1
  n     events per run; default 30000000
  runs  measured runs; warm: runs before them; warmn: events of those
  dist  0 uniform, 1 skewed keys
  cp    milliseconds between checkpoints into cpdir; none unless set";

/// `key=value` arguments.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        const KNOWN: [&str; 18] = [
            "changes",
            "barriers",
            "rate",
            "seconds",
            "pressure-worker",
            "worker",
            "cpu",
            "w",
            "p",
            "n",
            "runs",
            "warm",
            "warmn",
            "dist",
            "keys",
            "tag",
            "cp",
            "cpdir",
        ];
        let mut options = BTreeMap::new();
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or_else(|| format!("{argument}: not of the form key=value"))?;
            if !KNOWN.contains(&key) {
                return Err(format!("{key}: no such option"));
            }
            options.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self(options))
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.0.get(key).cloned().unwrap_or_else(|| default.to_owned())
    }

    fn number(&self, key: &str, default: u64) -> Result<u64, String> {
        let Some(text) = self.0.get(key) else { return Ok(default) };
        text.replace('_', "").parse().map_err(|_| format!("{key}={text}: not a number"))
    }
}

fn run() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    if let Some(coordinator) = options.0.get("worker") {
        return exchange::work(coordinator, usize::try_from(options.number("cpu", 0)?).map_err(|e| e.to_string())?);
    }
    if let Some(coordinator) = options.0.get("pressure-worker") {
        return pressure::work(coordinator);
    }
    let name = options.text("w", "");
    if name == "pressure" {
        return pressure::measure(options.number("seconds", 600)?);
    }
    let dir: PathBuf = options.text("cpdir", "bench-checkpoints").into();
    let workload = workloads::by_name(&name);
    let is_exchange = matches!(name.as_str(), "w8" | "w8s");
    if workload.is_none() && !is_exchange && !matches!(name.as_str(), "stall" | "w6" | "change") {
        return Err(format!("w={name}: no such workload"));
    }
    let n = options.number("n", 30_000_000)?;
    let spec = workloads::Spec {
        parallelism: usize::try_from(options.number("p", 1)?).map_err(|e| e.to_string())?.max(1),
        events: n,
        skewed: options.number("dist", 0)? == 1,
        keys: options.number("keys", 1_000_000)?,
        checkpoints: match options.number("cp", 0)? {
            0 => None,
            interval_ms => Some((dir.clone(), Duration::from_millis(interval_ms))),
        },
    };
    if name == "stall" {
        let barriers = i64::try_from(options.number("barriers", 200)?).map_err(|e| e.to_string())?;
        return stall::measure(&spec, barriers, dir, Duration::from_millis(options.number("cp", 1_000)?));
    }
    if name == "change" {
        let (barriers, changes) = (options.number("barriers", 300)?, options.number("changes", 100_000)?);
        return change::measure(&spec, barriers, changes, &dir, Duration::from_millis(options.number("cp", 1_000)?.max(1)));
    }
    if name == "w6" {
        return latency::measure(
            &spec,
            options.number("rate", 100_000)?.max(1),
            options.number("seconds", 60)?,
            options.number("runs", 1)?,
        );
    }
    let (runs, warm, warm_events) = (options.number("runs", 3)?, options.number("warm", 1)?, options.number("warmn", n)?);
    for run in 0..warm + runs {
        let spec = workloads::Spec { events: if run < warm { warm_events } else { n }, ..spec.clone() };
        let Some(workload) = workload else {
            println!("RESULT {}", exchange::measure(&name, &spec)?);
            continue;
        };
        let measured = measure::measure(|| workload(spec.clone()))?;
        let number = run as i64 - warm as i64;
        println!("RESULT {}", measured.json(&name, &options.text("tag", ""), number, &spec));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("thalweg-bench: {reason}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
