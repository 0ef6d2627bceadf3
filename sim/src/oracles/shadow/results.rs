//! The results at the cut of a checkpoint: those that are visible by then, and the prepared ones that it names.

use crate::part_name::PartName;
use crate::scenario::elements_job::RESULTS;
use std::collections::BTreeSet;
use std::path::Path;
use thalweg::CheckpointReader;
use thalweg_world::DiskModel;

/// The files with these results, by the paths under which they are or will be visible.
pub(super) fn at_cut(model: &DiskModel, folders: &[String], reader: &CheckpointReader) -> Result<Vec<(String, Vec<u8>)>, String> {
    let (mut files, mut visible) = (vec![], BTreeSet::new());
    let mut take = |path: String, at: &str| {
        let content = model.content(Path::new(at)).map_err(|error| format!("{at}: {error}"))?;
        files.push((path, content.to_vec()));
        Ok::<(), String>(())
    };
    for folder in folders {
        for entry in model.list(Path::new(folder)).unwrap_or_default() {
            if PartName::parse(&entry.name).is_some_and(|part| part.epoch <= reader.checkpoint().0) {
                let path = format!("{folder}/{}", entry.name);
                take(path.clone(), &path)?;
                visible.insert(path);
            }
        }
    }
    for transaction in &reader.metadata().transactions {
        let folder = format!("{RESULTS}/{}", transaction.sink_uid);
        for name in PartName::all_in(&transaction.transaction) {
            let path = format!("{folder}/{name}");
            if visible.contains(&path) {
                continue;
            }
            let hidden = hidden_name(model, &folder, &name, &transaction.transaction);
            let hidden = hidden.ok_or_else(|| format!("it names {path}, which is neither prepared nor visible"))?;
            take(path, &format!("{folder}/{hidden}"))?;
        }
    }
    Ok(files)
}

/// The hidden file for the visible `name` that the archive of a transaction names: several attempts may have left one.
fn hidden_name(model: &DiskModel, folder: &str, name: &str, transaction: &[u8]) -> Option<String> {
    let prefix = format!(".{}-", name.strip_suffix(".csv")?);
    let is_named = |hidden: &&str| transaction.windows(hidden.len()).any(|part| part == hidden.as_bytes());
    model.names_with(Path::new(folder), &prefix).find(is_named).map(str::to_owned)
}
