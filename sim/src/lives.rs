//! Runs a scenario with several lives: the job is killed, stopped, fails, and is restarted on the same disk until it has finished; then once more, when it
//! must report that and change nothing. Judges the state after every life and in the end.

use crate::finding::{Finding, FindingKind};
use crate::judge;
use crate::marks::{Marks, killed_at, sometimes};
use crate::oracles::{Acknowledgements, Alignment, Bounds, Coverage, Cuts, Ledger, SavedWatermarks, ShadowRestore, Shadows};
use crate::oracles::{Transactions, Watermarks, Windows};
use crate::run::{ElementsResults, Report, windows_of};
use crate::runs::Runs;
use crate::scenario::elements_job::{self, Place, Poison};
use crate::scenario::interference::start_at;
use crate::scenario::lives_plan::{CHECKPOINTS, Life, LivesPlan, PATIENT_TIMEOUT_US, Trouble};
use crate::scenario::{JobPlan, Scenario};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use thalweg::{JobControl, JobEnding, JobError, JobReport, Restore, StreamExecutionEnvironment};
use thalweg_io::{Rng, SplitMix};
use thalweg_storage::checkpoint::Retained;
use thalweg_world::World;
use thalweg_world::{Ending, Outcome};
use thalweg_world::{IncarnationEnd, KillKind, Killed};
use thalweg_world::{Rot, StillDisk, at_once};

type JobResult = Result<JobReport, JobError>;

/// The path and the content of a file before it was damaged.
type Saved = (PathBuf, Vec<u8>);

/// The state gathered over the lives.
struct Course<'a> {
    scenario: &'a Scenario,
    plan: &'a LivesPlan,
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    coverage: Coverage,
    watermarks: SavedWatermarks,
    shadows: Shadows,
    marks: Marks,
    runs: Runs<'a>,
    deaths: BTreeMap<&'static str, u64>,
    /// How many more times the user's map panics.
    poison_times: Arc<AtomicU32>,
    story: Vec<String>,
}

/// How a life went.
enum LifeEnd {
    Killed,
    /// The job reports that it has finished.
    Done(JobReport),
    /// The job can be resumed.
    Interrupted,
    /// The job refused to start because of a damaged file.
    Refused,
}

/// Runs a scenario that has lives.
pub(crate) fn run_once(scenario: &Scenario, plan: &LivesPlan) -> Report {
    let world = World::new(scenario.seed, scenario.world.clone());
    let mut unable = None;
    if let JobPlan::Flights(flights) = &scenario.job {
        unable = flights.prepare(world.disk()).err();
    }
    let ledger = Ledger::new(world.disk().clone(), scenario.job.result_folders(), CHECKPOINTS);
    let mut course = Course {
        scenario,
        plan,
        ledger,
        shadows: Shadows::new(world.disk().clone(), &scenario.job, plan.drains()),
        world,
        coverage: Coverage::of_windows(windows_of(&scenario.job).values().map(|plan| plan.lateness_ms).max().unwrap_or(0)),
        watermarks: SavedWatermarks::default(),
        marks: Marks::default(),
        runs: Runs::of(scenario),
        deaths: BTreeMap::new(),
        poison_times: Arc::default(),
        story: vec![],
    };
    let finding = match unable {
        Some(error) => Some(Finding::wrong("simulator", format!("the input cannot be put on the disk: {error}"))),
        None => course.run().err(),
    };
    let mut marks = course.marks;
    marks.merge(&course.coverage.marks());
    let mut injected = course.world.disk().injected();
    for (name, count) in &course.deaths {
        *injected.entry(name).or_default() += count;
    }
    course.runs.report(finding, marks, injected, course.shadows.compared(), &course.story)
}

fn violation(reason: String) -> Finding {
    Finding::wrong("transactions", reason)
}

