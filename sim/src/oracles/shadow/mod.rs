//! The shadow restore: every checkpoint that completes, or from which a job goes on, is opened on its own, and what it holds is what the reference gives at its
//! cut (docs/src/semantics.md#c-1, #c-5, #c-6).
//!
//! The positions of the sources tell which records had been read at the cut. Barriers are aligned and nothing is in flight, so exactly those records have
//! reached the last operators; the reference computes from them, and from the watermark that each subtask has saved, what its state has to be
//! ([`Cut`], [`Keyed`]). The checkpoint is opened with the engine's own code, at several parallelisms, each of which has to find every entry once, where
//! its key belongs. The results that the checkpoint shows, or will show when it is committed, are compared as well.
//!
//! What is left out: state that depends on the wall clock (timers of processing time), the generators of watermarks behind an exchange, which forget whose
//! records they saw, and jobs on flights, whose checkpoints are counted as not compared. Sliding windows that a late record may have missed are compared
//! as far as that goes, and are not counted as compared exactly.
//!
//! The oracle looks at the disk as a power loss would leave it, draws nothing, and changes nothing.

mod cut;
mod keyed;
mod results;
mod tallies;
mod windows;

use crate::reference::{difference, elements as interpreter, lateness};
use crate::run::ElementsResults;
use crate::scenario::JobPlan;
use crate::scenario::elements::{Element, Running};
use crate::scenario::elements_job::{Gathered, KEYED_UID, SECOND_UID};
use crate::scenario::elements_plan::{ElementsPlan, Terminal, WindowPlan};
use crate::scenario::lives_plan::CHECKPOINTS;
use cut::Cut;
use keyed::Keyed;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use thalweg::CheckpointReader;
use thalweg_io::ProbeEvent;
use thalweg_storage::checkpoint::{Place, checkpoint_of_state_file};
use thalweg_world::{Oracle, SimulatedDisk, StillDisk, Violation, at_once};

/// The most checkpoints of one scenario that are looked at: the first ones. Few scenarios have as many.
const LOOKED_AT_MAX: u64 = 200;

/// How many checkpoints have completed, and how many of them were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Completed checkpoints.
    pub seen: u64,
    /// Those whose state, results and positions were all compared, and in full.
    pub exactly: u64,
}

impl Compared {
    /// The share of those that were compared, in per cent; all, if there were none.
    #[must_use]
    pub fn per_cent(self) -> u64 {
        (self.exactly * 100).checked_div(self.seen).unwrap_or(100)
    }
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Self) {
        self.seen += other.seen;
        self.exactly += other.exactly;
    }
}

/// The checkpoints of one scenario. Outlives the incarnations: clones share it.
#[derive(Clone)]
pub(crate) struct Shadows {
    disk: SimulatedDisk,
    folders: Rc<Vec<String>>,
    /// `None` for a job that is not compared.
    job: Option<Rc<ElementsPlan>>,
    /// Whether sources may be told to end where they are, which no position tells.
    drains: bool,
    compared: Rc<RefCell<Compared>>,
    /// The newest that is known to be complete.
    newest: Rc<Cell<u64>>,
    /// Sources whose splits may have lost their generators: see [`Cut::generators`].
    behind_exchange: Rc<RefCell<BTreeSet<usize>>>,
    /// Whether an operator with keyed state had ended in part at a checkpoint.
    has_ended_owner: Rc<Cell<bool>>,
}

impl Shadows {
    /// The checkpoints of `job` on `disk`.
    pub(crate) fn new(disk: SimulatedDisk, job: &JobPlan, drains: bool) -> Self {
        let plan = match job {
            JobPlan::Elements(plan) => Some(Rc::new(plan.clone())),
            JobPlan::Flights(_) => None,
        };
        Self {
            disk,
            folders: Rc::new(job.result_folders()),
            job: plan,
            drains,
            compared: Rc::default(),
            newest: Rc::default(),
            behind_exchange: Rc::default(),
            has_ended_owner: Rc::default(),
        }
    }

    /// The count so far.
    pub(crate) fn compared(&self) -> Compared {
        *self.compared.borrow()
    }

    /// An attempt goes on from checkpoint `id`. If nobody has heard that it is complete, whoever completed it died before it could say so.
    fn restored(&self, id: u64) -> Result<(), String> {
        if id == 0 || self.newest.get() >= id { Ok(()) } else { self.complete(id) }
    }

