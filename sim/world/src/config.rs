//! What a world is like: every number that may differ between two runs, and how they are drawn from a seed.
//!
//! Plain data: a configuration can be printed, compared, and changed by hand to narrow a failure down. Drawing it is separate from using it, so a
//! world with a changed configuration differs in nothing else. Faults are listed one by one, each with the number of the operation it hits.

use crate::clock::ClockStep;
use crate::disk::DiskFault;
use crate::net::{MachineKey, NetFault};
use crate::rng::Draw;
use crate::schedule::SchedulePolicy;
use thalweg_io::{Rng, SplitMix};

/// Linux gives a connect up after seven attempts: 1 + 2 + 4 + ... + 64 seconds.
const CONNECT_TIMEOUT_MS: u64 = 127_000;

/// Everything about a world except its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// What `Cores::available` says.
    pub cores_available: usize,
    /// How ready tasks are held back.
    pub schedule: SchedulePolicy,
    /// A poll takes up to this much virtual time, in nanoseconds. Above zero, deadlines pass amid work.
    pub poll_cost_ns_max: u64,
    /// Polls of all tasks without the world coming to rest before the run counts as spinning.
    pub polls_without_rest_max: u64,
    /// Polls of all tasks in the whole run.
    pub polls_max: u64,
    /// Virtual time of the whole run, in milliseconds.
    pub virtual_time_ms_max: u64,
    /// The longest time between the death of an incarnation and the start of the next, in milliseconds.
    pub restart_delay_ms_max: u64,
    /// How many of the last events an outcome shows.
    pub trace_events_kept: usize,
    /// What `Io::spin_limit` says.
    pub spin_limit: u32,
    /// The clocks of the cores of the only process: core `n` has number `n` modulo their count. In a cluster, machine `n` has that number, and all
    /// cores on it.
    pub clocks: Vec<ClockConfig>,
    /// The disk.
    pub disk: DiskConfig,
    /// The network.
    pub net: NetConfig,
}

/// The wall clock of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockConfig {
    /// Wall-clock time at the start of the first run, in milliseconds since 1970.
    pub base_unix_ms: i64,
    /// How far this clock is off, in milliseconds.
    pub offset_ms: i64,
    /// How much too fast it runs, in parts per million; too slow if negative.
    pub drift_ppm: i64,
    /// Its jumps.
    pub steps: Vec<ClockStep>,
}

/// How the disk behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// Of 1000 operations, how many complete without waiting for a timer.
    pub instant_per_mille: u32,
    /// The longest latency of the others, in milliseconds; at least 1.
    pub latency_ms_max: u64,
    /// Of 1000 operations, how many take effect when they are submitted rather than when they complete.
    pub early_effect_per_mille: u32,
    /// Bytes that all files together may have; beyond, writes fail with `StorageFull`.
    pub capacity_bytes: u64,
    /// From this time on there is room, whatever the capacity and the faults: somebody has made some. In milliseconds.
    pub room_from_ms: Option<u64>,
    /// Operations on paths with this part take up to so many milliseconds longer.
    pub slow: Option<(&'static str, u64)>,
    /// Faults, each with the number of the operation that it hits.
    pub faults: Vec<DiskFault>,
}

/// How the network behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Bytes under way that a direction of a connection holds at most; drawn from these for each.
    pub buffer_bytes: Vec<usize>,
    /// The longest latency of a piece of data and of connecting, in milliseconds. Directions with small buffers have none: a byte a millisecond
    /// would tell nothing new.
    pub latency_ms_max: u64,
    /// How latencies are distributed.
    pub latency_shape: LatencyShape,
    /// What comes to this machine or from it takes up to so many milliseconds longer, and at least half of that.
    pub slow_machine: Option<(MachineKey, u64)>,
    /// Of 1000 reads, how many return less than they could.
    pub short_read_per_mille: u32,
    /// Of 1000 writes, how many go out in more pieces than they had to: the peer may see some of them long before the rest.
    pub short_write_per_mille: u32,
    /// How long a connect waits that nobody answers, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Faults of each run.
    pub faults: Vec<NetFault>,
}

/// How latencies up to a maximum are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyShape {
    /// Each is the maximum.
    Constant,
    /// All are as likely.
    Uniform,
    /// Mostly a twentieth at most, now and then all of it.
    LongTail,
}

impl Default for ClockConfig {
    fn default() -> Self {
        // 2023-11-14T22:13:20Z: a round number that no test data has by accident.
        Self { base_unix_ms: 1_700_000_000_000, offset_ms: 0, drift_ppm: 0, steps: vec![] }
    }
}

