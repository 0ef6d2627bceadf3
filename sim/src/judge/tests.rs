//! The judge can object: results of real runs are tampered with, in every way in which a defect of the engine could falsify them.

use super::{Evidence, judge};
use crate::marks::Marks;
use crate::reference::csv;
use crate::run::{ElementsResults, Execution, Observed, RunEnd, execute};
use crate::scenario::elements_plan::{ElementsPlan, Terminal};
use crate::scenario::flights_plan::{FlightsPlan, OUTPUTS};
use crate::scenario::interference::{Interference, ROOM_USED_MS};
use crate::scenario::{JobPlan, Scenario};
use thalweg::JobError;
use thalweg_io::IoError;
use thalweg_world::Ending;

/// Undisturbed scenarios, from the first seed on, whose job satisfies `is_meant`.
fn scenarios(is_meant: impl Fn(&JobPlan) -> bool) -> impl Iterator<Item = Scenario> {
    let drawn = (0..).map(Scenario::draw);
    drawn.filter(move |scenario| scenario.lives.is_none() && scenario.interference == Interference::None && is_meant(&scenario.job))
}

fn verdict(scenario: &Scenario, end: &RunEnd, files: &[(String, Vec<u8>)]) -> String {
    verdict_at(0, scenario, end, files)
}

fn verdict_at(ended_ms: u64, scenario: &Scenario, end: &RunEnd, files: &[(String, Vec<u8>)]) -> String {
    let evidence = Evidence { end, has_committed: true, disk_faults: 0, ended_ms, files };
    judge(scenario, &evidence, &mut Marks::default()).err().map(|finding| finding.to_string()).unwrap_or_default()
}

fn ended(scenario: &Scenario) -> (RunEnd, Vec<(String, Vec<u8>)>) {
    let Ok(Execution { outcome, files, .. }) = execute(scenario) else { panic!("the simulator cannot run seed {}", scenario.seed) };
    let Ending::Done(end) = outcome.ending else { panic!("seed {}: {}", scenario.seed, outcome.ending) };
    (end, files)
}

/// Tampers with the results of the first job that `tamper` can change (it then returns `true`) and expects an objection.
#[track_caller]
fn objects_to(is_meant: impl Fn(&ElementsPlan) -> bool, tamper: impl Fn(&mut ElementsResults) -> bool) {
    for scenario in scenarios(|job| matches!(job, JobPlan::Elements(plan) if is_meant(plan))).take(300) {
        let (mut end, files) = ended(&scenario);
        assert_eq!(verdict(&scenario, &end, &files), "", "seed {}", scenario.seed);
        let Observed::Elements(results) = &mut end.observed else { panic!("a job on elements has results in memory") };
        if tamper(results) {
            assert!(verdict(&scenario, &end, &files).contains("oracle reference"), "seed {}", scenario.seed);
            return;
        }
    }
    panic!("no scenario has what was to be changed");
}

fn is_window(plan: &ElementsPlan) -> bool {
    matches!(plan.terminal, Terminal::Window(_))
}

#[test]
fn a_result_that_is_missing_is_noticed() {
    objects_to(is_window, |results| results.windows.pop().is_some());
    objects_to(|plan| plan.terminal == Terminal::Collect, |results| results.elements.pop().is_some());
    objects_to(|plan| plan.terminal == Terminal::Running, |results| results.running.pop().is_some());
    objects_to(|plan| matches!(plan.terminal, Terminal::Process { .. }), |results| results.tallies.pop().is_some());
    objects_to(|plan| matches!(plan.terminal, Terminal::Cascade { .. }), |results| results.windows.pop().is_some());
}

#[test]
fn a_result_that_comes_twice_is_noticed() {
    objects_to(is_window, |results| {
        results.windows.extend(results.windows.last().cloned());
        !results.windows.is_empty()
    });
}

#[test]
fn a_record_in_a_window_that_is_not_its_own_is_noticed() {
    objects_to(is_window, |results| {
        results.windows.iter_mut().any(|window| {
            window.start += 1;
            true
        })
    });
    objects_to(is_window, |results| results.windows.iter_mut().any(|window| window.ids.pop().is_some()));
}

#[test]
fn a_wrong_sum_is_noticed() {
    objects_to(is_window, |results| {
        results.windows.iter_mut().any(|window| {
            window.sum += 1;
            true
        })
    });
}

#[test]
fn a_timer_whose_output_carries_another_time_is_noticed() {
    let is_process = |plan: &ElementsPlan| matches!(plan.terminal, Terminal::Process { .. });
    objects_to(is_process, |results| {
        results.timers.iter_mut().any(|window| {
            (window.start, window.end) = (window.end, 2 * window.end - window.start);
            true
        })
    });
    objects_to(is_process, |results| results.timers.iter_mut().any(|window| window.timers.pop().is_some()));
}

#[test]
fn a_late_record_that_is_lost_or_comes_twice_is_noticed() {
    objects_to(is_window, |results| results.late.pop().is_some());
    objects_to(is_window, |results| {
        results.late.extend(results.late.last().cloned());
        !results.late.is_empty()
    });
}

/// Tampers with the files of the first flights job that `tamper` can change.
#[track_caller]
fn objects_to_files(tamper: impl Fn(&str, &mut Vec<u8>) -> bool) {
    for scenario in scenarios(|job| matches!(job, JobPlan::Flights(FlightsPlan { .. }))).take(300) {
        let (end, mut files) = ended(&scenario);
        if end.result.is_err() {
            continue;
        }
        assert_eq!(verdict(&scenario, &end, &files), "", "seed {}", scenario.seed);
        if files.iter_mut().any(|(path, content)| tamper(path, content)) {
            assert!(verdict(&scenario, &end, &files).contains("oracle reference"), "seed {}", scenario.seed);
            return;
        }
    }
    panic!("no scenario has what was to be changed");
}

#[test]
fn a_line_that_is_missing_from_any_output_is_noticed() {
    for folder in OUTPUTS {
        objects_to_files(|path, content| {
            let rows = csv::rows(content);
            let meant = path.starts_with(folder) && path.contains("/part-") && rows.len() > 1;
            if meant {
                let last = rows.last().unwrap().text.len() + 1;
                content.truncate(content.len() - last);
            }
            meant
        });
    }
}

#[test]
fn a_wrong_number_in_a_result_is_noticed() {
    objects_to_files(|path, content| {
        let digit = content.iter().rposition(u8::is_ascii_digit).filter(|_| path.starts_with(OUTPUTS[0]) && path.contains("/part-"));
        if let Some(at) = digit {
            content[at] = b'0' + (content[at] - b'0' + 1) % 10;
        }
        digit.is_some()
    });
}

#[test]
fn a_job_that_does_not_wait_for_room_or_does_not_use_it_is_noticed() {
    let full = (0..).map(Scenario::draw).filter(|scenario| scenario.lives.is_none() && scenario.interference.is_full_disk());
    let mut runs = full.map(|scenario| (ended(&scenario), scenario));
    let ((mut end, files), scenario) = runs.find(|((end, _), _)| end.result.is_ok()).unwrap();
    assert_eq!(verdict(&scenario, &end, &files), "", "seed {}", scenario.seed);
    assert!(verdict_at(ROOM_USED_MS + 1, &scenario, &end, &files).contains("there was room"), "seed {}", scenario.seed);
    let source = IoError::new("write to", "/results/part", std::io::ErrorKind::StorageFull.into());
    end.result = Err(JobError::Sink { operator: "file".to_owned(), subtask: 0, source });
    assert_ne!(verdict(&scenario, &end, &[]), "");
}
