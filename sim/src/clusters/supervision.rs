//! Looks after a cluster from its start to the end of its job: begins a task for the leader, for each of its workers, for each blow, for the second leader
//! and for the healing.

use super::blows::strike;
use super::group::Group;
use super::healing::heal;
use super::host::{Host, no_progress};
use super::notes::Notes;
use super::{coordinator, worker};
use crate::finding::Finding;
use crate::scenario::cluster_plan::ClusterPlan;
use crate::scenario::elements_job::Poison;
use crate::scenario::elements_plan::ElementsPlan;
use std::net::SocketAddr;
use std::rc::Rc;
use thalweg::JobReport;
use thalweg_world::SimCluster;

/// The port of the first leader's coordinator; the second one's is the next.
const PORT: u16 = 7_100;

/// See the module's documentation.
pub(super) async fn look_after(
    cluster: SimCluster,
    plan: ClusterPlan,
    job: ElementsPlan,
    poison: Option<Poison>,
    notes: Notes,
) -> Result<JobReport, Finding> {
    let host = Rc::new(Host::new(cluster, plan, job, poison, notes));
    host.plan.net.iter().for_each(|fault| host.cluster.network().plan(*fault));
    host.plan.disk.iter().for_each(|fault| host.cluster.disk().plan_fault(*fault));
    add_group(&host);
    for blow in host.plan.blows.clone() {
        let strikes = Rc::clone(&host);
        host.begin(async move {
            strikes.cluster.sleep_ms(blow.at_ms).await;
            strike(&strikes, &blow.whom);
        });
    }
    if let Some(ms) = host.plan.takeover_ms {
        host.begin(take_over(Rc::clone(&host), ms));
    }
    host.begin(heal_and_demand_progress(Rc::clone(&host)));
    host.drive().await
}

/// Starts a second leader after `ms`, unless the world has healed before.
async fn take_over(host: Rc<Host>, ms: u64) {
    host.cluster.sleep_ms(ms).await;
    if !host.is_healed.get() {
        host.tell("a second leader is started");
        add_group(&host);
    }
}

/// Heals the world when it is due. From then on the job has a limited time to finish.
async fn heal_and_demand_progress(host: Rc<Host>) {
    let ClusterPlan { heal_ms, patience_ms, rest, .. } = &host.plan;
    host.cluster.sleep_ms(*heal_ms).await;
    heal(&host);
    host.cluster.sleep_ms(*patience_ms).await;
    let reason = format!("the world was healed at {heal_ms} ms, and {patience_ms} ms later the job has not finished; workers {rest:?}");
    host.end(Err(no_progress(reason)));
}

/// Adds a leader and its workers, on their own machines unless all processes share one.
fn add_group(host: &Rc<Host>) {
    let number = host.groups.borrow().len();
    let workers = host.plan.rest.len();
    let (machine, machines) = if host.plan.is_local {
        let first = host.groups.borrow().first().map(|group| group.machine.clone());
        let machine = first.unwrap_or_else(|| host.cluster.machine());
        (machine.clone(), vec![machine; workers])
    } else {
        (host.cluster.machine(), (0..workers).map(|_| host.cluster.machine()).collect())
    };
    let port = PORT + u16::try_from(number).unwrap_or(0);
    let address = SocketAddr::new(host.address(&machine), port);
    let group = Rc::new(Group::new(number, address, machine, machines));
    host.groups.borrow_mut().push(Rc::clone(&group));
    for worker in 0..workers {
        host.begin(worker::look_after(Rc::clone(host), Rc::clone(&group), worker));
    }
    host.begin(coordinator::look_after(Rc::clone(host), group));
}