    /// Checkpoint `id` is complete.
    fn complete(&self, id: u64) -> Result<(), String> {
        self.newest.set(id);
        let seen = {
            let mut compared = self.compared.borrow_mut();
            compared.seen += 1;
            compared.seen
        };
        let Some(plan) = &self.job else { return Ok(()) };
        // What an operator had when its input ended is not saved, and later checkpoints lack it: nothing will need it again.
        if seen > LOOKED_AT_MAX || self.has_ended_owner.get() {
            return Ok(());
        }
        let still = StillDisk::of_durable(&self.disk.model(), Path::new(CHECKPOINTS));
        let reader = at_once(CheckpointReader::open(&still, CHECKPOINTS)).map_err(|error| error.to_string())?;
        // Another leader may have completed a later one meanwhile, which it reports itself.
        if reader.checkpoint().0 != id {
            self.pass_over(plan);
            return Ok(());
        }
        own_files(&reader)?;
        let cut = Cut::of(plan, &reader)?;
        if self.drains && cut.has_ended_reader {
            self.pass_over(plan);
            return Ok(());
        }
        self.has_ended_owner.set(cut.has_ended_owner);
        cut.generators(plan, &reader, &mut self.behind_exchange.borrow_mut())?;
        let files = results::at_cut(&self.disk.model(), &self.folders, &reader)?;
        let results = ElementsResults::of_files(plan, &files)?;
        if compare(plan, &reader, &cut, &results)? {
            self.compared.borrow_mut().exactly += 1;
        }
        Ok(())
    }

    /// A checkpoint is not looked at: event time may have been assigned behind an exchange there.
    fn pass_over(&self, plan: &ElementsPlan) {
        self.behind_exchange.borrow_mut().extend(0..plan.sources.len());
    }
}

/// The files of a checkpoint carry the attempt that took it, so that no other attempt can have written to them, and its number or, in rising order, those of
/// checkpoints before it, to which it has been added (docs/src/formats.md).
fn own_files(reader: &CheckpointReader) -> Result<(), String> {
    let metadata = reader.metadata();
    for of in &metadata.snapshots {
        let files = of.places.iter().filter_map(|place| if let Place::File(file) = place { Some(&file.name) } else { None });
        let checkpoints: Option<Vec<_>> =
            files.map(|name| checkpoint_of_state_file(name, metadata.attempt, &of.task, of.subtask)).collect();
        let is_right = checkpoints.is_some_and(|of| of.last().is_none_or(|last| *last == metadata.id) && of.is_sorted_by(|a, b| a < b));
        if !is_right {
            return Err(format!("attempt {} took it, and subtask {} of {} names {:?}", metadata.attempt, of.subtask, of.task, of.places));
        }
    }
    Ok(())
}

/// Compares a checkpoint with the reference. Returns whether all of it was compared, and in full.
fn compare(plan: &ElementsPlan, reader: &CheckpointReader, cut: &Cut, results: &ElementsResults) -> Result<bool, String> {
    let input = interpreter::records(plan, &cut.prefixes);
    for (found, expected) in results.shared.iter().zip(interpreter::shared(plan, &cut.prefixes)) {
        same("the second consumer of a shared stream", &expected, found)?;
    }
    let is_never_late = lateness::is_impossible(plan);
    if is_never_late && let Some(late) = results.late.first() {
        return Err(format!("no schedule makes a record of this job late, but this one was: {late:?}"));
    }
    let keyed = || {
        let keyed = Keyed::of(reader, KEYED_UID)?;
        keyed.watermarks_up_to(cut.watermark_max)?;
        Ok::<Keyed<'_>, String>(keyed)
    };
    match plan.terminal {
        Terminal::Collect => same("the results", &input, &results.elements).map(|()| true),
        Terminal::Running => running(&keyed()?, &input, &results.running).map(|()| true),
        Terminal::Window(window) => {
            let at_cut = windows::AtCut { plan: window, keyed: keyed()?, input: &input, late: &results.late, is_never_late };
            at_cut.state()?;
            at_cut.fired(&windows::of_results(&results.windows))?;
            Ok(at_cut.is_exact())
        }
        Terminal::Cascade { first_ms, second_ms } => {
            let first = windows::AtCut { plan: tumbling(first_ms), keyed: keyed()?, input: &input, late: &results.late, is_never_late };
            first.state()?;
            // Their time is the last millisecond of their window (docs/src/semantics.md#w-6).
            let timed = |element: Element| Element { at: element.at + first_ms - 1, ..element };
            let firsts: Vec<Element> = first.results(first_ms)?.into_iter().map(timed).collect();
            let late: Vec<Element> = results.second_late.iter().cloned().map(timed).collect();
            let keyed = Keyed::of(reader, SECOND_UID)?;
            let second = windows::AtCut { plan: tumbling(second_ms), keyed, input: &firsts, late: &late, is_never_late };
            second.state()?;
            second.fired(&windows::of_results(&results.windows))?;
            Ok(true)
        }
        Terminal::Process { span_ms, .. } => {
            tallies::process(&keyed()?, span_ms, &input, &results.tallies, is_never_late)?;
            tallies::windows_behind(&Keyed::of(reader, SECOND_UID)?, span_ms, results)?;
            Ok(true)
        }
    }
}

