//! The healing: from here on no planned fault happens any more. The coordinators and the workers of the core are repaired; each other worker stays as
//! planned, dead, stopped, or cut off from all repaired machines.

use super::group::Group;
use super::host::Host;
use crate::marks::sometimes;
use crate::scenario::cluster_plan::Rest;
use std::rc::Rc;
use thalweg_world::SimMachine;

/// Heals the world.
pub(super) fn heal(host: &Host) {
    host.is_healed.set(true);
    host.tell("healed");
    let (network, disk) = (host.cluster.network(), host.cluster.disk());
    let before = network.faults_injected();
    network.heal();
    disk.heal();
    sometimes!(host.notes, before > 0, "the network healed");
    let groups = host.groups.borrow().clone();
    for group in &groups {
        settle(group, &host.plan.rest);
    }
    cut_off(host, &groups);
}

/// Repairs, kills or stops the processes of a group, as planned in `rest`.
fn settle(group: &Group, rest: &[Rest]) {
    if let Some(process) = &*group.coordinator.borrow() {
        process.resume();
    }
    for (process, rest) in group.workers.borrow().iter().zip(rest) {
        let Some(process) = process else { continue };
        match rest {
            Rest::Repaired => process.resume(),
            Rest::Dead => process.kill(),
            Rest::Stopped => process.pause(),
            Rest::CutOff { .. } => {}
        }
    }
}

/// Cuts off the machines that stay so from all the others, in every group.
fn cut_off(host: &Host, groups: &[Rc<Group>]) {
    let network = host.cluster.network();
    let (mut core, mut lost): (Vec<&SimMachine>, Vec<(&SimMachine, bool)>) = (vec![], vec![]);
    for group in groups {
        for (machine, rest) in group.machines.iter().zip(&host.plan.rest) {
            match *rest {
                Rest::CutOff { one_way } => lost.push((machine, one_way)),
                Rest::Repaired | Rest::Dead | Rest::Stopped => core.push(machine),
            }
        }
        core.push(&group.machine);
    }
    for (lost, one_way) in lost {
        for machine in &core {
            network.cut(lost, machine);
            if !one_way {
                network.cut(machine, lost);
            }
        }
    }
}
