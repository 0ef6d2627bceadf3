//! The cut of a checkpoint: which records its sources had read, and what event time these allow.
//!
//! A position of a generated source is what is left of a split, so the records before the cut are the rest of the plan's split. That it is a tail of that
//! split, unchanged, is part of the comparison.

use crate::reference::elements::Prefixes;
use crate::scenario::elements::Element;
use crate::scenario::elements_job::{KEYED_UID, SECOND_UID, source_uid, times_uid};
use crate::scenario::elements_plan::{ElementsPlan, Strategy};
use std::collections::{BTreeMap, BTreeSet};
use thalweg::CheckpointReader;

/// The states in which the assignment of event time keeps the generators of splits that are being read, and of restored ones that wait.
const GENERATORS: [&str; 2] = ["generators", "generators-waiting"];

/// See the module's documentation.
pub(super) struct Cut {
    /// How many records of each split were read.
    pub(super) prefixes: Prefixes,
    /// The splits of each source that are to be read on.
    open: Vec<Vec<usize>>,
    /// No subtask behind all sources can have been told a higher watermark.
    pub(super) watermark_max: i64,
    /// Whether a subtask of a source had ended.
    pub(super) has_ended_reader: bool,
    /// Whether a subtask of an operator with keyed state had ended.
    pub(super) has_ended_owner: bool,
}

impl Cut {
    /// The cut of a checkpoint of the job `plan`.
    pub(super) fn of(plan: &ElementsPlan, reader: &CheckpointReader) -> Result<Self, String> {
        let (mut prefixes, mut open) = (Prefixes::new(), vec![]);
        for (source, of_source) in plan.sources.iter().enumerate() {
            let mut positions: BTreeMap<u32, Vec<Element>> = reader.positions(&source_uid(source)).map_err(|error| error.to_string())?;
            let mut to_be_read = vec![];
            for (split, records) in of_source.splits.iter().enumerate() {
                let rest = u32::try_from(split).ok().and_then(|number| positions.remove(&number));
                let length = match &rest {
                    Some(rest) if records.ends_with(rest) => records.len() - rest.len(),
                    Some(rest) => return Err(format!("the position in split {split} of source {source} is no rest of it: {rest:?}")),
                    None => records.len(),
                };
                prefixes.insert((source, split), length);
                to_be_read.extend(rest.map(|_| split));
            }
            if let Some(number) = positions.keys().next() {
                return Err(format!("it has a position in split {number} of source {source}, which has {}", of_source.splits.len()));
            }
            open.push(to_be_read);
        }
        let watermark_max = watermark_max(plan, &prefixes, &open);
        let is_source = |task: &str| (0..plan.sources.len()).any(|source| source_uid(source) == task);
        let ended = &reader.metadata().finished_subtasks;
        let has_ended_reader = ended.iter().any(|subtask| is_source(&subtask.task));
        let has_ended_owner = ended.iter().any(|subtask| [KEYED_UID, SECOND_UID].contains(&subtask.task.as_str()));
        Ok(Self { prefixes, open, watermark_max, has_ended_reader, has_ended_owner })
    }

