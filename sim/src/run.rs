//! Runs a scenario: builds its world, starts its job as production does, waits for its end, and judges.

use crate::clusters;
use crate::finding::Finding;
use crate::judge::{Evidence, judge};
use crate::lives;
use crate::marks::{Marks, sometimes};
use crate::oracles::{Bounds, Compared, Coverage, Visibility, Watermarks, Windows};
use crate::scenario::elements::{Element, Running, Tally, TimersInWindow, WindowResult};
use crate::scenario::elements_job::{self, ElementsOutputs, Place, Poison, RESULTS};
use crate::scenario::elements_plan::{ElementsPlan, Terminal, WindowPlan};
use crate::scenario::flights_plan::{FlightsPlan, OUTPUTS};
use crate::scenario::interference::Interference;
use crate::scenario::lines::Line;
use crate::scenario::{FIRST_WINDOW, JobPlan, SECOND_WINDOW, Scenario};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use thalweg::{Collected, JobError, JobReport, StreamExecutionEnvironment};
use thalweg_world::TraceEvent;
use thalweg_world::World;
use thalweg_world::{CrashStyle, FaultCounts, only_faults};
use thalweg_world::{Ending, Outcome, RunStats};

/// One in this many seeds is run a second time, to check that it takes the same steps.
const REPEATED_ONE_IN: u64 = 20;
/// One in this many seeds is run with another engine in another world, to check that the results are the same.
const ELSEWHERE_ONE_IN: u64 = 10;

/// The report of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The shape under which its job is counted.
    pub shape: &'static str,
    /// The finding, if it failed.
    pub finding: Option<Finding>,
    /// Rolling hash of all events.
    pub trace_hash: u64,
    /// The cost of the run.
    pub stats: RunStats,
    /// The marks it has seen.
    pub marks: Marks,
    /// Injected faults by family.
    pub faults: BTreeMap<&'static str, u64>,
    /// Its completed checkpoints, and how many of them were compared with the reference.
    pub compared: Compared,
    /// How the run ended, for people.
    pub ending: String,
    /// The last events of the run, or all of them if requested.
    pub events: Vec<TraceEvent>,
}

/// How a job ended, and its results in memory at that time.
pub(crate) struct RunEnd {
    pub(crate) result: Result<JobReport, JobError>,
    pub(crate) observed: Observed,
}

/// The in-memory results of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// None: the results are in files.
    Files,
    /// The results that the sinks of a job of elements have collected.
    Elements(Box<ElementsResults>),
}

/// The results that the sinks of a job of elements have collected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ElementsResults {
    pub(crate) elements: Vec<Element>,
    pub(crate) windows: Vec<WindowResult>,
    pub(crate) late: Vec<Element>,
    pub(crate) second_late: Vec<Element>,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) late_tallies: Vec<Tally>,
    pub(crate) timers: Vec<TimersInWindow>,
    pub(crate) running: Vec<Running>,
    pub(crate) shared: Vec<Vec<u64>>,
}

impl ElementsResults {
    fn of(outputs: &ElementsOutputs) -> Self {
        fn take<T: thalweg::Record>(collected: &Option<Collected<T>>) -> Vec<T> {
            collected.as_ref().map(Collected::take).unwrap_or_default()
        }
        Self {
            elements: take(&outputs.elements),
            windows: take(&outputs.windows),
            late: take(&outputs.late),
            second_late: take(&outputs.second_late),
            tallies: take(&outputs.tallies),
            late_tallies: take(&outputs.late_tallies),
            timers: take(&outputs.timers),
            running: take(&outputs.running),
            shared: outputs.shared.iter().map(Collected::take).collect(),
        }
    }