impl Course<'_> {
    fn run(&mut self) -> Result<(), Finding> {
        self.watch();
        let mut damage: Option<Saved> = None;
        let mut lives = self.plan.lives.iter().enumerate();
        let mut spoils_newest = self.plan.spoils_newest;
        // The loss of a temporary file does not matter, and of a head only the name counts.
        let is_spared = |path: &Path| [".tmp", ".head"].iter().any(|end| path.to_string_lossy().ends_with(end));
        let is_durable_file = |path: &Path| path.starts_with(CHECKPOINTS) && !is_spared(path);
        let (report, last) = loop {
            let Some((number, life)) = lives.next() else {
                return Err(Finding {
                    kind: FindingKind::NoProgress,
                    oracle: "liveness".to_owned(),
                    reason: "the healed life was not the last".to_owned(),
                });
            };
            if let Some(rot) = life.rot {
                damage = damage.or_else(|| self.rot(rot, is_durable_file));
            }
            if let Some(rot) = spoils_newest.filter(|_| damage.is_none())
                && let [(newest, _), _, ..] = self.checkpoints().as_slice()
            {
                spoils_newest = None;
                damage = self.rot(rot, |path| path == newest);
            }
            let mut end = self.live(life, number, Restore::Latest, damage.is_some())?;
            if matches!(end, LifeEnd::Refused) {
                let Some(saved) = damage.take() else { return Err(Finding::wrong("ending", "refused without a reason")) };
                self.marks.note("a damaged checkpoint refused");
                end = self.live_in_spite_of_damage(life, number, saved)?;
            }
            match end {
                LifeEnd::Done(report) => break (report, life),
                LifeEnd::Killed | LifeEnd::Interrupted => {}
                LifeEnd::Refused => return Err(Finding::wrong("ending", "the damage was repaired, and the job refused again")),
            }
        };
        if let Some((path, content)) = damage {
            // The file was not needed; from here on the folder must be intact.
            drop(self.world.disk().put(path, content));
        }
        self.ledger.borrow_mut().end_of_job().map_err(violation)?;
        self.results(&report)?;
        self.once_more(last)?;
        let retained_max = self.plan.lives.iter().map(|life| life.checkpoints.retained).max().unwrap_or(1);
        judge::checkpoint_folder(self.world.disk(), retained_max, &self.story)
    }

    /// Repeats the life without faults: from an older checkpoint if an intact one exists, or after the damaged file has been put back.
    fn live_in_spite_of_damage(&mut self, life: &Life, number: usize, (path, content): Saved) -> Result<LifeEnd, Finding> {
        let mut healed = Life { kill: None, trouble: Trouble::None, ..life.clone() };
        healed.checkpoints.timeout_us = PATIENT_TIMEOUT_US;
        match self.older_checkpoint() {
            Some((path, id)) => {
                self.marks.note("gone on from an older checkpoint");
                self.story.push(format!("goes on from checkpoint {id}"));
                self.ledger.borrow_mut().discard_after(id);
                self.live(&healed, number, Restore::From(path), false)
            }
            None => {
                self.story.push("the file is brought back".to_owned());
                drop(self.world.disk().put(path, content));
                self.live(&healed, number, Restore::Latest, false)
            }
        }
    }

    fn watch(&self) {
        let Self { world, coverage, ledger, .. } = self;
        let (coverage, ledger, windows) = (coverage.clone(), Rc::clone(ledger), windows_of(&self.scenario.job));
        world.watch_each(move || coverage.clone());
        let watermarks = self.watermarks.clone();
        world.watch_each(move || Watermarks::of(watermarks.clone()));
        world.watch_each(Bounds::default);
        // If an input may be idle, subtasks may have received different watermarks, and another parallelism mixes their windows.
        let has_idleness = matches!(&self.scenario.job, JobPlan::Elements(plan) if plan.has_idleness());
        world.watch_each(move || Windows::new(windows.clone()).agreeing(!has_idleness));
        world.watch_each(Alignment::default);
        world.watch_each(Cuts::default);
        world.watch_each(Acknowledgements::default);
        world.watch_each(move || Transactions::new(Rc::clone(&ledger)).alone());
        let shadows = self.shadows.clone();
        world.watch_each(move || ShadowRestore::new(shadows.clone()));
    }

    /// Runs one life and judges its leftovers. `is_damaged`: a file of the checkpoint folder is damaged.
    fn live(&mut self, life: &Life, number: usize, restore: Restore, is_damaged: bool) -> Result<LifeEnd, Finding> {
        let disk = self.world.disk().clone();
        disk.heal();
        self.ledger.borrow_mut().older_may_be_damaged = is_damaged;
        let faults_before = disk.faults_injected();
        if let Trouble::Disk(faults) = &life.trouble {
            faults.iter().for_each(|fault| disk.plan_fault(*fault));
        }
        let outcome = self.start(life, restore);
        let ending = self.runs.take_in(outcome);
        if let Some(finding) = Finding::of_ending(&ending) {
            let reason = format!("in life {number} ({}): {}", self.story.join("; "), finding.reason);
            return Err(Finding { reason, ..finding });
        }
        let Ending::Done(end) = ending else { unreachable!("every other ending is a finding") };
        let power_loss = end.killed().is_some_and(|killed| matches!(killed.kind, KillKind::PowerLoss(_)));
        self.story.push(in_words(&end));
        let judged = {
            let mut ledger = self.ledger.borrow_mut();
            if is_damaged { ledger.results_at_end_of_life(power_loss) } else { ledger.end_of_life(power_loss) }
        };
        let is_sick = disk.faults_injected() > faults_before;
        let judged = judged.map_err(violation).and_then(|()| match end {
            IncarnationEnd::Killed(killed) => {
                self.note_death(&killed);
                Ok(LifeEnd::Killed)
            }
            IncarnationEnd::Finished(Ok(report)) => self.take_report(life, report, is_sick, is_damaged),
            IncarnationEnd::Finished(Err(error)) => self.take_error(life, &error, is_sick, is_damaged),
        });
        judged.map_err(|finding| Finding {
            reason: format!("after life {number} ({}): {}", self.story.join("; "), finding.reason),
            ..finding
        })
    }

    fn note_death(&mut self, killed: &Killed) {
        let power_loss = matches!(killed.kind, KillKind::PowerLoss(_));
        *self.deaths.entry(if power_loss { "power loss" } else { "process killed" }).or_default() += 1;
        if let Some(mark) = killed.window.and_then(killed_at) {
            self.marks.note(mark);
            *self.deaths.entry(mark).or_default() += 1;
        }
    }

    /// Handles the report of a life whose job ended without failure.
    fn take_report(&mut self, life: &Life, report: JobReport, is_sick: bool, is_damaged: bool) -> Result<LifeEnd, Finding> {
        sometimes!(self.marks, report.restored.is_some(), "a restored job");
        sometimes!(self.marks, report.restarts > 0, "a restart within a life");
        sometimes!(self.marks, matches!(report.ending, JobEnding::Stopped(_)), "stopped with a checkpoint");
        match report.ending {
            JobEnding::Stopped(_) if matches!(life.trouble, Trouble::Stop(_)) => {
                if !is_sick && !is_damaged {
                    self.ledger.borrow_mut().end_of_job().map_err(violation)?;
                }
                Ok(LifeEnd::Interrupted)
            }
            JobEnding::Stopped(_) => Err(Finding::wrong("ending", "the job says that it was stopped, and nobody stopped it")),
            // Files that could not be removed in this life are removed by the next.
            JobEnding::Finished | JobEnding::AlreadyFinished if is_sick => Ok(LifeEnd::Interrupted),
            JobEnding::Finished | JobEnding::AlreadyFinished => Ok(LifeEnd::Done(report)),
        }
    }

    /// Handles the error of a life whose job failed.
    fn take_error(&mut self, life: &Life, error: &JobError, is_sick: bool, is_damaged: bool) -> Result<LifeEnd, Finding> {
        let reports_damage = matches!(error, JobError::Checkpoint { source, .. } if source.is_damage());
        if is_damaged && reports_damage {
            return Ok(LifeEnd::Refused);
        }
        sometimes!(self.marks, matches!(error, JobError::CheckpointsExpired { .. }), "too many checkpoints expired");
        if explains(life, error, is_sick) && !reports_damage { Ok(LifeEnd::Interrupted) } else { Err(Finding::unexpected(error)) }
    }

    fn start(&self, life: &Life, restore: Restore) -> Outcome<IncarnationEnd<JobResult>> {
        let poison = match life.trouble {
            Trouble::Panics { id, times } => {
                self.poison_times.store(times, Ordering::Relaxed);
                Some(Poison { id, times: Arc::clone(&self.poison_times) })
            }
            _ => None,
        };
        let discards_later_output = matches!(restore, Restore::From(_));
        let (job, life) = (self.scenario.job.clone(), life.clone());
        let place = Place::Files { roll_at_bytes: self.plan.roll_at_bytes };
        self.world.run_incarnation(life.kill, move |cores| async move {
            let env = StreamExecutionEnvironment::new();
            life.apply(&env, restore, discards_later_output);
            match &job {
                JobPlan::Flights(plan) => plan.build(&env),
                JobPlan::Elements(plan) => drop(elements_job::build(&env, plan, poison, place)),
            }
            let handle = env.execute_on("simulated", &cores, life.engine.cores)?;
            let steer: Option<(_, fn(&JobControl))> = match life.trouble {
                Trouble::Stop(moment) => Some((moment, |control| drop(control.stop_with_checkpoint()))),
                Trouble::Drain(moment) => Some((moment, |control| drop(control.stop()))),
                Trouble::Cancel(moment) => Some((moment, |control| drop(control.cancel()))),
                Trouble::None | Trouble::Panics { .. } | Trouble::Disk(_) => None,
            };
            if let Some((moment, act)) = steer {
                start_at(&cores, moment, handle.control(), act);
            }
            handle.await
        })
    }

    /// Damages one of the files of the checkpoint folder that `is_meant` selects; returns its former content.
    fn rot(&mut self, rot: Rot, is_meant: impl Fn(&Path) -> bool) -> Option<Saved> {
        let disk = self.world.disk();
        let before: BTreeMap<String, Vec<u8>> = disk.files(CHECKPOINTS).unwrap_or_default().into_iter().collect();
        let damage = disk.rot(is_meant, rot)?;
        let name = damage.path.file_name()?.to_string_lossy().into_owned();
        self.story.push(format!("{} rots: {:?}", damage.path.display(), damage.rot));
        let content = before.get(&name)?.clone();
        Some((damage.path, content))
    }

    /// A retained checkpoint that is older than the newest and intact.
    fn older_checkpoint(&self) -> Option<(PathBuf, u64)> {
        let still = StillDisk::of(&self.world.disk().model(), Path::new(CHECKPOINTS));
        let is_whole = |path: &Path| at_once(thalweg_storage::checkpoint::load_path(&still, path)).is_ok();
        self.checkpoints().into_iter().skip(1).find(|(path, _)| is_whole(path))
    }

    /// The metadata of the retained checkpoints and their numbers, the newest first; none if the log cannot be read.
    fn checkpoints(&self) -> Vec<(PathBuf, u64)> {
        let still = StillDisk::of(&self.world.disk().model(), Path::new(CHECKPOINTS));
        let listing = at_once(thalweg_storage::checkpoint::list(&still, Path::new(CHECKPOINTS)));
        let retained = listing.map_or_else(|_| vec![], |listing| listing.checkpoints);
        let of_one = |retained: &Retained| (Path::new(CHECKPOINTS).join(&retained.metadata.name), retained.id.0);
        retained.iter().map(|summary| of_one(&summary.retained)).collect()
    }

    /// Files in the folders of results, with their contents.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.world.disk().files_in(&self.scenario.job.result_folders())
    }

    fn results(&mut self, report: &JobReport) -> Result<(), Finding> {
        let files = self.files();
        let drained = self.plan.drains();
        let judged = match &self.scenario.job {
            JobPlan::Flights(plan) => judge::flights_of_lives(plan, self.scenario, &files, report, drained, &mut self.marks),
            JobPlan::Elements(plan) => {
                let results = ElementsResults::of_files(plan, &files).map_err(|reason| Finding::wrong("visibility", reason))?;
                judge::elements_of_lives(plan, &results, report, drained, &mut self.marks)
            }
        };
        judged.map_err(|finding| Finding { reason: format!("after {}: {}", self.story.join("; "), finding.reason), ..finding })
    }

    /// Runs the job again: nothing is left to do, and nothing changes.
    fn once_more(&mut self, last: &Life) -> Result<(), Finding> {
        let before = self.files();
        let mut stream = SplitMix::stream(self.scenario.seed, "once-more");
        let mut life = Life { kill: None, trouble: Trouble::None, rot: None, ..last.clone() };
        life.engine.parallelism = 1 + stream.below(7) as usize;
        match self.live(&life, self.plan.lives.len(), Restore::Latest, false)? {
            LifeEnd::Done(report) if report.ending == JobEnding::AlreadyFinished && report.checkpoints == 0 => {}
            _ => return Err(Finding::wrong("ending", format!("the job had finished, and then: {}", self.story.join("; ")))),
        }
        if self.files() == before {
            Ok(())
        } else {
            Err(Finding::wrong("transactions", "running the finished job again has changed its results"))
        }
    }
}

