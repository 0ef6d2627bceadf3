//! Blows: faults that strike some processes, or all, at a time of the plan. Once the world is healed no more fall.

use super::host::Host;
use crate::finding::Finding;
use crate::marks::sometimes;
use crate::scenario::cluster_plan::{Rest, Role, Whom};
use std::rc::Rc;
use thalweg_world::SimProcess;
use thalweg_world::{KillKind, ProcessFault};

/// Lets a blow fall.
pub(super) fn strike(host: &Rc<Host>, whom: &Whom) {
    if host.is_healed.get() || host.is_over() {
        return;
    }
    match whom {
        Whom::Everything(style) => {
            host.tell("power fails everywhere");
            host.cluster.power_loss(*style);
            let judged = host.notes.ledger().results_at_end_of_life(true);
            if let Err(reason) = judged {
                host.end(Err(Finding::wrong("transactions", format!("after power failed everywhere: {reason}"))));
            }
        }
        Whom::Processes(roles, fault) => {
            let struck: Vec<SimProcess> = roles.iter().flat_map(|role| alive(host, *role)).collect();
            host.tell(&format!("{fault:?} for {roles:?}"));
            sometimes!(host.notes, struck.len() > 1, "several struck at once");
            for process in struck {
                match *fault {
                    ProcessFault::Kill(KillKind::Process) => process.kill(),
                    ProcessFault::Kill(KillKind::PowerLoss(style)) => process.machine().power_loss(style),
                    ProcessFault::Pause { ms } => pause(host, process, ms),
                }
            }
        }
    }
}

/// The living processes with this role, of all groups.
fn alive(host: &Host, role: Role) -> Vec<SimProcess> {
    let groups = host.groups.borrow();
    groups.iter().filter_map(|group| group.process(role)).filter(SimProcess::is_alive).collect()
}

/// Stops a process for a while; it stays stopped if the healing wants that.
fn pause(host: &Rc<Host>, process: SimProcess, ms: u64) {
    process.pause();
    let resumes = Rc::clone(host);
    host.begin(async move {
        resumes.cluster.sleep_ms(ms).await;
        let stays = resumes.is_healed.get() && stays_stopped(&resumes, &process);
        if process.is_alive() && !stays {
            process.resume();
            sometimes!(resumes.notes, ms > resumes.plan.heartbeat_timeout_ms, "a zombie came back");
        }
    });
}

fn stays_stopped(host: &Host, process: &SimProcess) -> bool {
    let number = host.groups.borrow().iter().find_map(|group| group.worker_number(process));
    number.is_some_and(|number| host.plan.rest[number] == Rest::Stopped)
}
