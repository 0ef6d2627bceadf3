//! Looks after one worker of a group: starts it, and restarts it after its death or return, now and then with other cores, until the job has finished,
//! another group leads, or the healing has left it broken.

use super::excuses::may_refuse;
use super::group::Group;
use super::host::{Host, LOOK_EVERY_MS, while_alive};
use crate::finding::Finding;
use crate::scenario::cluster_plan::Role;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use thalweg::JobError;
use thalweg::cluster::{WorkerConfig, WorkerReport, start_worker};
use thalweg_world::Draw;
use thalweg_world::SimProcess;

/// How long to wait after a worker has heard that all is well: meanwhile its coordinator reports its own result.
const QUIET_MS: u64 = 3_000;
/// Of 1000 restarted workers, how many get other cores.
const OTHER_CORES_PER_MILLE: u32 = 200;

/// See the module's documentation. `number` is the worker's number.
pub(super) async fn look_after(host: Rc<Host>, group: Rc<Group>, number: usize) {
    let name = group.name_of(Role::Worker(number));
    let machine = &group.machines[number];
    let mut other_cores = None;
    while !host.is_over() && !group.is_deposed.get() {
        if host.is_given_up(number) {
            return;
        }
        let phase = host.phase.get();
        let Some(planned_cores) = host.plan.phases[phase].workers.get(number).copied() else {
            host.cluster.sleep_ms(LOOK_EVERY_MS).await;
            continue;
        };
        let cores = other_cores.unwrap_or(planned_cores);
        let process = machine.start(&name, cores);
        group.workers.borrow_mut()[number] = Some(process.clone());
        host.aim(Role::Worker(number), &process);
        let config = config(&host, &group, number, cores);
        let ended = run(&host, number, &process, config).await;
        host.bury(&process).await;
        match ended {
            Some(Err(error)) if !may_refuse(&host.plan, &error) => {
                host.tell(&format!("{name} ends"));
                return host.end(Err(Finding::unexpected(&error)));
            }
            Some(Ok(WorkerReport { failure: None, .. })) => next_work(&host, &group, phase).await,
            Some(_) => {}
            None => host.tell(&format!("{name} dies")),
        }
        if host.is_over() {
            return;
        }
        host.pause().await;
        // Now and then another machine takes its place.
        let mut stream = host.stream.borrow_mut();
        if stream.chance(OTHER_CORES_PER_MILLE) {
            other_cores = Some(stream.pick(&[1, 2, 4]));
            host.notes.note("a worker came back with other cores");
        }
    }
}

fn config(host: &Host, group: &Group, number: usize, cores: usize) -> WorkerConfig {
    let config = WorkerConfig::new(group.address, cores)
        .data(SocketAddr::new(host.address(&group.machines[number]), 0))
        .heartbeat(host.heartbeat())
        .reconnect_max(Duration::from_millis(200));
    match host.secret() {
        Some(secret) => config.secret(secret),
        None => config,
    }
}

/// Runs the worker with this number; returns its report, unless it died.
async fn run(host: &Host, number: usize, process: &SimProcess, config: WorkerConfig) -> Option<Result<WorkerReport, JobError>> {
    let job = host.job.clone();
    match start_worker(&process.cores(), config, move |options: &[String]| job.build(options)) {
        Err(error) => Some(Err(error)),
        Ok(handle) => host.while_running(number, while_alive(process, handle)).await,
    }
}

/// Waits until there may be new work: a worker that has heard that all is well is not restarted before.
async fn next_work(host: &Host, group: &Group, phase: usize) {
    host.wait(QUIET_MS, || host.is_over() || group.is_deposed.get() || host.phase.get() != phase).await;
}
