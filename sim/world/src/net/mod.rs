//! A network of machines: connections as TCP makes them, and the faults between them.
//!
//! `pipe` is one direction of a connection and `connection` what its two ends learn of each other; `links` says which machines reach each other and how
//! long that takes; `faults` what goes wrong, and `strikes` carries it out; `handle` makes all of it the door's traits. This file holds what they
//! share: the machines, who listens, and who is connected. It lasts for one run.
//!
//! Machine `n` has the address `10.0.0.(n + 1)`, and a loopback of its own. Its kernel goes on when a process of it is killed or paused: connections
//! are accepted into a backlog, buffers fill, what was sent is repeated until it arrives. A machine without power does nothing.

mod connection;
mod faults;
mod handle;
mod links;
mod pipe;
mod strikes;

pub use faults::{Between, HONEST_NET_FAULTS, NetFault, NetFaultKind, NetMoment};
pub(crate) use handle::SimNet;

use crate::clock::sleep_until;
use crate::config::NetConfig;
use crate::disk::FaultCounts;
use crate::process::Process;
use crate::rng::Draw;
use crate::tasks::Tasks;
use connection::{Connection, End, Wire};
use faults::NetSchedule;
use links::Links;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg_io::{SplitMix, yield_now};

/// The number of a machine within its run, from 0.
pub type MachineKey = usize;

/// The number of a process within its run, from 0.
pub(crate) type ProcessKey = usize;

/// The number of a connection within its run.
pub(crate) type ConnectionKey = u64;

/// Connections that wait to be accepted, at most; then further ones are refused. Linux's default is larger, a test's patience is not.
const BACKLOG: usize = 128;

/// Where free ports begin, as on Linux.
const FREE_PORT_FIRST: u16 = 32_768;

/// Machines that have an address.
const MACHINES_MAX: usize = 254;

/// What the peers of a process hear when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Its kernel closes its sockets.
    OfTheKernel,
    /// Nothing: the machine has lost power.
    None,
}

/// The network of one run.
pub(crate) struct Network {
    tasks: Rc<Tasks>,
    config: NetConfig,
    state: RefCell<State>,
}

struct State {
    /// Whether each machine has power.
    machines: Vec<bool>,
    listeners: BTreeMap<(MachineKey, SocketAddr), Queue>,
    connections: BTreeMap<ConnectionKey, Connection>,
    wire: Wire,
    schedule: NetSchedule,
    /// Wait for links to be mended.
    callers: Vec<Waker>,
    connects: u64,
    /// Grows when everything is healed: what was to end by itself has ended then.
    generation: u64,
    port_stream: SplitMix,
    /// How much of what there is a call takes.
    part_stream: SplitMix,
    /// What a fault needs to draw.
    fault_stream: SplitMix,
}

/// What waits at a listener.
struct Queue {
    process: ProcessKey,
    waiting: VecDeque<(ConnectionKey, SocketAddr)>,
    acceptor: Option<Waker>,
}

/// The address of a machine.
pub(crate) fn address_of(machine: MachineKey) -> IpAddr {
    let last = u8::try_from(machine + 1).expect("invariant: there are no more machines than addresses");
    Ipv4Addr::new(10, 0, 0, last).into()
}

impl Network {
    pub(crate) fn new(seed: u64, config: NetConfig, tasks: Rc<Tasks>) -> Rc<Self> {
        let stream = |name: &str| SplitMix::stream(seed, name);
        let wire = Wire { links: Links::new(seed, &config), reset_stream: stream("net/reset"), mend_stream: stream("net/mend") };
        let state = State {
            machines: vec![],
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            wire,
            schedule: NetSchedule::new(),
            callers: vec![],
            connects: 0,
            generation: 0,
            port_stream: stream("net/ports"),
            part_stream: stream("net/parts"),
            fault_stream: stream("net/faults"),
        };
        let network = Rc::new(Self { tasks, config, state: RefCell::new(state) });
        for fault in network.config.faults.clone() {
            network.plan(fault);
        }
        network
    }

    /// Adds a machine.
    ///
    /// # Panics
    /// If there are too many: a run has a handful.
    pub(crate) fn add_machine(&self) -> MachineKey {
        let machines = &mut self.state.borrow_mut().machines;
        assert!(machines.len() < MACHINES_MAX, "more machines than addresses");
        machines.push(true);
        machines.len() - 1
    }

    /// What was injected so far, by name.
    pub(crate) fn injected(&self) -> FaultCounts {
        self.state.borrow().schedule.injected().clone()
    }

    /// Faults that were injected so far.
    pub(crate) fn faults_injected(&self) -> u64 {
        self.state.borrow().schedule.total()
    }