impl WorldConfig {
    /// A world that does nothing surprising: for tests of something else, and to narrow a failure down from.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            cores_available: 2,
            schedule: SchedulePolicy::Uniform,
            poll_cost_ns_max: 0,
            polls_without_rest_max: 1_000_000,
            polls_max: 20_000_000,
            virtual_time_ms_max: 3_600_000,
            restart_delay_ms_max: 0,
            trace_events_kept: 64,
            spin_limit: 0,
            clocks: vec![ClockConfig::default()],
            disk: DiskConfig {
                instant_per_mille: 1000,
                latency_ms_max: 1,
                early_effect_per_mille: 500,
                capacity_bytes: u64::MAX,
                room_from_ms: None,
                slow: None,
                faults: vec![],
            },
            net: NetConfig {
                buffer_bytes: vec![65_536],
                latency_ms_max: 0,
                latency_shape: LatencyShape::Uniform,
                slow_machine: None,
                short_read_per_mille: 0,
                short_write_per_mille: 0,
                connect_timeout_ms: CONNECT_TIMEOUT_MS,
                faults: vec![],
            },
        }
    }

    /// A world whose every property that a correct program must not depend on is drawn from `seed`. Faults are not among them: a program may
    /// well report an I/O error. Add them to the lists.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let stream = |name: &str| SplitMix::stream(seed, &format!("config/{name}"));
        let mut s = stream("schedule");
        let schedule = match s.between(0, 3) {
            0 => SchedulePolicy::Uniform,
            1 => SchedulePolicy::Postpone { per_mille: s.pick(&[50, 250, 750]) },
            2 => SchedulePolicy::Starve { turns: s.pick(&[5, 50, 500]) },
            _ => SchedulePolicy::Priorities { levels: s.between(2, 6) as u32, change_every_polls: s.pick(&[20, 200, 2000]) },
        };
        let poll_cost_ns_max = s.pick(&[0, 0, 2_000, 40_000, 400_000]);
        let spin_limit = s.pick(&[0, 0, 1, 8]);
        let restart_delay_ms_max = stream("restart").pick(&[0, 20, 1_000, 600_000]);
        let cores_available = stream("cores").between(1, 4) as usize;
        let mut c = stream("clock");
        let clocks = (0..cores_available).map(|_| ClockConfig::random(&mut c)).collect();
        let (disk, net) = (DiskConfig::random(&mut stream("disk")), NetConfig::random(&mut stream("net")));
        Self { cores_available, schedule, poll_cost_ns_max, restart_delay_ms_max, spin_limit, clocks, disk, net, ..Self::calm() }
    }
}

impl ClockConfig {
    fn random(stream: &mut SplitMix) -> Self {
        let within = |stream: &mut SplitMix, bound: u64| stream.between(0, 2 * bound) as i64 - bound as i64;
        let offset_ms = if stream.chance(500) { within(stream, 60_000) } else { 0 };
        let drift_ppm = if stream.chance(500) { within(stream, 1_000) } else { 0 };
        let count = stream.pick(&[0, 0, 1, 3]);
        let mut steps: Vec<_> = (0..count).map(|_| ClockStep { at_ms: stream.between(0, 10_000), by_ms: within(stream, 5_000) }).collect();
        steps.sort_by_key(|step| step.at_ms);
        Self { offset_ms, drift_ppm, steps, ..Self::default() }
    }
}

impl DiskConfig {
    fn random(stream: &mut SplitMix) -> Self {
        Self {
            instant_per_mille: stream.pick(&[0, 500, 900, 1000]),
            latency_ms_max: stream.pick(&[1, 3, 20, 200]),
            early_effect_per_mille: stream.pick(&[0, 500, 1000]),
            capacity_bytes: u64::MAX,
            room_from_ms: None,
            slow: None,
            faults: vec![],
        }
    }
}

impl NetConfig {
    fn random(stream: &mut SplitMix) -> Self {
        Self {
            buffer_bytes: stream.pick::<&[usize]>(&[&[65_536], &[1_460, 65_536], &[1, 7, 64, 65_536], &[1, 2, 3]]).to_vec(),
            latency_ms_max: stream.pick(&[0, 1, 10, 100]),
            short_read_per_mille: stream.pick(&[0, 100, 900]),
            latency_shape: stream.pick(&[LatencyShape::Constant, LatencyShape::Uniform, LatencyShape::LongTail]),
            short_write_per_mille: stream.pick(&[0, 0, 100, 900]),
            slow_machine: stream.chance(250).then(|| (stream.below(4) as MachineKey, stream.pick(&[20, 200]))),
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            faults: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_configuration_and_seeds_differ() {
        assert_eq!(WorldConfig::random(5), WorldConfig::random(5));
        let distinct = (0..20).filter(|&seed| WorldConfig::random(seed) != WorldConfig::random(seed + 1)).count();
        assert!(distinct >= 19);
    }
}
