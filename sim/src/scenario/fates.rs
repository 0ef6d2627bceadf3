//! Draws the faults of a cluster's processes and of the network between them until the world heals.
//!
//! Three quarters of the faults aimed at a process strike in a window of the protocol.

use super::cluster_plan::{Aim, Blow, Role, Whom};
use thalweg_io::{Rng, SplitMix};
use thalweg_world::CrashStyle;
use thalweg_world::Draw;
use thalweg_world::{HONEST_NET_FAULTS, NetFault, NetFaultKind, NetMoment};
use thalweg_world::{KillKind, KillPoint, ProcessFault};

/// Windows of the protocol in a coordinator, each with a bound on how many of its occurrences are skipped.
const COORDINATOR_WINDOWS: [(&str, u64); 12] = [
    ("checkpoint.trigger", 5),
    ("checkpoint.collected", 5),
    ("checkpoint.complete", 5),
    ("checkpoint.commit", 5),
    ("checkpoint.committed", 5),
    ("attempt.begin", 2),
    ("attempt.recovered", 2),
    ("attempt.close", 2),
    ("job.restart", 2),
    ("worker.join", 4),
    ("worker.gone", 2),
    ("worker.lost", 2),
];

/// Windows of the protocol in a worker.
const WORKER_WINDOWS: [(&str, u64); 9] = [
    ("checkpoint.barrier", 6),
    ("checkpoint.snapshot", 16),
    ("checkpoint.acknowledge", 16),
    ("sink.prepared", 12),
    ("link.barrier.out", 16),
    ("link.barrier.in", 16),
    ("worker.deploy", 2),
    ("worker.joined", 2),
    ("worker.closed", 2),
];

/// Draws faults of single processes, or of several at once.
pub(super) struct Fates {
    /// The number of workers.
    pub(super) workers: usize,
    /// The silence after which a process counts as dead, in milliseconds.
    pub(super) heartbeat_timeout_ms: u64,
}

impl Fates {
    /// A fault of a process at a point of its own.
    pub(super) fn aim(&self, stream: &mut SplitMix) -> Aim {
        let role = self.role(stream);
        let (name, times) = match role {
            Role::Coordinator => stream.pick(&COORDINATOR_WINDOWS),
            Role::Worker(_) => stream.pick(&WORKER_WINDOWS),
        };
        let magnitude = stream.between(2, 7);
        let at = match stream.below(4) {
            0 => KillPoint::Submitted { operation: stream.below(1 << magnitude) },
            _ => KillPoint::Event { name, nth: stream.below(times) >> stream.between(0, 3) },
        };
        Aim { role, at, fault: self.fault(stream) }
    }

    /// Stops a worker that has not called the others yet, and calls them when they have gone on without it.
    pub(super) fn late_deployment(&self, stream: &mut SplitMix) -> Aim {
        let timeout_ms = self.heartbeat_timeout_ms;
        let ms = stream.between(2 * timeout_ms, 8 * timeout_ms);
        let at = KillPoint::Event { name: "worker.deploy", nth: stream.below(2) };
        Aim { role: self.worker(stream), at, fault: ProcessFault::Pause { ms } }
    }

    /// A fault of several processes at the same time, before `horizon_ms`.
    pub(super) fn blow(&self, stream: &mut SplitMix, horizon_ms: u64) -> Blow {
        let at_ms = stream.between(1, horizon_ms);
        let workers = || (0..self.workers).map(Role::Worker);
        let whom = match stream.below(10) {
            0..=3 => Whom::Processes(vec![self.role(stream)], self.fault(stream)),
            4 | 5 => Whom::Processes(vec![self.role(stream), self.role(stream)], self.fault(stream)),
            6 => Whom::Processes(workers().collect(), self.fault(stream)),
            7 | 8 => Whom::Processes(std::iter::once(Role::Coordinator).chain(workers()).collect(), self.fault(stream)),
            _ => Whom::Everything(stream.pick(&[CrashStyle::LoseUnsynced, CrashStyle::Random, CrashStyle::Random])),
        };
        Blow { at_ms, whom }
    }

    fn role(&self, stream: &mut SplitMix) -> Role {
        if stream.chance(350) { Role::Coordinator } else { self.worker(stream) }
    }

    fn worker(&self, stream: &mut SplitMix) -> Role {
        Role::Worker(stream.below(self.workers as u64) as usize)
    }

    fn fault(&self, stream: &mut SplitMix) -> ProcessFault {
        match stream.below(10) {
            0..=4 => ProcessFault::Kill(KillKind::Process),
            5 => ProcessFault::Kill(KillKind::PowerLoss(CrashStyle::LoseUnsynced)),
            6 => ProcessFault::Kill(KillKind::PowerLoss(CrashStyle::Random)),
            // Mostly longer than the heartbeat timeout.
            _ => ProcessFault::Pause { ms: stream.between(self.heartbeat_timeout_ms / 2, 5 * self.heartbeat_timeout_ms) },
        }
    }
}

/// Faults of a network of `machines` machines before `horizon_ms`. A few plans flip bits, and do nothing else.
pub(super) fn net_faults(stream: &mut SplitMix, machines: usize, horizon_ms: u64) -> Vec<NetFault> {
    let flips_bits = stream.chance(60);
    let count = if flips_bits { stream.between(1, 20) } else { stream.between(1, 6) };
    let menu = if flips_bits { vec![NetFaultKind::BitFlip] } else { HONEST_NET_FAULTS.to_vec() };
    let events: Vec<_> = COORDINATOR_WINDOWS.into_iter().chain(WORKER_WINDOWS).collect();
    let mut faults = NetFault::draw(stream, &menu, count, machines, horizon_ms, 600, &events);
    // Most jobs take far less than a minute.
    for fault in &mut faults {
        if let NetMoment::Event { nth, .. } = &mut fault.at {
            *nth >>= stream.between(0, 3);
        }
    }
    faults
}
