//! Faults of the network: what can happen, when and between whom, and how faults are drawn.
//!
//! A fault is a numbered event in a schedule, as those of the disk are: plain data that can be printed, dropped or aimed by hand. It strikes once, at
//! its moment; what it needs to draw beyond that comes from streams of their own, so that taking one out moves none of the others.
//!
//! Machines have numbers in the order in which they were added, from 0; machine `n` has the address `10.0.0.(n + 1)`.

use super::MachineKey;
use crate::disk::FaultCounts;
use crate::rng::Draw;
use thalweg_io::Rng;

/// A fault of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetFault {
    /// When it strikes.
    pub at: NetMoment,
    /// Between whom.
    pub between: Between,
    /// What happens.
    pub kind: NetFaultKind,
}

/// When a fault strikes. Everything is counted from 0, from the start of the run or from when the fault was planned, if that was later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetMoment {
    /// After so much virtual time since the start of the run.
    Time {
        /// How much, in milliseconds.
        ms: u64,
    },
    /// At a call of `connect` from the one side to the other.
    Connect {
        /// How many go unharmed before it.
        nth: u64,
    },
    /// At a write from the one side to the other.
    Write {
        /// How many go unharmed before it.
        nth: u64,
    },
    /// When some process observes an event: what happens, happens to the connections of that process.
    Event {
        /// Its name.
        name: &'static str,
        /// How many of that name came before it, in all processes.
        nth: u64,
    },
}