    /// Compares the generators of splits that are to be read on: each has seen the records before the cut, and no others. `behind_exchange` are the sources
    /// whose event time was, at this checkpoint or an earlier one, assigned behind an exchange, where there is no generator per split and what a split had
    /// reached is forgotten (docs/src/semantics.md#c-5); they are added to it.
    pub(super) fn generators(
        &self,
        plan: &ElementsPlan,
        reader: &CheckpointReader,
        behind_exchange: &mut BTreeSet<usize>,
    ) -> Result<(), String> {
        let is_task = |uid: &str| {
            let metadata = reader.metadata();
            metadata.snapshots.iter().any(|of| of.task == uid) || metadata.finished_subtasks.iter().any(|of| of.task == uid)
        };
        behind_exchange.extend((0..plan.sources.len()).filter(|source| plan.late_strategy.is_some() || is_task(&times_uid(*source))));
        for (source, of_source) in plan.sources.iter().enumerate().filter(|(source, _)| !behind_exchange.contains(source)) {
            let uid = times_uid(source);
            let saved: Vec<BTreeMap<u32, Vec<u8>>> = GENERATORS.iter().map(|name| reader.split_state(&uid, name)).collect();
            for split in &self.open[source] {
                let read = self.read(plan, source, *split);
                let number = u32::try_from(*split).unwrap_or(u32::MAX);
                let of_split = saved.iter().find_map(|of_state| of_state.get(&number));
                generator(of_source.strategy, read, of_split.map(Vec::as_slice)).map_err(|reason| {
                    format!("the generator of split {split} of source {source}, of which {} records were read, {reason}", read.len())
                })?;
            }
        }
        Ok(())
    }

    /// The records of a split that were read.
    fn read<'p>(&self, plan: &'p ElementsPlan, source: usize, split: usize) -> &'p [Element] {
        let records = &plan.sources[source].splits[split];
        &records[..self.prefixes.get(&(source, split)).copied().unwrap_or(0)]
    }
}

/// Compares what a generator has saved with the records that it has seen.
fn generator(strategy: Strategy, read: &[Element], saved: Option<&[u8]>) -> Result<(), String> {
    if read.is_empty() {
        return Ok(());
    }
    let (watermark, rest) = saved.and_then(<[u8]>::split_first_chunk).ok_or("is not saved")?;
    let watermark = i64::from_le_bytes(*watermark);
    let allowed = highest(strategy, read);
    match strategy.bound_ms {
        // A watermark is made after a batch, so it may lag behind; the highest time may not.
        Some(_) => {
            let newest = read.iter().map(|element| element.at).max().unwrap_or(i64::MIN);
            let saved = rest.try_into().map(i64::from_le_bytes).map_err(|_| format!("is saved in {} bytes", rest.len()))?;
            if saved != newest {
                return Err(format!("has saved the time {saved}, and their highest is {newest}"));
            }
            if watermark > allowed {
                return Err(format!("has saved the watermark {watermark}, and they allow {allowed}"));
            }
        }
        None if watermark != allowed => return Err(format!("has saved the watermark {watermark}, and they give {allowed}")),
        None => {}
    }
    Ok(())
}

/// The highest watermark that these records give.
fn highest<'a>(strategy: Strategy, records: impl IntoIterator<Item = &'a Element>) -> i64 {
    let of_record = |record: &Element| match strategy.bound_ms {
        Some(bound_ms) => record.at.saturating_sub(bound_ms as i64).saturating_sub(1),
        None => record.watermark.unwrap_or(i64::MIN),
    };
    records.into_iter().map(of_record).max().unwrap_or(i64::MIN)
}

/// The highest watermark that a subtask behind all sources can have been told. A source that is read to its end allows every one; and where a reader may be
/// idle, so does another that has ended.
fn watermark_max(plan: &ElementsPlan, prefixes: &Prefixes, open: &[Vec<usize>]) -> i64 {
    let read = |source: usize| {
        let splits = plan.sources[source].splits.iter().enumerate();
        splits.flat_map(move |(split, records)| &records[..prefixes.get(&(source, split)).copied().unwrap_or(0)])
    };
    let sources = || 0..plan.sources.len();
    let all_ended = open.iter().all(Vec::is_empty);
    if plan.has_idleness() {
        return i64::MAX;
    }
    if let Some(strategy) = plan.late_strategy {
        return if all_ended { i64::MAX } else { sources().map(|source| highest(strategy, read(source))).max().unwrap_or(i64::MAX) };
    }
    let of_source = |source: usize| if open[source].is_empty() { i64::MAX } else { highest(plan.sources[source].strategy, read(source)) };
    sources().map(of_source).min().unwrap_or(i64::MAX)
}
