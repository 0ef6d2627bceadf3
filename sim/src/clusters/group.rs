//! A leader and its followers: a coordinator, and the workers that look for it.

use crate::scenario::cluster_plan::Role;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use thalweg_world::{SimMachine, SimProcess};

/// See the module's documentation. The first group has the number 0; each later group is led by a successor.
pub(super) struct Group {
    pub(super) number: usize,
    /// The address at which its coordinator listens.
    pub(super) address: SocketAddr,
    /// The coordinator's machine.
    pub(super) machine: SimMachine,
    /// The workers' machines.
    pub(super) machines: Vec<SimMachine>,
    /// The latest coordinator, dead or alive.
    pub(super) coordinator: RefCell<Option<SimProcess>>,
    /// The latest process of each worker, dead or alive.
    pub(super) workers: RefCell<Vec<Option<SimProcess>>>,
    /// Whether another leader has taken over: then nobody looks after this group any more.
    pub(super) is_deposed: Cell<bool>,
}

impl Group {
    /// A group whose processes are still to be started.
    pub(super) fn new(number: usize, address: SocketAddr, machine: SimMachine, machines: Vec<SimMachine>) -> Self {
        let workers = RefCell::new(vec![None; machines.len()]);
        Self { number, address, machine, machines, coordinator: RefCell::default(), workers, is_deposed: Cell::new(false) }
    }

    /// The name of the process with this role.
    pub(super) fn name_of(&self, role: Role) -> String {
        match (role, self.number) {
            (Role::Coordinator, 0) => "coordinator".to_owned(),
            (Role::Coordinator, _) => "successor".to_owned(),
            (Role::Worker(worker), 0) => format!("worker-{worker}"),
            (Role::Worker(worker), _) => format!("new-worker-{worker}"),
        }
    }

    /// The latest process with this role, dead or alive.
    pub(super) fn process(&self, role: Role) -> Option<SimProcess> {
        match role {
            Role::Coordinator => self.coordinator.borrow().clone(),
            Role::Worker(worker) => self.workers.borrow().get(worker).cloned().flatten(),
        }
    }

    /// The number of the worker that runs as `process`.
    pub(super) fn worker_number(&self, process: &SimProcess) -> Option<usize> {
        let is_it = |worker: &SimProcess| worker.name() == process.name() && worker.incarnation() == process.incarnation();
        self.workers.borrow().iter().position(|worker| worker.as_ref().is_some_and(is_it))
    }
}