    /// Counts what happened to a process, which the network learns of as well.
    pub(crate) fn count_process_fault(&self, name: &'static str) {
        self.state.borrow_mut().schedule.tally(name);
    }

    /// Opens a door for connections; its address with the port that was picked.
    fn listen(&self, process: &Process, mut address: SocketAddr) -> io::Result<SocketAddr> {
        let (state, machine) = (&mut *self.state.borrow_mut(), process.setup.machine);
        let ip = address.ip();
        if !ip.is_loopback() && !ip.is_unspecified() && ip != address_of(machine) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        if address.port() == 0 {
            address.set_port(state.free_port(machine, ip));
        }
        if state.listeners.contains_key(&(machine, address)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listeners.insert((machine, address), Queue { process: process.key, waiting: VecDeque::new(), acceptor: None });
        process.note("net.listen", &address.to_string(), [0; 3]);
        Ok(address)
    }

    /// The next connection at a listener; `None` if that is gone.
    fn poll_accept(&self, machine: MachineKey, address: SocketAddr, cx: &mut Context<'_>) -> Poll<Option<(ConnectionKey, SocketAddr)>> {
        let state = &mut *self.state.borrow_mut();
        let Some(queue) = state.listeners.get_mut(&(machine, address)) else { return Poll::Ready(None) };
        if let Some(next) = queue.waiting.pop_front() {
            return Poll::Ready(Some(next));
        }
        queue.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Closes a listener. Who waits to be accepted is reset.
    fn close_listener(&self, machine: MachineKey, address: SocketAddr) {
        let state = &mut *self.state.borrow_mut();
        let Some(queue) = state.listeners.remove(&(machine, address)) else { return };
        queue.acceptor.into_iter().for_each(Waker::wake);
        for (key, _) in queue.waiting {
            state.turn_away(key, self.tasks.now_ns());
        }
    }

    /// Changes a connection, of which one half is being dropped.
    fn close_half(&self, key: ConnectionKey, close: impl FnOnce(&mut Wire, &mut Connection, u64)) {
        let state = &mut *self.state.borrow_mut();
        let Some(connection) = state.connections.get_mut(&key) else { return };
        close(&mut state.wire, connection, self.tasks.now_ns());
        if connection.is_over() {
            state.connections.remove(&key);
        }
    }

    /// A process is gone: its kernel closes what it had, or has no power to do so.
    pub(crate) fn end_of_process(&self, process: ProcessKey, farewell: Farewell) {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        let doors: Vec<_> = state.listeners.iter().filter(|(_, queue)| queue.process == process).map(|(door, _)| *door).collect();
        for door in doors {
            let Some(queue) = state.listeners.remove(&door) else { continue };
            if farewell == Farewell::OfTheKernel {
                queue.waiting.into_iter().for_each(|(key, _)| state.turn_away(key, now_ns));
            }
        }
        for connection in state.connections.values_mut() {
            for side in [0, 1] {
                if connection.ends[side].process != process || connection.ends[side].is_closed() {
                    continue;
                }
                match farewell {
                    Farewell::OfTheKernel => {
                        connection.close_write(&mut state.wire, side, now_ns);
                        connection.close_read(&mut state.wire, side, now_ns);
                    }
                    Farewell::None => connection.darken(side, now_ns),
                }
            }
        }
        state.connections.retain(|_, connection| !connection.is_over());
    }

    /// A machine loses power; its processes are gone by now, but what their kernel still had to say is not said any more.
    pub(crate) fn power_off(&self, machine: MachineKey) {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        state.machines[machine] = false;
        for connection in state.connections.values_mut() {
            for side in [0, 1] {
                if connection.ends[side].machine == machine {
                    connection.darken(side, now_ns);
                }
            }
        }
        state.connections.retain(|_, connection| !connection.is_over());
    }

    /// A machine has power (again). It knows nothing of what it was connected to before.
    pub(crate) fn power_on(&self, machine: MachineKey) {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        if std::mem::replace(&mut state.machines[machine], true) {
            return;
        }
        for connection in state.connections.values_mut() {
            for side in [0, 1] {
                if connection.ends[side].machine == machine {
                    connection.forget(&mut state.wire, side, now_ns);
                }
            }
        }
        state.connections.retain(|_, connection| !connection.is_over());
        state.callers.drain(..).for_each(Waker::wake);
    }
}

impl State {
    fn free_port(&mut self, machine: MachineKey, ip: IpAddr) -> u16 {
        loop {
            let port = self.port_stream.between(FREE_PORT_FIRST.into(), u16::MAX.into()) as u16;
            if !self.listeners.contains_key(&(machine, SocketAddr::new(ip, port))) {
                return port;
            }
        }
    }

    /// The listener of a machine at `address`, or one that listens at this port on every address.
    fn listener_for(&mut self, machine: MachineKey, address: SocketAddr) -> Option<&mut Queue> {
        let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        let at = if self.listeners.contains_key(&(machine, address)) { address } else { everywhere };
        self.listeners.get_mut(&(machine, at))
    }

    /// The machine that `from` means by an address.
    fn machine_at(&self, from: MachineKey, ip: IpAddr) -> Option<MachineKey> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        (0..self.machines.len()).find(|&machine| address_of(machine) == ip)
    }

    /// Whether a call from one machine to the other is heard and answered.
    fn is_reachable(&self, from: MachineKey, to: MachineKey) -> bool {
        self.machines[to] && self.wire.links.is_open((from, to)) && self.wire.links.is_open((to, from))
    }

    /// Resets a connection that nobody will accept.
    fn turn_away(&mut self, key: ConnectionKey, now_ns: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.reset(&mut self.wire, 0, now_ns);
        connection.close_write(&mut self.wire, 1, now_ns);
        connection.close_read(&mut self.wire, 1, now_ns);
        if connection.is_over() {
            self.connections.remove(&key);
        }
    }
}

/// Connects a process to `address`.
async fn connect(process: &Rc<Process>, address: SocketAddr) -> io::Result<ConnectionKey> {
    let (network, tasks) = (Rc::clone(&process.around.network), Rc::clone(&process.tasks));
    let from = process.setup.machine;
    let (number, to) = {
        let state = &mut *network.state.borrow_mut();
        state.connects += 1;
        (state.connects - 1, state.machine_at(from, address.ip()))
    };
    process.note_operation("net.connect", &address.to_string());
    process.note("net.connect", &address.to_string(), [number as i64, 0, 0]);
    let blow = network.strike_connect(process, to);
    yield_now().await;
    let gives_up_ns = tasks.now_ns().saturating_add(network.config.connect_timeout_ms.saturating_mul(1_000_000));
    // Nobody has this address: nobody answers.
    let Some(to) = to.filter(|_| !blow.hangs) else {
        sleep_until(&tasks, gives_up_ns).await;
        return Err(io::ErrorKind::TimedOut.into());
    };
    sleep_until(&tasks, tasks.now_ns() + blow.delay_ns).await;
    loop {
        network.reach(from, to, gives_up_ns).await?;
        let latency_ns = network.state.borrow_mut().wire.links.latency_ns((from, to));
        sleep_until(&tasks, tasks.now_ns() + latency_ns).await;
        process.unless_gone().await;
        if network.state.borrow().is_reachable(from, to) {
            break;
        }
    }
    if blow.is_refused {
        process.note("net.refused", &address.to_string(), [number as i64, 0, 0]);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    network.establish(process, number, to, address, blow.is_lost, blow.is_reset)
}

impl Network {
    /// Waits until a call from one machine to the other gets through.
    async fn reach(&self, from: MachineKey, to: MachineKey, gives_up_ns: u64) -> io::Result<()> {
        if self.state.borrow().is_reachable(from, to) {
            return Ok(());
        }
        let mut patience = pin!(async {
            sleep_until(&self.tasks, gives_up_ns).await;
        });
        poll_fn(|cx| {
            let state = &mut *self.state.borrow_mut();
            if state.is_reachable(from, to) {
                return Poll::Ready(Ok(()));
            }
            state.callers.push(cx.waker().clone());
            patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    fn establish(
        &self,
        process: &Process,
        number: u64,
        to: MachineKey,
        address: SocketAddr,
        is_lost: bool,
        is_reset: bool,
    ) -> io::Result<ConnectionKey> {
        let now_ns = self.tasks.now_ns();
        let state = &mut *self.state.borrow_mut();
        let from = process.setup.machine;
        let own = if address.ip().is_loopback() || address.ip().is_unspecified() { address.ip() } else { address_of(from) };
        let caller = SocketAddr::new(own, state.free_port(from, own));
        let capacities = [0; 2].map(|_| state.port_stream.pick(&self.config.buffer_bytes));
        let queue = state.listener_for(to, address).filter(|queue| queue.waiting.len() < BACKLOG);
        let Some(queue) = queue else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        queue.waiting.push_back((number, caller));
        queue.acceptor.take().into_iter().for_each(Waker::wake);
        let mut connection = Connection::new([End::new(from, process.key), End::new(to, queue.process)], capacities);
        if is_lost {
            connection.lose(now_ns);
        }
        if is_reset {
            connection.reset(&mut state.wire, 0, now_ns);
            connection.reset(&mut state.wire, 1, now_ns);
        }
        state.connections.insert(number, connection);
        Ok(number)
    }
}
