//! The content of a checkpoint folder, read whole through the storage's own checks: which checkpoints, of which files, naming which results.

use crate::part_name::PartName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use thalweg_storage::checkpoint::{CheckpointError, Event, Place, list, load};
use thalweg_world::{StillDisk, at_once};

/// The content of a checkpoint folder.
pub(crate) struct Holding {
    pub(crate) newest: u64,
    pub(crate) newest_entry: u64,
    /// The attempt that wrote the newest entry.
    pub(crate) newest_attempt: u64,
    pub(crate) finished: bool,
    /// Retained checkpoints and the names of their metadata, latest first.
    pub(crate) retained: Vec<(u64, String)>,
    /// All files that the retained checkpoints need.
    pub(crate) files: BTreeSet<String>,
    /// The results that any retained checkpoint names; `named_by_newest` are those that the newest names.
    pub(super) named: BTreeSet<String>,
    pub(super) named_by_newest: BTreeSet<String>,
    /// The number of transactions that the newest names, by the checkpoint for which they were prepared.
    pub(super) transactions: BTreeMap<u64, u64>,
}

/// Reads a checkpoint folder whole. `None` if there is no log yet.
pub(crate) fn read_folder(disk: &StillDisk, dir: &Path, older_may_be_damaged: bool) -> Result<Option<Holding>, CheckpointError> {
    let listing = match at_once(list(disk, dir)) {
        Ok(listing) => listing,
        Err(CheckpointError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut holding = Holding {
        newest: 0,
        newest_entry: listing.newest.number,
        newest_attempt: listing.newest.attempt.0,
        finished: listing.newest.event == Event::JobFinished,
        retained: vec![],
        files: BTreeSet::new(),
        named: BTreeSet::new(),
        named_by_newest: BTreeSet::new(),
        transactions: BTreeMap::new(),
    };
    for (place, summary) in listing.checkpoints.iter().enumerate() {
        let checkpoint = match at_once(load(disk, dir, &summary.retained)) {
            Err(_) if place > 0 && older_may_be_damaged => continue,
            loaded => loaded?,
        };
        let named = checkpoint.metadata.transactions.iter().flat_map(|entry| PartName::all_in(&entry.transaction));
        let named: Vec<String> = named.collect();
        if place == 0 {
            holding.newest = summary.retained.id.0;
            holding.named_by_newest.extend(named.iter().cloned());
            for entry in &checkpoint.metadata.transactions {
                *holding.transactions.entry(entry.checkpoint.0).or_default() += 1;
            }
        }
        holding.named.extend(named);
        holding.retained.push((summary.retained.id.0, summary.retained.metadata.name.clone()));
        holding.files.insert(summary.retained.metadata.name.clone());
        let of_file = |place: &Place| if let Place::File(file) = place { Some(file.name.clone()) } else { None };
        holding.files.extend(checkpoint.metadata.snapshots.iter().flat_map(|entry| &entry.places).filter_map(of_file));
    }
    Ok(Some(holding))
}
