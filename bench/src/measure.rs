//! Wall and CPU time, and peak memory, of one run.

use crate::check::Totals;
use crate::workloads::Spec;
use std::sync::Arc;
use std::time::Instant;

/// What a run took and gave.
pub struct Measured {
    wall_s: f64,
    cpu_s: f64,
    rss_mb: u64,
    outputs: u64,
    a: u64,
    f: u64,
}

fn cpu_seconds() -> f64 {
    cpu_seconds_of(libc::RUSAGE_SELF)
}

/// CPU time of the child processes that have ended.
pub fn children_cpu_seconds() -> f64 {
    cpu_seconds_of(libc::RUSAGE_CHILDREN)
}

/// CPU time of this process from some moment on.
pub struct Usage {
    before: f64,
}

impl Usage {
    /// From now on.
    pub fn now() -> Self {
        Self { before: cpu_seconds() }
    }

    /// So far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds() - self.before
    }
}

/// Keeps this thread on a CPU, if there is such a one.
pub fn pin_to(cpu: usize) {
    // SAFETY: an all-zero cpu_set_t is the empty set, CPU_SET writes within it for numbers below CPU_SETSIZE, and the kernel reads as much as it is told.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu % libc::CPU_SETSIZE as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

fn cpu_seconds_of(who: libc::c_int) -> f64 {
    // SAFETY: rusage is plain numbers, for which zero is a value, and getrusage writes to the one it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Runs `job` and measures it, its set-up and tear-down included.
pub fn measure(job: impl FnOnce() -> Result<Arc<Totals>, String>) -> Result<Measured, String> {
    // Resets the peak; not permitted everywhere, and then the peak is that of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let totals = job()?;
    let (wall_s, cpu_s) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let (outputs, a, f) = totals.get();
    Ok(Measured { wall_s, cpu_s, rss_mb: peak_rss_mb(), outputs, a, f })
}

impl Measured {
    /// The line that the peers print, too.
    pub fn json(&self, workload: &str, tag: &str, run: i64, spec: &Spec) -> String {
        let Self { wall_s, cpu_s, rss_mb, outputs, a, f } = self;
        let (events, p, dist) = (spec.events, spec.parallelism, u8::from(spec.skewed));
        let (per_second, per_cpu_second) = (events as f64 / wall_s, events as f64 / cpu_s);
        format!(
            "{{\"peer\":\"thalweg\",\"tag\":\"{tag}\",\"w\":\"{workload}\",\"p\":{p},\"dist\":{dist},\"run\":{run},\"n\":{events},\
             \"wall_s\":{wall_s:.3},\"cpu_s\":{cpu_s:.3},\"rss_mb\":{rss_mb},\"evps\":{per_second:.0},\"ev_per_cpu_s\":{per_cpu_second:.0},\
             \"out\":{outputs},\"a\":\"{a:016x}\",\"f\":\"{f:016x}\"}}"
        )
    }
}
