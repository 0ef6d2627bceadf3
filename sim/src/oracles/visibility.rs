//! No result is visible before the commit: until then, and for ever if there is none, the folders of results show what they showed before the job
//! (docs/src/semantics.md#o-1).
//!
//! The disk is read whenever it has changed since the last event, and at the end.

use std::path::{Path, PathBuf};
use thalweg_io::ProbeEvent;
use thalweg_world::SimulatedDisk;
use thalweg_world::{Oracle, Violation};

/// See the module's documentation.
pub struct Visibility {
    disk: SimulatedDisk,
    folders: Vec<PathBuf>,
    /// The files visible before the job.
    before: Vec<String>,
    /// The disk's count of changes at the last look.
    looked_at: Option<u64>,
    committing: bool,
}

impl Visibility {
    /// An oracle for a job that writes to `folders`, in their present state.
    #[must_use]
    pub fn new(disk: SimulatedDisk, folders: &[&str]) -> Self {
        let folders: Vec<PathBuf> = folders.iter().map(Into::into).collect();
        let before = visible(&disk, &folders);
        Self { disk, folders, before, looked_at: None, committing: false }
    }

    fn look(&mut self) -> Result<(), Violation> {
        let change = self.disk.model().name_changes();
        if self.committing || self.looked_at.replace(change) == Some(change) {
            return Ok(());
        }
        let now = visible(&self.disk, &self.folders);
        if now == self.before {
            Ok(())
        } else {
            Err(Violation::new(format!("before the commit one sees {now:?}; before the job one saw {:?}", self.before)))
        }
    }
}

/// Paths of all files in `folders` that are not hidden.
fn visible(disk: &SimulatedDisk, folders: &[PathBuf]) -> Vec<String> {
    let names = |folder: &PathBuf| {
        let entries = disk.model().list(Path::new(folder)).unwrap_or_default();
        let shown = entries.into_iter().filter(|entry| !entry.name.starts_with('.'));
        shown.map(|entry| format!("{}/{}", folder.display(), entry.name)).collect::<Vec<_>>()
    };
    folders.iter().flat_map(names).collect()
}

impl Oracle for Visibility {
    fn name(&self) -> &str {
        "visibility"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        if event.name == "checkpoint.commit" {
            self.look()?;
            self.committing = true;
        }
        self.look()
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        self.look()
    }
}