/// Two sides of the network, each one machine or, with `None`, any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// The one who calls or writes.
    pub from: Option<MachineKey>,
    /// The other.
    pub to: Option<MachineKey>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetFaultKind {
    /// The connection is reset for both ends, each as soon as it hears of it; of a write that is struck, some of the bytes may arrive before. At a
    /// time or an event: all connections between the two sides.
    Reset,
    /// The connection is forgotten by everything between its ends: nothing arrives any more, and nobody is told. Connections as above.
    HalfOpen,
    /// A connect is refused.
    Refuse,
    /// A connect hangs until its own timeout.
    Hang,
    /// What the connection carries, from now on and what is under way, arrives so much later. A later connection is not held up, and its bytes arrive
    /// before those of the old one.
    Delay {
        /// How much later, in milliseconds.
        ms: u64,
    },
    /// One bit of a write is flipped, and TCP's checksum does not notice.
    BitFlip,
    /// Nothing gets from the one side to the other for a while, nor back.
    Partition {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The same in one direction only.
    OneWay {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The machines of the one side (all, if it is any) are cut off one after the other, and let back in another order.
    Swizzle {
        /// How long all of it takes, in milliseconds.
        ms: u64,
    },
}

/// Kinds that TCP hides or reports: nothing that it promises is broken.
pub const HONEST_NET_FAULTS: [NetFaultKind; 14] = [
    NetFaultKind::Reset,
    NetFaultKind::Reset,
    NetFaultKind::HalfOpen,
    NetFaultKind::Refuse,
    NetFaultKind::Hang,
    NetFaultKind::Delay { ms: 20 },
    NetFaultKind::Delay { ms: 1_000 },
    NetFaultKind::Delay { ms: 20_000 },
    NetFaultKind::Partition { ms: 200 },
    NetFaultKind::Partition { ms: 5_000 },
    NetFaultKind::Partition { ms: 60_000 },
    NetFaultKind::OneWay { ms: 1_000 },
    NetFaultKind::OneWay { ms: 10_000 },
    NetFaultKind::Swizzle { ms: 10_000 },
];

impl Between {
    /// Any two machines.
    pub const ANY: Self = Self { from: None, to: None };

    /// From one machine to another.
    #[must_use]
    pub fn machines(from: MachineKey, to: MachineKey) -> Self {
        Self { from: Some(from), to: Some(to) }
    }

    /// Between one machine and all others.
    #[must_use]
    pub fn around(machine: MachineKey) -> Self {
        Self { from: Some(machine), to: None }
    }

    /// Whether this direction is meant.
    pub(super) fn is_meant(&self, from: MachineKey, to: MachineKey) -> bool {
        self.from.is_none_or(|meant| meant == from) && self.to.is_none_or(|meant| meant == to)
    }
}

impl NetFault {
    /// Something that happens at a moment, whoever is concerned.
    #[must_use]
    pub fn at(at: NetMoment, kind: NetFaultKind) -> Self {
        Self { at, between: Between::ANY, kind }
    }

    /// The same between two sides.
    #[must_use]
    pub fn between(self, between: Between) -> Self {
        Self { between, ..self }
    }

    /// Draws `count` faults of the kinds in `menu` among so many `machines`, in runs of about so many milliseconds and writes. `events` are names worth
    /// aiming at, each with how often it is seen.
    #[must_use]
    pub fn draw(
        stream: &mut dyn Rng,
        menu: &[NetFaultKind],
        count: u64,
        machines: usize,
        ms: u64,
        writes: u64,
        events: &[(&'static str, u64)],
    ) -> Vec<Self> {
        let mut draw_one = |_| {
            let kind = stream.pick(menu);
            // Early ones are more likely to be reached.
            let early = |stream: &mut dyn Rng, most: u64| {
                let magnitude = stream.between(0, u64::from(most.max(1).ilog2()));
                stream.between(0, (1 << magnitude).min(most))
            };
            let one = stream.below(machines.max(1) as u64) as MachineKey;
            let other = (one + 1 + stream.below(machines.saturating_sub(1).max(1) as u64) as MachineKey) % machines.max(1);
            let between = match stream.below(4) {
                0 => Between::ANY,
                1 => Between::around(one),
                _ => Between::machines(one, other),
            };
            let at = match kind {
                NetFaultKind::Refuse | NetFaultKind::Hang => NetMoment::Connect { nth: early(stream, 2 * machines as u64) },
                // Handshakes are early, and frames are not.
                NetFaultKind::BitFlip if stream.chance(700) => NetMoment::Write { nth: stream.between(0, writes) },
                NetFaultKind::BitFlip => NetMoment::Write { nth: early(stream, writes) },
                _ if !events.is_empty() && stream.chance(400) => {
                    let (name, times) = stream.pick(events);
                    NetMoment::Event { name, nth: stream.below(times.max(1)) }
                }
                _ if stream.chance(500) => NetMoment::Write { nth: early(stream, writes) },
                _ => NetMoment::Time { ms: stream.between(0, ms) },
            };
            // All machines from each other is more than a partition.
            let is_cut = matches!(kind, NetFaultKind::Partition { .. } | NetFaultKind::OneWay { .. });
            let between = if is_cut && between == Between::ANY { Between::around(one) } else { between };
            Self { at, between, kind }
        };
        (0..count).map(&mut draw_one).collect()
    }
}

impl NetFaultKind {
    /// What it is counted as.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reset => "net: reset",
            Self::HalfOpen => "net: half-open",
            Self::Refuse => "net: connect refused",
            Self::Hang => "net: connect hangs",
            Self::Delay { .. } => "net: delay",
            Self::BitFlip => "net: bit flipped",
            Self::Partition { .. } => "net: partition",
            Self::OneWay { .. } => "net: one-way partition",
            Self::Swizzle { .. } => "net: swizzle",
        }
    }

    /// Whether it cuts links, whatever connections there are.
    pub(super) fn cuts_links(self) -> bool {
        matches!(self, Self::Partition { .. } | Self::OneWay { .. } | Self::Swizzle { .. })
    }
}

/// A call that faults may strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    Connect,
    Write,
    Event(&'a str),
}

/// The faults of a network that wait for a call, and how far each has come.
pub(super) struct NetSchedule {
    faults: Vec<(NetFault, u64)>,
    injected: FaultCounts,
    total: u64,
}

impl NetSchedule {
    pub(super) fn new() -> Self {
        Self { faults: vec![], injected: FaultCounts::new(), total: 0 }
    }

    /// Adds a fault that counts from now on.
    pub(super) fn add(&mut self, fault: NetFault) {
        self.faults.push((fault, 0));
    }

    /// Drops all faults.
    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    /// What strikes at a call, in the order of the schedule. For an event, `from` and `to` do not matter.
    pub(super) fn strike(&mut self, call: Call<'_>, from: MachineKey, to: MachineKey) -> Vec<NetFault> {
        let mut struck = vec![];
        for (fault, seen) in &mut self.faults {
            let nth = match (fault.at, call) {
                (NetMoment::Connect { nth }, Call::Connect) | (NetMoment::Write { nth }, Call::Write)
                    if fault.between.is_meant(from, to) =>
                {
                    nth
                }
                (NetMoment::Event { name, nth }, Call::Event(event)) if name == event => nth,
                _ => continue,
            };
            if *seen == nth {
                struck.push(*fault);
            }
            *seen += 1;
        }
        struck
    }

    /// Counts something that was injected.
    pub(super) fn count(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
        self.total += 1;
    }

    /// Counts something that is no fault, but worth having seen.
    pub(super) fn tally(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(super) fn injected(&self) -> &FaultCounts {
        &self.injected
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_io::SplitMix;

    #[test]
    fn a_fault_counts_only_the_calls_it_is_meant_for() {
        let mut schedule = NetSchedule::new();
        schedule.add(NetFault::at(NetMoment::Write { nth: 1 }, NetFaultKind::Reset).between(Between::machines(0, 1)));
        let calls = [(Call::Write, 0, 1), (Call::Write, 1, 0), (Call::Connect, 0, 1), (Call::Write, 0, 1), (Call::Write, 0, 1)];
        let struck: Vec<_> = calls.into_iter().map(|(call, from, to)| schedule.strike(call, from, to).len()).collect();
        assert_eq!(struck, [0, 0, 0, 1, 0]);
    }

    #[test]
    fn one_seed_draws_one_schedule_of_what_is_on_the_menu() {
        let draw = |seed| NetFault::draw(&mut SplitMix::new(seed), &HONEST_NET_FAULTS, 40, 3, 1_000, 100, &[("x", 4)]);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let is_possible = |fault: &NetFault| match fault.kind {
            NetFaultKind::Refuse | NetFaultKind::Hang => matches!(fault.at, NetMoment::Connect { .. }),
            kind => HONEST_NET_FAULTS.contains(&kind),
        };
        assert!(draw(1).iter().all(is_possible));
    }
}
