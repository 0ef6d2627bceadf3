//! How much CPU time this thread has used: the one thing about the real world that the seed runner measures.

/// CPU time of the calling thread in microseconds; 0 where the system does not tell.
#[allow(clippy::disallowed_methods, reason = "the system is asked what the simulation itself costs")]
#[must_use]
pub fn thread_us() -> u64 {
    // The first of three numbers: nanoseconds on a CPU. See proc(5).
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let on_cpu_ns = read.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    on_cpu_ns.unwrap_or(0) / 1000
}