    /// Reads the results of a job that has written them into `files`.
    pub(crate) fn of_files(plan: &ElementsPlan, files: &[(String, Vec<u8>)]) -> Result<Self, String> {
        fn read<T: Line>(files: &[(String, Vec<u8>)], sink: &str) -> Result<Vec<T>, String> {
            let mut records = vec![];
            for (path, content) in files.iter().filter(|(path, _)| path.starts_with(&format!("{RESULTS}/{sink}/"))) {
                let text = std::str::from_utf8(content).map_err(|error| format!("{path}: {error}"))?;
                if text.is_empty() || !text.ends_with('\n') {
                    return Err(format!("{path} does not end with a whole line: {:?}", text.lines().last()));
                }
                for line in text.lines() {
                    records.push(T::of_line(line).ok_or_else(|| format!("{path} has the line {line:?}"))?);
                }
            }
            Ok(records)
        }
        let shared = (0..plan.shared_streams()).map(|number| read(files, &format!("shared-{number}")));
        Ok(Self {
            elements: read(files, "elements")?,
            windows: read(files, "windows")?,
            late: read(files, "late")?,
            second_late: read(files, "second-late")?,
            tallies: read(files, "tallies")?,
            late_tallies: read(files, "late-tallies")?,
            timers: read(files, "timers")?,
            running: read(files, "running")?,
            shared: shared.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self { shared: self.shared.iter().map(|_| vec![]).collect(), ..Self::default() }
    }

    /// The ids of all records that contributed to a result.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        let elements = self.elements.iter().chain(&self.late).map(|element| element.id);
        let windows = self.windows.iter().flat_map(|result| result.ids.iter().copied());
        elements.chain(windows).chain(self.tallies.iter().flat_map(|tally| tally.ids.iter().copied()))
    }
}

/// Runs the scenario of `seed`; for some seeds, more than once.
#[must_use]
pub fn run_seed(seed: u64) -> Report {
    let scenario = Scenario::draw(seed);
    let mut report = run_once(&scenario);
    if report.finding.is_none() && seed.is_multiple_of(REPEATED_ONE_IN) {
        report.finding = same_again(&scenario, &report);
    }
    if report.finding.is_none() && seed % ELSEWHERE_ONE_IN == 1 {
        report.finding = same_elsewhere(&scenario);
    }
    report
}

/// Runs the scenario a second time: it must take the same steps.
fn same_again(scenario: &Scenario, first: &Report) -> Option<Finding> {
    let second = run_once(scenario);
    let same = (first.trace_hash, first.stats, &first.finding) == (second.trace_hash, second.stats, &second.finding);
    let hashes = format!("{:016x} and then {:016x}", first.trace_hash, second.trace_hash);
    (!same).then(|| Finding::wrong("determinism", format!("the same seed took other steps the second time: {hashes}")))
}

/// Runs the same job with another engine in another world, without interference: the results are judged by the same reference.
fn same_elsewhere(scenario: &Scenario) -> Option<Finding> {
    let elsewhere = scenario.elsewhere();
    let finding = run_once(&elsewhere).finding?;
    let reason = format!("with another engine and another world ({:?}): {}", elsewhere.engine, finding.reason);
    Some(Finding { oracle: format!("metamorphic/{}", finding.oracle), reason, ..finding })
}

/// Runs a scenario once.
#[must_use]
pub fn run_once(scenario: &Scenario) -> Report {
    if let Some(plan) = &scenario.cluster {
        return clusters::run_once(scenario, plan);
    }
    if let Some(plan) = &scenario.lives {
        return lives::run_once(scenario, plan);
    }
    let Execution { outcome, coverage, files, lost, injected } = match execute(scenario) {
        Ok(execution) => execution,
        Err(finding) => return Report::unable(scenario, finding),
    };
    let Outcome { ending, trace_hash, stats, last_events, .. } = outcome;
    let mut marks = coverage.marks();
    note_setting(scenario, &mut marks);
    let said = match &ending {
        Ending::Done(RunEnd { result: Ok(_), .. }) => "the job has finished".to_owned(),
        Ending::Done(RunEnd { result: Err(error), .. }) => format!("the job has ended: {error}"),
        bad => bad.to_string(),
    };
    let finding = match &ending {
        Ending::Done(end) => {
            let disk_faults = match &end.result {
                Ok(_) => coverage.faults_at_commit().unwrap_or(stats.disk_faults),
                Err(_) => stats.disk_faults,
            };
            let ended_ms = stats.elapsed_ns / 1_000_000;
            let evidence = Evidence { end, has_committed: coverage.has_committed(), disk_faults, ended_ms, files: &files };
            let durable =
                || lost.map(|path| Finding::wrong("durability", format!("the job had finished when power was lost, and with it {path}")));
            judge(scenario, &evidence, &mut marks).err().or_else(durable)
        }
        bad => Finding::of_ending(bad),
    };
    let faults = faults_of(scenario, injected);
    let compared = Compared::default();
    Report {
        seed: scenario.seed,
        shape: scenario.shape(),
        finding,
        trace_hash,
        stats,
        marks,
        faults,
        compared,
        ending: said,
        events: last_events,
    }
}

impl Report {
    /// The report of a scenario that could not even begin, which is a defect of the simulator.
    fn unable(scenario: &Scenario, finding: Finding) -> Self {
        Self {
            seed: scenario.seed,
            shape: scenario.shape(),
            finding: Some(finding),
            trace_hash: 0,
            stats: RunStats::default(),
            marks: Marks::default(),
            faults: BTreeMap::new(),
            compared: Compared::default(),
            ending: "not begun".to_owned(),
            events: vec![],
        }
    }
}

/// A run that has ended and has not been judged yet.
pub(crate) struct Execution {
    pub(crate) outcome: Outcome<RunEnd>,
    pub(crate) coverage: Coverage,
    /// Files in the folders of results, with their contents.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// A result of a finished job that a power loss right after its end took away or changed.
    pub(crate) lost: Option<String>,
    /// The disk faults injected while the job ran.
    pub(crate) injected: FaultCounts,
}

/// Runs a scenario, watched by the oracles.
pub(crate) fn execute(scenario: &Scenario) -> Result<Execution, Finding> {
    let world = World::new(scenario.seed, scenario.world.clone());
    if let JobPlan::Flights(plan) = &scenario.job {
        let cannot = |error| Finding::wrong("simulator", format!("the input cannot be put on the disk: {error}"));
        plan.prepare(world.disk()).map_err(cannot)?;
        world.watch(Visibility::new(world.disk().clone(), &OUTPUTS));
    }
    let coverage = Coverage::of(world.disk().clone());
    world.watch(coverage.clone());
    world.watch(Watermarks::default());
    world.watch(Bounds::default());
    world.watch(Windows::new(windows_of(&scenario.job)));
    let outcome = start(&world, scenario);
    let injected = world.disk().injected();
    let files = world.disk().files_in(&OUTPUTS);
    let finished = matches!(&outcome.ending, Ending::Done(RunEnd { result: Ok(_), .. }));
    let lost = (finished && matches!(scenario.job, JobPlan::Flights(_))).then(|| {
        world.disk().crash(CrashStyle::LoseUnsynced);
        let durable = world.disk().files_in(&OUTPUTS);
        files.iter().filter(|(path, _)| !is_hidden(path)).find(|file| !durable.contains(file)).map(|(path, _)| path.clone())
    });
    Ok(Execution { outcome, coverage, files, lost: lost.flatten(), injected })
}

/// Whether the last component of a path begins with a dot.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}

/// Starts the job inside the world and waits for its end.
fn start(world: &World, scenario: &Scenario) -> Outcome<RunEnd> {
    let Scenario { job, engine, interference, .. } = scenario.clone();
    world.run(move |cores| async move {
        let env = StreamExecutionEnvironment::new();
        engine.apply(&env);
        let outputs = match &job {
            JobPlan::Flights(plan) => {
                plan.build(&env);
                None
            }
            JobPlan::Elements(plan) => {
                let poison = match interference {
                    Interference::Panic { id } => Some(Poison { id, times: Arc::new(AtomicU32::new(u32::MAX)) }),
                    _ => None,
                };
                Some(elements_job::build(&env, plan, poison, Place::Memory))
            }
        };
        let result = match env.execute_on("simulated", &cores, engine.cores) {
            Ok(handle) => {
                interference.start(&cores, handle.control());
                handle.await
            }
            Err(error) => Err(error),
        };
        let observed = outputs.map_or(Observed::Files, |outputs| Observed::Elements(Box::new(ElementsResults::of(&outputs))));
        RunEnd { result, observed }
    })
}

/// The windowed operators of a job, by their names.
pub(crate) fn windows_of(job: &JobPlan) -> BTreeMap<&'static str, WindowPlan> {
    let tumbling = |size_ms| WindowPlan { size_ms, slide_ms: None, offset_ms: 0, lateness_ms: 0 };
    match job {
        JobPlan::Flights(FlightsPlan { window_ms, .. }) => BTreeMap::from([("window", tumbling(*window_ms))]),
        JobPlan::Elements(ElementsPlan { terminal, .. }) => match *terminal {
            Terminal::Window(window) => BTreeMap::from([(FIRST_WINDOW, window)]),
            Terminal::Cascade { first_ms, second_ms } => {
                BTreeMap::from([(FIRST_WINDOW, tumbling(first_ms)), (SECOND_WINDOW, tumbling(second_ms))])
            }
            Terminal::Process { span_ms, .. } => BTreeMap::from([(SECOND_WINDOW, tumbling(span_ms))]),
            Terminal::Collect | Terminal::Running => BTreeMap::new(),
        },
    }
}

