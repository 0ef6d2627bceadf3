//! How the faults of a network come about: at a call, at an event, at a time.

use super::connection::Side;
use super::faults::Call;
use super::links::Link;
use super::{Between, ConnectionKey, MachineKey, NetFault, NetFaultKind, NetMoment, Network, ProcessKey, State};
use crate::clock::sleep_until;
use crate::process::Process;
use crate::tasks::NO_CORE;
use std::collections::BTreeSet;
use std::rc::Rc;
use thalweg_io::Rng;

/// Whom a fault concerns.
#[derive(Clone, Copy)]
enum Scope {
    /// One connection.
    Connection(ConnectionKey),
    /// Those of a process.
    Process(ProcessKey, MachineKey),
    /// All that are meant.
    All,
}

/// What strikes a call of `connect`.
#[derive(Default)]
pub(super) struct ConnectBlow {
    pub(super) is_refused: bool,
    pub(super) hangs: bool,
    pub(super) is_reset: bool,
    pub(super) is_lost: bool,
    pub(super) delay_ns: u64,
}

/// What strikes a write and is carried out by the writer.
#[derive(Default)]
pub(super) struct WriteBlow {
    /// Which bit is flipped.
    pub(super) flip: Option<usize>,
    /// How many bytes are written before the connection is reset.
    pub(super) reset_after: Option<usize>,
}

impl Network {
    /// Plans a fault.
    pub(crate) fn plan(self: &Rc<Self>, fault: NetFault) {
        let NetMoment::Time { ms } = fault.at else { return self.state.borrow_mut().schedule.add(fault) };
        let (network, generation) = (Rc::clone(self), self.state.borrow().generation);
        let when_due = async move {
            sleep_until(&network.tasks, ms.saturating_mul(1_000_000)).await;
            if network.state.borrow().generation == generation {
                network.inject(fault.kind, fault.between);
            }
        };
        self.tasks.spawn(NO_CORE, "world/net-fault", Box::pin(when_due));
    }

    /// Lets something happen now.
    pub(crate) fn inject(self: &Rc<Self>, kind: NetFaultKind, between: Between) {
        self.apply(kind, between, Scope::All);
    }

    /// All links are open, and what was planned does not happen. Connections that were lost stay lost.
    pub(crate) fn heal(&self) {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        state.generation += 1;
        state.schedule.clear();
        for link in state.wire.links.mend_all() {
            state.mended(link, now_ns);
        }
    }

    /// An event was observed in a process on a machine.
    pub(crate) fn count_event(self: &Rc<Self>, process: ProcessKey, machine: MachineKey, name: &str) {
        let struck = self.state.borrow_mut().schedule.strike(Call::Event(name), 0, 0);
        for fault in struck {
            self.apply(fault.kind, fault.between, Scope::Process(process, machine));
        }
    }

    /// What strikes a call from the machine of `process` to another.
    pub(super) fn strike_connect(self: &Rc<Self>, process: &Process, to: Option<MachineKey>) -> ConnectBlow {
        let (mut blow, from) = (ConnectBlow::default(), process.setup.machine);
        let Some(to) = to else { return blow };
        let struck = self.state.borrow_mut().schedule.strike(Call::Connect, from, to);
        for NetFault { kind, between, .. } in struck {
            match kind {
                NetFaultKind::Refuse => blow.is_refused = true,
                NetFaultKind::Hang => blow.hangs = true,
                NetFaultKind::Reset => blow.is_reset = true,
                NetFaultKind::HalfOpen => blow.is_lost = true,
                NetFaultKind::Delay { ms } => blow.delay_ns += ms.saturating_mul(1_000_000),
                NetFaultKind::BitFlip => continue,
                NetFaultKind::Partition { .. } | NetFaultKind::OneWay { .. } | NetFaultKind::Swizzle { .. } => {
                    let between = if between == Between::ANY { Between::machines(from, to) } else { between };
                    self.apply(kind, between, Scope::All);
                    continue;
                }
            }
            self.count(kind, from, Some(to));
        }
        blow
    }

