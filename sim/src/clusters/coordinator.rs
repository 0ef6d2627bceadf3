//! Looks after the coordinator of a group: starts it, and restarts it after its death or failure, until the job has finished or another group leads.

use super::excuses::{explains, is_fenced};
use super::group::Group;
use super::host::{Host, while_alive};
use super::job::PhasedJob;
use crate::finding::Finding;
use crate::marks::sometimes;
use crate::scenario::cluster_plan::{Rest, Role};
use std::rc::Rc;
use std::time::Duration;
use thalweg::cluster::ClusterConfig;
use thalweg::{JobEnding, JobError, JobReport};
use thalweg_world::SimProcess;

/// See the module's documentation.
pub(super) async fn look_after(host: Rc<Host>, group: Rc<Group>) {
    let name = group.name_of(Role::Coordinator);
    while !host.is_over() {
        let process = group.machine.start(&name, 1);
        *group.coordinator.borrow_mut() = Some(process.clone());
        host.aim(Role::Coordinator, &process);
        let number = host.phase.get();
        let ended = run(&host, &group, &process, number).await;
        host.bury(&process).await;
        let is_last = match ended {
            None => {
                host.tell(&format!("the {name} dies"));
                depose_if_others_lead(&host, &group)
            }
            Some(Ok(report)) => take_report(&host, number, report),
            Some(Err(error)) => take_error(&host, &group, number, &error),
        };
        if is_last {
            return;
        }
        host.pause().await;
    }
}

/// Runs a coordinator for the phase `number`; returns its result, unless it died.
async fn run(host: &Rc<Host>, group: &Group, process: &SimProcess, number: usize) -> Option<Result<JobReport, JobError>> {
    let phase = &host.plan.phases[number];
    let options = PhasedJob::options(number);
    let config = ClusterConfig::new(group.address, host.plan.wanted(phase))
        .options(options.clone())
        .heartbeat(host.heartbeat())
        .worker_wait(Duration::from_millis(host.plan.worker_wait_ms));
    let config = match host.secret() {
        Some(secret) => config.secret(secret),
        None => config,
    };
    let started = host.job.build(&options).and_then(|job| job.start_coordinator(&process.cores(), config));
    let handle = match started {
        Err(error) => return Some(Err(error)),
        Ok(handle) => handle,
    };
    if let Some(ms) = phase.stop_ms {
        let (stops, control) = (Rc::clone(host), handle.control());
        host.begin(async move {
            stops.cluster.sleep_ms(ms).await;
            control.stop_with_checkpoint();
        });
    }
    while_alive(process, handle).await
}

/// A job has ended without failure. `true` if no other coordinator is to follow.
fn take_report(host: &Host, number: usize, report: JobReport) -> bool {
    match report.ending {
        JobEnding::Finished | JobEnding::AlreadyFinished => {
            if host.plan.is_calm() && number == 0 && report.restarts > 0 && !host.is_healed.get() {
                host.end(Err(Finding::wrong("calm", format!("{} restarts, and nothing has happened", report.restarts))));
                return true;
            }
            sometimes!(host.notes, number > 0, "a job rescaled");
            sometimes!(host.notes, report.restored.is_some(), "a restored job");
            sometimes!(host.notes, report.restarts > 0, "a restart within a life");
            let has_lost = host.plan.rest.iter().any(|rest| *rest != Rest::Repaired);
            sometimes!(host.notes, has_lost && host.is_healed.get(), "finished while a part of the cluster stays broken");
            host.tell(&format!("{:?} after {} restarts and {} checkpoints", report.ending, report.restarts, report.checkpoints));
            host.end(Ok(report));
            true
        }
        JobEnding::Stopped(_) => {
            host.notes.note("stopped with a checkpoint");
            host.tell(&format!("stopped with {} checkpoints", report.checkpoints));
            begin_phase_after(host, number);
            false
        }
    }
}

/// A job has failed. `true` if no other coordinator is to follow.
fn take_error(host: &Host, group: &Group, number: usize, error: &JobError) -> bool {
    if is_fenced(error) && host.plan.takeover_ms.is_some() {
        host.notes.note("two leaders");
        host.tell(&format!("the leader {} is fenced", group.number));
        return depose_if_others_lead(host, group);
    }
    let is_sick = host.cluster.disk().faults_injected() > 0;
    if !explains(&host.plan, number, is_sick, error) {
        host.end(Err(Finding::unexpected(error)));
        return true;
    }
    host.tell(&format!("failed: {error}"));
    if matches!(error, JobError::Cancelled) {
        begin_phase_after(host, number);
    }
    false
}

/// Whether there is another group that is looked after; then this group is deposed.
fn depose_if_others_lead(host: &Host, group: &Group) -> bool {
    let others_lead = host.groups.borrow().iter().any(|other| other.number != group.number && !other.is_deposed.get());
    if others_lead {
        group.is_deposed.set(true);
    }
    others_lead
}

/// Begins the phase after `number`, unless it has begun already or `number` was the last.
fn begin_phase_after(host: &Host, number: usize) {
    if number == host.phase.get() && number + 1 < host.plan.phases.len() {
        host.phase.set(number + 1);
    }
}
