//! Plans of whole scenarios: what a drawn scenario, changed in one place, must come to, and what a set of them must reach.

#![allow(clippy::unwrap_used, reason = "a test")]

use thalweg_sim::run::run_once;
use thalweg_sim::scenario::cluster_plan::{Rest, patience_ms};
use thalweg_sim::scenario::{JobPlan, Scenario};

/// Clusters of several workers in which nothing happens, and whose job is not stopped in between.
fn calm_clusters(seeds: std::ops::Range<u64>) -> impl Iterator<Item = Scenario> {
    let is_meant = |scenario: &Scenario| {
        let plan = scenario.cluster.as_ref();
        plan.is_some_and(|plan| plan.is_calm() && plan.phases.len() == 1 && plan.rest.len() > 1)
            && scenario.world.net.slow_machine.is_none()
    };
    seeds.map(Scenario::draw).filter(is_meant)
}

#[test]
fn a_worker_that_stays_stopped_or_cut_off_need_not_hear_of_the_end_of_the_job() {
    let mut runs = 0;
    for mut scenario in calm_clusters(0..400) {
        let plan = scenario.cluster.as_mut().unwrap();
        let rest = if plan.is_local { Rest::Stopped } else { [Rest::Stopped, Rest::CutOff { one_way: false }][runs % 2] };
        // Before the job has come to its end.
        (plan.rest[1], plan.heal_ms) = (rest, 1);
        let report = run_once(&scenario);
        assert!(report.finding.is_none(), "seed {}, {rest:?}: {:?}", scenario.seed, report.finding);
        runs += 1;
    }
    assert!(runs > 5, "{runs}");
}

/// Frames of one record, each of which waits for its credit on a connection that takes four seconds: that takes longer than any other job, and is given
/// the time for it.
#[test]
fn a_job_whose_records_wait_for_a_slow_network_one_by_one_is_given_the_time_for_it() {
    let plan_of = |scenario: &Scenario| match &scenario.job {
        JobPlan::Elements(plan) => plan.clone(),
        JobPlan::Flights(_) => unreachable!("jobs of several processes are on elements"),
    };
    let is_meant = |scenario: &Scenario| {
        let is_spread = scenario.cluster.as_ref().is_some_and(|plan| !plan.is_local);
        is_spread && plan_of(scenario).ids().len() >= 80
    };
    let mut scenario = calm_clusters(0..8_000).find(is_meant).unwrap();
    let job = plan_of(&scenario);
    scenario.world.net.slow_machine = Some((1, 4_000));
    let plan = scenario.cluster.as_mut().unwrap();
    plan.patience_ms = patience_ms(job.ids().len(), job.duration_ms(), &scenario.world.net);
    (plan.heal_ms, plan.heartbeat_interval_ms, plan.heartbeat_timeout_ms) = (1, 1_000, 60_000);
    let engine = &mut plan.phases[0].engine;
    engine.chaining = false;
    let settings = &mut engine.settings;
    (settings.frame_records, settings.channel_frames, settings.flush_after_frames) = (1, 0, 1);
    let report = run_once(&scenario);
    assert!(report.finding.is_none(), "seed {}: {:?}", scenario.seed, report.finding);
    assert!(report.stats.elapsed_ns > 300_000_000_000, "any job is given that much: {:?}", report.stats);
}

#[test]
fn lives_that_lose_their_newest_checkpoint_often_have_an_older_one_to_go_on_from() {
    let is_spoiled = |scenario: &Scenario| scenario.lives.as_ref().is_some_and(|plan| plan.spoils_newest.is_some());
    let (mut runs, mut older) = (0, 0);
    for scenario in (0..1000).map(Scenario::draw).filter(is_spoiled) {
        let report = run_once(&scenario);
        assert!(report.finding.is_none(), "seed {}: {:?}", scenario.seed, report.finding);
        runs += 1;
        older += u32::from(report.marks.seen().any(|mark| mark == "gone on from an older checkpoint"));
    }
    assert!(older >= 4, "{older} of {runs}");
}