    /// What strikes a write of `len` bytes.
    pub(super) fn strike_write(self: &Rc<Self>, process: &Process, key: ConnectionKey, side: Side, len: usize) -> WriteBlow {
        let mut blow = WriteBlow::default();
        let (struck, (from, to)) = {
            let state = &mut *self.state.borrow_mut();
            let Some(connection) = state.connections.get(&key) else { return blow };
            let link = connection.link(side);
            (state.schedule.strike(Call::Write, link.0, link.1), link)
        };
        process.tasks.trace.mix(len as u64);
        for NetFault { kind, between, .. } in struck {
            let below = |bound: usize| self.state.borrow_mut().fault_stream.below(bound as u64) as usize;
            match kind {
                NetFaultKind::Reset => blow.reset_after = Some(below(len + 1)),
                NetFaultKind::BitFlip if len > 0 => blow.flip = Some(below(8 * len)),
                NetFaultKind::HalfOpen | NetFaultKind::Delay { .. } => {
                    self.apply(kind, between, Scope::Connection(key));
                    continue;
                }
                NetFaultKind::Refuse | NetFaultKind::Hang | NetFaultKind::BitFlip => continue,
                NetFaultKind::Partition { .. } | NetFaultKind::OneWay { .. } | NetFaultKind::Swizzle { .. } => {
                    let is_swizzle = matches!(kind, NetFaultKind::Swizzle { .. });
                    let between = if between == Between::ANY && !is_swizzle { Between::machines(from, to) } else { between };
                    self.apply(kind, between, Scope::All);
                    continue;
                }
            }
            self.count(kind, from, Some(to));
        }
        blow
    }

    fn count(&self, kind: NetFaultKind, from: MachineKey, to: Option<MachineKey>) {
        self.state.borrow_mut().schedule.count(kind.name());
        self.tasks.note("net.fault", &format!("{kind:?}"), [from as i64, to.map_or(-1, |to| to as i64), 0]);
    }

    /// Resets one connection for both ends. Whether one of them will hear of it.
    pub(super) fn reset(&self, key: ConnectionKey) -> bool {
        self.state.borrow_mut().hurt(key, NetFaultKind::Reset, self.tasks.now_ns())
    }

    /// Carries a fault out, unless there is nothing for it to happen to.
    fn apply(self: &Rc<Self>, kind: NetFaultKind, between: Between, scope: Scope) {
        if kind.cuts_links() {
            let between = match scope {
                Scope::Process(_, machine) if between == Between::ANY => Between::around(machine),
                _ => between,
            };
            return self.apply_to_links(kind, between);
        }
        let now_ns = self.tasks.now_ns();
        let hurt = {
            let state = &mut *self.state.borrow_mut();
            let meant: Vec<ConnectionKey> = match scope {
                Scope::Connection(key) => vec![key],
                Scope::Process(..) | Scope::All => {
                    let of_process = |connection: &super::Connection| match scope {
                        Scope::Process(process, _) => connection.ends.iter().any(|end| end.process == process),
                        _ => true,
                    };
                    let is_meant = |connection: &super::Connection| {
                        let (from, to) = connection.link(0);
                        of_process(connection) && (between.is_meant(from, to) || between.is_meant(to, from))
                    };
                    state.connections.iter().filter(|(_, connection)| is_meant(connection)).map(|(key, _)| *key).collect()
                }
            };
            meant.into_iter().filter(|&key| state.hurt(key, kind, now_ns)).count()
        };
        if hurt > 0 {
            self.count(kind, between.from.unwrap_or_default(), between.to);
        }
    }

    fn apply_to_links(self: &Rc<Self>, kind: NetFaultKind, between: Between) {
        let machines = 0..self.state.borrow().machines.len();
        let pairs = machines.clone().flat_map(|from| machines.clone().map(move |to| (from, to))).filter(|(from, to)| from != to);
        let meant: BTreeSet<Link> = pairs.filter(|(from, to)| between.is_meant(*from, *to)).collect();
        if meant.is_empty() {
            return;
        }
        let back = meant.iter().map(|(from, to)| (*to, *from));
        match kind {
            NetFaultKind::OneWay { ms } => self.cut_for(meant.into_iter().collect(), 0, ms),
            NetFaultKind::Partition { ms } => {
                let both: BTreeSet<Link> = meant.iter().copied().chain(back).collect();
                self.cut_for(both.into_iter().collect(), 0, ms);
            }
            NetFaultKind::Swizzle { ms } => {
                let mut cut_off: Vec<MachineKey> = meant.iter().map(|(from, _)| *from).collect();
                cut_off.dedup();
                self.swizzle(cut_off, ms);
            }
            _ => return,
        }
        self.count(kind, between.from.unwrap_or_default(), between.to);
    }

