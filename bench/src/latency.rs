//! W6: how late an output is, where inputs come at times that were fixed beforehand and do not wait for the engine.
//!
//! Input `i` is due at `i / rate` seconds; its latency is the time from then until the running count of its key reaches the sink. So a pause counts for all
//! that was due meanwhile. The source emits what is due, at once, however much that is, and sleeps until the next.
//!
//! Prints a line without checkpoints and, if there are to be some, one with them, `runs` times in turn.

use crate::event::bid;
use crate::open_loop::{OpenLoop, Timetable};
use crate::workloads::{Spec, start};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thalweg::connectors::GeneratorSource;
use thalweg::{Durations, JobHandle, Record, StreamExecutionEnvironment};

/// The job has begun by then.
const HEAD_START: Duration = Duration::from_secs(1);

/// An input, by its number, and the running count of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Record)]
struct Due {
    number: u64,
    key: u64,
    count: u64,
}

/// The latencies that one subtask of the sink sees; added to all when it ends. A clone starts from nothing.
struct Latencies {
    all: Arc<Mutex<Durations>>,
    own: Durations,
}

impl Clone for Latencies {
    fn clone(&self) -> Self {
        Self { all: Arc::clone(&self.all), own: Durations::default() }
    }
}

impl Drop for Latencies {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).add(&self.own);
    }
}

/// Runs without checkpoints and with those of `spec`, `runs` times in turn, each for `seconds`.
pub fn measure(spec: &Spec, per_second: u64, seconds: u64, runs: u64) -> Result<(), String> {
    let spec = Spec { events: per_second * seconds, ..spec.clone() };
    let without = Spec { checkpoints: None, ..spec.clone() };
    let kinds = [Some(without), spec.checkpoints.is_some().then_some(spec)];
    for run in 0..runs {
        for spec in kinds.iter().flatten() {
            println!("RESULT {}", run_once(spec, per_second, run)?);
        }
    }
    Ok(())
}

fn run_once(spec: &Spec, per_second: u64, run: u64) -> Result<String, String> {
    let all = Arc::new(Mutex::new(Durations::default()));
    let timetable = Timetable { begin: Instant::now() + HEAD_START, at_once: 0, per_second };
    let mut latencies = Latencies { all: Arc::clone(&all), own: Durations::default() };
    let env = StreamExecutionEnvironment::new();
    let Spec { events, skewed, keys, .. } = *spec;
    let generator = GeneratorSource::new(events, move |number| Due { number, key: bid(number, skewed, keys).auction, count: 1 });
    env.source(OpenLoop { timetable, generator })
        .key_by::<u64>(|due| due.key)
        .reduce(|so_far, latest| Due { number: latest.number, key: latest.key, count: so_far.count + latest.count })
        .for_each(move |due| latencies.own.record(Instant::now().saturating_duration_since(timetable.due(due.number))));
    let report = start(env, "latency", spec).and_then(JobHandle::wait).map_err(|error| error.to_string())?;
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let [median, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| ms(all.quantile(q)));
    Ok(format!(
        "{{\"peer\":\"thalweg\",\"w\":\"w6\",\"p\":{},\"run\":{run},\"keys\":{},\"rate\":{per_second},\"events\":{},\"checkpoints\":{},\
         \"p50_ms\":{median:.3},\"p99_ms\":{p99:.3},\"p99.9_ms\":{p999:.3},\"p99.99_ms\":{p9999:.3},\"max_ms\":{:.3}}}",
        spec.parallelism,
        spec.keys,
        all.count(),
        report.checkpoints,
        ms(all.max()),
    ))
}