/// Notes the marks that follow from the plan alone.
fn note_setting(scenario: &Scenario, marks: &mut Marks) {
    let settings = &scenario.engine.settings;
    sometimes!(marks, settings.frame_records == 1, "frames of one record");
    sometimes!(marks, settings.channel_frames == 1, "channels with room for one frame");
    let readers_and_splits: Vec<(usize, usize)> = match &scenario.job {
        JobPlan::Flights(plan) => vec![(scenario.engine.parallelism, plan.files.len())],
        JobPlan::Elements(plan) => {
            let of_source = |source: &crate::scenario::elements_plan::SourcePlan| {
                (source.parallelism.unwrap_or(scenario.engine.parallelism), source.splits.len())
            };
            plan.sources.iter().map(of_source).collect()
        }
    };
    sometimes!(marks, readers_and_splits.iter().any(|(readers, splits)| splits > readers), "more splits than readers");
    sometimes!(marks, readers_and_splits.iter().any(|(readers, splits)| readers > splits), "a reader without a split");
}

/// Injected faults by family.
fn faults_of(scenario: &Scenario, injected: FaultCounts) -> BTreeMap<&'static str, u64> {
    let mut faults = BTreeMap::new();
    let family = match scenario.interference {
        Interference::None => return faults,
        Interference::Panic { .. } => "user panic",
        Interference::Cancel(_) => "cancel",
        Interference::Stop(_) => "stop",
        Interference::Silence { .. } => "silence",
        Interference::SmallDisk { .. } => "disk too small",
        // Counted by its name.
        Interference::DiskFault(_) => return only_faults(injected),
    };
    faults.insert(family, 1);
    faults
}