/// Describes how a life ended.
fn in_words(end: &IncarnationEnd<JobResult>) -> String {
    match end {
        IncarnationEnd::Killed(killed) => killed.to_string(),
        IncarnationEnd::Finished(Ok(report)) => {
            format!("{:?} after {} restarts and {} checkpoints", report.ending, report.restarts, report.checkpoints)
        }
        IncarnationEnd::Finished(Err(error)) => format!("failed: {error}"),
    }
}

/// Whether the life's plan explains this error.
fn explains(life: &Life, error: &JobError, is_sick: bool) -> bool {
    let is_io = match error {
        JobError::Source { .. } | JobError::Sink { .. } => true,
        JobError::Checkpoint { source, .. } => !source.is_fenced() && !source.is_damage(),
        // A folder that cannot be created or read.
        JobError::Invalid(refusal) => refusal.reason().contains("choose another output folder"),
        _ => false,
    };
    match (&life.trouble, error) {
        (_, JobError::CheckpointsExpired { .. }) => {
            life.checkpoints.timeout_us < PATIENT_TIMEOUT_US || matches!(life.trouble, Trouble::Disk(_))
        }
        (Trouble::Panics { .. }, JobError::UserPanic { message, .. }) => message.contains("a planned panic"),
        (Trouble::Stop(_) | Trouble::Cancel(_), JobError::Cancelled) => true,
        _ => is_sick && is_io,
    }
}