    /// Cuts the machines off one after the other, and lets them back in another order.
    fn swizzle(self: &Rc<Self>, mut machines: Vec<MachineKey>, ms: u64) {
        let steps = 2 * machines.len() as u64;
        let all: Vec<MachineKey> = (0..self.state.borrow().machines.len()).collect();
        let (mut starts, mut ends) = (vec![], vec![]);
        {
            let stream = &mut self.state.borrow_mut().fault_stream;
            for step in 0..machines.len() as u64 {
                starts.push(ms * step / steps);
                ends.push(ms * (steps - step) / steps);
            }
            for order in [&mut starts, &mut ends] {
                for n in (1..order.len()).rev() {
                    order.swap(n, stream.below(n as u64 + 1) as usize);
                }
            }
        }
        for machine in machines.drain(..) {
            let (Some(start_ms), Some(end_ms)) = (starts.pop(), ends.pop()) else { return };
            let others = all.iter().filter(|&&other| other != machine);
            let links = others.flat_map(|&other| [(machine, other), (other, machine)]).collect();
            self.cut_for(links, start_ms, end_ms.saturating_sub(start_ms));
        }
    }

    /// Cuts links in `after_ms` milliseconds, for so many.
    fn cut_for(self: &Rc<Self>, links: Vec<Link>, after_ms: u64, ms: u64) {
        let (network, generation) = (Rc::clone(self), self.state.borrow().generation);
        if after_ms == 0 {
            network.cut(&links);
        }
        let course = async move {
            let tasks = Rc::clone(&network.tasks);
            if after_ms > 0 {
                sleep_until(&tasks, tasks.now_ns().saturating_add(after_ms.saturating_mul(1_000_000))).await;
                if network.state.borrow().generation != generation {
                    return;
                }
                network.cut(&links);
            }
            sleep_until(&tasks, tasks.now_ns().saturating_add(ms.saturating_mul(1_000_000))).await;
            if network.state.borrow().generation == generation {
                network.mend(&links);
            }
        };
        self.tasks.spawn(NO_CORE, "world/cut-links", Box::pin(course));
    }

    /// Cuts links until they are mended.
    pub(crate) fn cut(&self, links: &[Link]) {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        for &link in links {
            if state.wire.links.cut(link) {
                state.connections.values_mut().for_each(|connection| connection.cut(link, now_ns));
                self.tasks.note("net.cut", "", [link.0 as i64, link.1 as i64, 0]);
            }
        }
    }

    /// Mends links that were cut.
    pub(crate) fn mend(&self, links: &[Link]) {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        for &link in links {
            if state.wire.links.mend(link) {
                state.mended(link, now_ns);
                self.tasks.note("net.mended", "", [link.0 as i64, link.1 as i64, 0]);
            }
        }
    }
}

impl State {
    /// A link is open again.
    fn mended(&mut self, link: Link, now_ns: u64) {
        self.connections.values_mut().for_each(|connection| connection.mend(&mut self.wire, link, now_ns));
        self.callers.drain(..).for_each(std::task::Waker::wake);
    }

    /// Does something to a connection; `false` if there is nothing to be done.
    fn hurt(&mut self, key: ConnectionKey, kind: NetFaultKind, now_ns: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&key) else { return false };
        match kind {
            NetFaultKind::Reset => connection.strike_down(&mut self.wire, now_ns),
            NetFaultKind::HalfOpen => connection.lose(now_ns),
            NetFaultKind::Delay { ms } => {
                connection.delay_until(now_ns, now_ns.saturating_add(ms.saturating_mul(1_000_000)));
                connection.wake();
                true
            }
            _ => false,
        }
    }
}
