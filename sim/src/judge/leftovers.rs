//! Leftovers that a finished job may have besides its results.

use crate::finding::Finding;
use crate::oracles::read_folder;
use crate::scenario::lives_plan::CHECKPOINTS;
use std::collections::BTreeSet;
use std::path::Path;
use thalweg_world::{SimulatedDisk, StillDisk};

/// The most entries of a bounded log.
const LOG_ENTRIES_MAX: usize = 17;

/// Judges the checkpoint folder: it may contain only retained checkpoints, `retained_max` at most, and a bounded log.
pub(crate) fn checkpoint_folder(disk: &SimulatedDisk, retained_max: usize, story: &[String]) -> Result<(), Finding> {
    let dir = Path::new(CHECKPOINTS);
    let model = disk.model();
    let reject = |reason: String| Finding::wrong("storage", reason);
    let read = read_folder(&StillDisk::of(&model, dir), dir, false).map_err(|error| reject(format!("after the end: {error}")))?;
    let Some(holding) = read else { return Err(reject("the job has finished without a log".to_owned())) };
    if !holding.finished {
        return Err(reject("the job has finished and its log does not say so".to_owned()));
    }
    if holding.retained.is_empty() || holding.retained.len() > retained_max {
        return Err(reject(format!("{} checkpoints are retained, {retained_max} at most were wanted", holding.retained.len())));
    }
    let names: BTreeSet<String> = model.files(dir).unwrap_or_default().into_iter().map(|(name, _)| name).collect();
    let entries = names.iter().filter(|name| name.ends_with(".entry")).count();
    if entries > LOG_ENTRIES_MAX {
        return Err(reject(format!("{entries} entries of the log are kept")));
    }
    let head = format!("log-{:020}.head", holding.newest_entry);
    let stranger = names.iter().find(|name| !name.ends_with(".entry") && **name != head && !holding.files.contains(*name));
    stranger
        .map_or(Ok(()), |name| Err(reject(format!("{name} is left in the checkpoint folder, and nothing needs it ({})", story.join("; ")))))
}
