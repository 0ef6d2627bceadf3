//! Judges a run by its end: whether the job ended as the scenario demands, and whether its results equal the reference's.

mod elements;
mod flights;
mod leftovers;
#[cfg(test)]
mod tests;

use crate::finding::{Finding, FindingKind};
use crate::marks::{Marks, sometimes};
use crate::run::{ElementsResults, Observed, RunEnd};
use crate::scenario::elements_plan::ElementsPlan;
use crate::scenario::flights_plan::{Before, FlightsPlan, INPUT};
use crate::scenario::interference::{Interference, ROOM_FROM_MS, ROOM_USED_MS};
use crate::scenario::{GUARDED, JobPlan, Scenario};
pub(crate) use leftovers::checkpoint_folder;
use thalweg::{JobError, JobReport};
use thalweg_world::DiskFaultKind;

/// The evidence that a judge needs besides the scenario.
pub(crate) struct Evidence<'a> {
    pub(crate) end: &'a RunEnd,
    /// Whether the commit had begun.
    pub(crate) has_committed: bool,
    /// The number of injected disk faults.
    pub(crate) disk_faults: u64,
    /// The time of the end, in milliseconds from the start.
    pub(crate) ended_ms: u64,
    /// Files in the folders of results, with their contents.
    pub(crate) files: &'a [(String, Vec<u8>)],
}

/// Judges the final results of the flights job, over all its lives.
pub(crate) fn flights_of_lives(
    plan: &FlightsPlan,
    scenario: &Scenario,
    files: &[(String, Vec<u8>)],
    report: &JobReport,
    drained: bool,
    marks: &mut Marks,
) -> Result<(), Finding> {
    flights::results(plan, scenario, files, report, drained, marks)
}

/// Judges the final results of a job of elements, over all its lives.
pub(crate) fn elements_of_lives(
    plan: &ElementsPlan,
    results: &ElementsResults,
    report: &JobReport,
    drained: bool,
    marks: &mut Marks,
) -> Result<(), Finding> {
    elements::results(plan, results, report, drained, true, marks)
}

/// Judges the run of `scenario`.
pub(crate) fn judge(scenario: &Scenario, evidence: &Evidence<'_>, marks: &mut Marks) -> Result<(), Finding> {
    match &evidence.end.result {
        Err(error) => {
            failure(scenario, evidence, error, marks)?;
            match &scenario.job {
                JobPlan::Flights(plan) => flights::nothing_is_left(plan, scenario, evidence),
                JobPlan::Elements(_) => elements::nothing_is_left(&evidence.end.observed),
            }
        }
        Ok(report) => {
            success(scenario, evidence, marks)?;
            let stopped = matches!(scenario.interference, Interference::Stop(_) | Interference::Silence { .. });
            match (&scenario.job, &evidence.end.observed) {
                (JobPlan::Elements(plan), Observed::Elements(results)) => elements::results(plan, results, report, stopped, false, marks),
                (JobPlan::Flights(plan), _) => flights::results(plan, scenario, evidence.files, report, stopped, marks),
                (JobPlan::Elements(_), Observed::Files) => Err(Finding::wrong("ending", "a job on elements left files")),
            }
        }
    }
}

/// Judges whether the job may have failed with this error.
fn failure(scenario: &Scenario, evidence: &Evidence<'_>, error: &JobError, marks: &mut Marks) -> Result<(), Finding> {
    let text = error.to_string();
    let names_a_path = text.contains(INPUT) || text.contains("/results") || text.contains(" /: ");
    let is_io = matches!(error, JobError::Source { .. } | JobError::Sink { .. }) && names_a_path;
    let is_expected = match scenario.interference {
        Interference::Panic { id } => {
            marks.note("a user's panic");
            let JobError::UserPanic { operator, record, message, .. } = error else { return Err(Finding::unexpected(error)) };
            operator.starts_with(GUARDED) && record.contains(&format!("id: {id},")) && message.contains("a planned panic")
        }
        Interference::Cancel(_) => {
            marks.note("a cancellation before the commit");
            matches!(error, JobError::Cancelled)
        }
        Interference::DiskFault(fault) if !is_waited_for(fault.kind) => {
            sometimes!(marks, fault.kind == DiskFaultKind::Error, "EIO");
            is_io && evidence.disk_faults > 0
        }
        Interference::Silence { records } if matches!(error, JobError::Cancelled) => {
            let reason = format!("the input has fallen silent, and not all of the {records} records before that have arrived");
            return Err(Finding { kind: FindingKind::NoProgress, oracle: "liveness".to_owned(), reason });
        }
        // Before any record was read there is no input to end.
        Interference::Stop(_) => matches!(error, JobError::Cancelled) && !evidence.has_committed,
        // A full disk is waited out.
        Interference::DiskFault(_) | Interference::SmallDisk { .. } | Interference::None | Interference::Silence { .. } => false,
    };
    let is_refusal = matches!(&scenario.job, JobPlan::Flights(FlightsPlan { before: Before::ResultsToKeep, .. }))
        && matches!(error, JobError::Invalid(_))
        && names_a_path;
    if is_expected || is_refusal { Ok(()) } else { Err(Finding::unexpected(error)) }
}

/// Whether a job waits for the end of this fault instead of failing.
fn is_waited_for(fault: DiskFaultKind) -> bool {
    matches!(fault, DiskFaultKind::Stall { .. } | DiskFaultKind::Full)
}

/// Judges whether the job may have finished.
fn success(scenario: &Scenario, evidence: &Evidence<'_>, marks: &mut Marks) -> Result<(), Finding> {
    let is_full = matches!(scenario.interference, Interference::SmallDisk { .. }) || evidence.disk_faults > 0;
    sometimes!(marks, scenario.interference.is_full_disk() && is_full, "ENOSPC");
    let reason = match scenario.interference {
        interference if interference.is_full_disk() && evidence.ended_ms > ROOM_USED_MS => {
            format!("there was room from {ROOM_FROM_MS} ms on, but the job finished only at {} ms", evidence.ended_ms)
        }
        Interference::Panic { id } => format!("the map panics at record {id}, but the job finished"),
        Interference::DiskFault(fault) if evidence.disk_faults > 0 && !is_waited_for(fault.kind) => {
            format!("{fault:?} was injected, but the job finished as if nothing had happened")
        }
        _ if matches!(&scenario.job, JobPlan::Flights(FlightsPlan { before: Before::ResultsToKeep, .. })) => {
            "there were results to keep, but the job was not refused".to_owned()
        }
        _ if !evidence.has_committed => "the job finished without a commit".to_owned(),
        _ => return Ok(()),
    };
    Err(Finding::wrong("ending", reason))
}
