//! `thalweg-bench`: the workloads of `bench/workloads.md`, in the same form as the peers in `bench/peers`.
//!
//! ```text
//! thalweg-bench w=w2 p=2 n=30000000 runs=3 warm=1 dist=1
//! ```
//!
//! Prints one line a run: `RESULT {json}` with events, wall and CPU seconds, peak memory, events/s, events per CPU second, outputs and check values.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures with the real clock")]

mod check;
mod event;
mod measure;
mod workloads;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: thalweg-bench w=w1|w2|w3 [p=CORES] [n=EVENTS] [runs=3] [warm=1] [warmn=N] [dist=0|1] [keys=1000000] [tag=TEXT] [cp=MS] [cpdir=DIR]
  w     workload: w1 stateless, w2 keyed aggregate, w3 tumbling window (see bench/workloads.md)
  p     cores, and parallelism; default 1
  n     events a run; default 30000000
  runs  measured runs; warm: runs before them; warmn: events of those
  dist  0 uniform, 1 skewed keys
  cp    milliseconds between checkpoints into cpdir; none unless set";

/// `key=value` arguments.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        const KNOWN: [&str; 11] = ["w", "p", "n", "runs", "warm", "warmn", "dist", "keys", "tag", "cp", "cpdir"];
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
    let name = options.text("w", "");
    let workload = workloads::by_name(&name).ok_or_else(|| format!("w={name}: no such workload"))?;
    let n = options.number("n", 30_000_000)?;
    let spec = workloads::Spec {
        parallelism: usize::try_from(options.number("p", 1)?).map_err(|e| e.to_string())?.max(1),
        events: n,
        skewed: options.number("dist", 0)? == 1,
        keys: options.number("keys", 1_000_000)?,
        checkpoints: match options.number("cp", 0)? {
            0 => None,
            interval_ms => Some((options.text("cpdir", "bench-checkpoints").into(), Duration::from_millis(interval_ms))),
        },
    };
    let (runs, warm, warm_events) = (options.number("runs", 3)?, options.number("warm", 1)?, options.number("warmn", n)?);
    for run in 0..warm + runs {
        let spec = workloads::Spec { events: if run < warm { warm_events } else { n }, ..spec.clone() };
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
