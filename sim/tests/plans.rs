//! Plans of whole scenarios: what a drawn scenario, changed in one place, must come to, and what a set of them must reach.

#![allow(clippy::unwrap_used, reason = "a test")]

use thalweg_sim::run::run_once;
use thalweg_sim::scenario::Scenario;
use thalweg_sim::scenario::cluster_plan::Rest;

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

/// Frames of one record that wait for their credit on a connection which takes a fifth of a second: the job comes to its end, and takes its time.
#[test]
fn a_job_whose_records_wait_for_a_slow_network_one_by_one_is_given_the_time_for_it() {
    let is_meant = |scenario: &Scenario| {
        let plan = scenario.cluster.as_ref();
        plan.is_some_and(|plan| plan.is_calm() && plan.phases.len() == 1 && plan.rest.len() > 1 && !plan.is_local)
            && scenario.world.net.slow_machine.is_some_and(|(_, ms)| ms >= 200)
    };
    for mut scenario in (0..4000).map(Scenario::draw).filter(is_meant).take(4) {
        let settings = &mut scenario.cluster.as_mut().unwrap().phases[0].engine.settings;
        (settings.frame_records, settings.channel_frames, settings.flush_after_frames) = (1, 0, 1);
        let report = run_once(&scenario);
        assert!(report.finding.is_none(), "seed {}: {:?}", scenario.seed, report.finding);
    }
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