fn tumbling(size_ms: i64) -> WindowPlan {
    WindowPlan { size_ms, slide_ms: None, offset_ms: 0, lateness_ms: 0 }
}

/// Compares two multisets.
fn same<T: Ord + Clone + std::fmt::Debug>(what: &str, expected: &[T], found: &[T]) -> Result<(), String> {
    difference(expected, found).map_or(Ok(()), |difference| Err(format!("{what}: {difference}")))
}

/// A running aggregate: the state of each key is made of all its records, and every count up to theirs was reported once.
fn running(keyed: &Keyed<'_>, input: &[Element], found: &[Running]) -> Result<(), String> {
    let mut expected: BTreeMap<&str, (i64, Vec<u64>)> = BTreeMap::new();
    for element in input {
        let (sum, ids) = expected.entry(&element.key).or_default();
        *sum = sum.wrapping_add(element.value);
        ids.push(element.id);
    }
    expected.values_mut().for_each(|(_, ids)| ids.sort_unstable());
    let state = keyed.entries::<Gathered>("value")?.into_iter().map(|entry| {
        let Gathered { sum, mut ids } = entry.value;
        ids.sort_unstable();
        (entry.key, (sum, ids))
    });
    let is_kept = |(key, _): &(&&str, _)| !keyed.has_ended(key);
    let wanted: Vec<_> = expected.iter().filter(is_kept).map(|(key, content)| ((*key).to_owned(), content.clone())).collect();
    same("the state of a running aggregate", &wanted, &state.collect::<Vec<_>>())?;
    let counts: Vec<(&str, u64)> =
        expected.iter().flat_map(|(key, (_, ids))| (1..=ids.len() as u64).map(move |count| (*key, count))).collect();
    let found_counts: Vec<(&str, u64)> = found.iter().map(|running| (running.key.as_str(), running.count)).collect();
    same("the results of a running aggregate", &counts, &found_counts)?;
    let is_last = |running: &&Running| expected.get(running.key.as_str()).is_some_and(|(_, ids)| ids.len() as u64 == running.count);
    let is_wrong = |running: &&Running| expected.get(running.key.as_str()).is_some_and(|(sum, _)| *sum != running.sum);
    let wrong = found.iter().filter(is_last).find(is_wrong);
    wrong.map_or(Ok(()), |running| Err(format!("the newest result of its key has another sum than its records: {running:?}")))
}

/// Watches one incarnation, or one cluster, for the shadow restore.
pub(crate) struct ShadowRestore {
    shadows: Shadows,
}

impl ShadowRestore {
    /// The oracle of one incarnation.
    pub(crate) fn new(shadows: Shadows) -> Self {
        Self { shadows }
    }
}

impl Oracle for ShadowRestore {
    fn name(&self) -> &str {
        "shadow"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let (id, compared) = match (event.name, event.values) {
            ("checkpoint.complete", [id, ..]) => (id, self.shadows.complete(id.unsigned_abs())),
            ("attempt.begin", [_, _, id]) => (id, self.shadows.restored(id.unsigned_abs())),
            _ => return Ok(()),
        };
        compared.map_err(|reason| Violation::new(format!("checkpoint {id}, opened on its own: {reason}")))
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
