//! The results that a job with checkpoints shows, over all its lives: whole transactions, each named by a durable checkpoint, for ever
//! (docs/src/semantics.md#c-3, #o-1, #o-2).
//!
//! The oracle reads the disk whenever it has changed since the last event, and believes only the disk: a checkpoint counts as complete if a power loss at
//! that moment would leave it in the checkpoint folder, read through the storage's own checks, all files of every retained checkpoint included.

use super::holding::read_folder;
use crate::part_name::PartName;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thalweg_io::ProbeEvent;
use thalweg_world::{DiskModel, InodeId, SimulatedDisk, StillDisk};
use thalweg_world::{Oracle, Violation};

/// The known transactions of a job. Outlives the incarnations.
pub struct Ledger {
    disk: SimulatedDisk,
    folders: Vec<String>,
    checkpoints: PathBuf,
    /// Paths of files that are not results of this job.
    foreign: BTreeSet<String>,
    /// The results seen so far, by path, with a hash of their contents.
    shown: BTreeMap<String, u64>,
    visible: BTreeSet<String>,
    /// Names of results of the newest checkpoint that a power loss cannot remove.
    durable: BTreeSet<String>,
    /// The disk's count of name changes and the newest entry of the log, at the last look.
    looked_at: Option<(u64, u64)>,
    /// File names that any complete checkpoint names.
    named: BTreeSet<String>,
    /// File names that the newest complete checkpoint names.
    named_by_newest: BTreeSet<String>,
    /// The number of transactions of each epoch that the newest complete checkpoint names.
    transactions: BTreeMap<u64, u64>,
    /// The newest complete checkpoint.
    complete: u64,
    /// The newest checkpoint whose transactions the job knows to be committed.
    committed: u64,
    /// Results of epochs later than this may disappear.
    discards_after: Option<u64>,
    /// The newest entry of the log that was read.
    newest_entry: u64,
    /// The attempt that wrote it: no older attempt may write after it.
    newest_attempt: u64,
    /// The entries of the log by their names, with a hash of their contents: each is written only once.
    entries: BTreeMap<PathBuf, u64>,
    /// Whether a file has rotted: unless it belongs to the newest checkpoint, it is not needed.
    pub(crate) older_may_be_damaged: bool,
}

/// A hash of a content; any good hash will do.
fn hash(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The visible name for a hidden one: `part-1-2-3-4.csv` for `.part-1-2-3-4-<attempt>.csv.inprogress`.
fn shown_name(hidden: &str) -> Option<String> {
    Some(hidden.strip_prefix('.')?.rsplit_once('-')?.0.to_owned() + ".csv")
}

/// Whether a folder has a hidden file for the visible `name`.
fn has_hidden_name(model: &DiskModel, folder: &Path, name: &str) -> bool {
    let prefix = format!(".{}-", name.strip_suffix(".csv").unwrap_or(name));
    model.names_with(folder, &prefix).any(|hidden| shown_name(hidden).as_deref() == Some(name))
}

/// The attempt in a hidden name: 2 for `.part-1-2-3-4-2.csv.inprogress`.
fn attempt_of(hidden: &str) -> Option<u64> {
    hidden.strip_suffix(".csv.inprogress")?.rsplit_once('-')?.1.parse().ok()
}

fn epoch_of(path: &str) -> Option<u64> {
    PartName::parse(name_of(path)).map(|part| part.epoch)
}

impl Ledger {
    /// The ledger of a job that writes to `folders`, in their present state, and has its checkpoints in `checkpoints`.
    pub(crate) fn new(disk: SimulatedDisk, folders: Vec<String>, checkpoints: &str) -> Rc<RefCell<Self>> {
        let mut ledger = Self {
            disk,
            folders,
            checkpoints: checkpoints.into(),
            foreign: BTreeSet::new(),
            shown: BTreeMap::new(),
            visible: BTreeSet::new(),
            durable: BTreeSet::new(),
            looked_at: None,
            named: BTreeSet::new(),
            named_by_newest: BTreeSet::new(),
            transactions: BTreeMap::new(),
            complete: 0,
            committed: 0,
            discards_after: None,
            newest_entry: 0,
            newest_attempt: 0,
            entries: BTreeMap::new(),
            older_may_be_damaged: false,
        };
        ledger.foreign = ledger.names(false).collect();
        Rc::new(RefCell::new(ledger))
    }

    /// Called before the job resumes from checkpoint `restored` and discards later results.
    pub(crate) fn discard_after(&mut self, restored: u64) {
        self.discards_after = Some(restored);
        (self.complete, self.committed) = (restored.min(self.complete), restored.min(self.committed));
        self.shown.retain(|path, _| epoch_of(path).is_none_or(|epoch| epoch <= restored));
        self.named.retain(|name| epoch_of(name).is_none_or(|epoch| epoch <= restored));
        self.durable.retain(|name| epoch_of(name).is_none_or(|epoch| epoch <= restored));
        self.newest_entry = 0;
        self.newest_attempt = 0;
    }

    /// Paths in the folders of results, hidden or visible.
    fn names(&self, hidden: bool) -> impl Iterator<Item = String> + use<> {
        let model = self.disk.model();
        let mut names = vec![];
        for folder in &self.folders {
            let entries = model.list(Path::new(folder)).unwrap_or_default();
            names.extend(
                entries.into_iter().filter(|entry| entry.name.starts_with('.') == hidden).map(|entry| format!("{folder}/{}", entry.name)),
            );
        }
        names.into_iter()
    }

    /// Reads the checkpoints that a power loss now would leave.
    fn refresh(&mut self) -> Result<(), String> {
        let still = StillDisk::of_durable(&self.disk.model(), &self.checkpoints);
        let read = read_folder(&still, &self.checkpoints, self.older_may_be_damaged);
        let holding = read.map_err(|error| format!("what a power loss would leave in the checkpoint folder cannot be read: {error}"))?;
        let Some(holding) = holding else { return Ok(()) };
        if holding.newest_entry < self.newest_entry {
            return Err(format!("the log has gone back from entry {} to {}", self.newest_entry, holding.newest_entry));
        }
        if holding.newest < self.complete {
            return Err(format!("checkpoint {} was complete, and now {} is the newest", self.complete, holding.newest));
        }
        if holding.newest_attempt < self.newest_attempt {
            return Err(format!("attempt {} writes to the log, where attempt {} has begun", holding.newest_attempt, self.newest_attempt));
        }
        if !self.older_may_be_damaged {
            for (path, content) in still.files().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "entry")) {
                let seen = hash(content);
                if self.entries.insert(path.to_owned(), seen).is_some_and(|before| before != seen) {
                    return Err(format!("{} is overwritten", path.display()));
                }
            }
        }
        self.newest_entry = holding.newest_entry;
        self.newest_attempt = holding.newest_attempt;
        self.complete = holding.newest;
        self.named.extend(holding.named);
        self.named_by_newest = holding.named_by_newest;
        self.transactions = holding.transactions;
        Ok(())
    }

    fn look(&mut self) -> Result<(), String> {
        let change = (self.disk.model().name_changes(), self.newest_entry);
        let before = self.looked_at.replace(change);
        if before == Some(change) {
            return Ok(());
        }
        let changed = before.and_then(|(names, _)| self.changed_since(names));
        let Some(changed) = changed else {
            self.compare(self.names(false).collect(), false)?;
            return self.all_have_a_durable_name();
        };
        let (gone, new) = {
            let model = self.disk.model();
            let shown = changed.iter().filter(|(_, name)| !name.starts_with('.')).map(|(folder, name)| format!("{folder}/{name}"));
            let (there, not_there): (Vec<String>, Vec<String>) =
                shown.partition(|path| model.kind(Path::new(path)).is_ok_and(|kind| kind.is_some()));
            let was_visible = |path: &String| self.visible.contains(path);
            (not_there.into_iter().filter(was_visible).collect(), there.into_iter().filter(|path| !was_visible(path)).collect())
        };
        self.take_in(gone, new, false)?;
        if before.is_none_or(|(_, entry)| entry != self.newest_entry) {
            return self.all_have_a_durable_name();
        }
        let touched = changed.into_iter().filter_map(|(_, name)| if name.starts_with('.') { shown_name(&name) } else { Some(name) });
        self.have_a_durable_name(touched.collect())
    }

    /// The names in the folders of results, with their folders, that have changed since the disk had counted `name_changes`; `None` if that is unknown.
    fn changed_since(&self, name_changes: u64) -> Option<BTreeSet<(String, String)>> {
        let model = self.disk.model();
        let folders: Vec<_> = self.folders.iter().filter_map(|folder| Some((model.directory_at(Path::new(folder))?, folder))).collect();
        let path = |(directory, name): (InodeId, &str)| {
            let (_, folder) = folders.iter().find(|(known, _)| *known == directory)?;
            Some(((*folder).clone(), name.to_owned()))
        };
        Some(model.names_changed_since(name_changes)?.filter_map(path).collect())
    }

    fn all_have_a_durable_name(&mut self) -> Result<(), String> {
        let names = self.visible.iter().map(|path| name_of(path).to_owned()).collect();
        self.have_a_durable_name(names)
    }

    /// A result's hidden name must exist until the visible one is durable: a power loss may keep the removal and lose the link. `names`: of results that
    /// may be visible.
    fn have_a_durable_name(&mut self, names: BTreeSet<String>) -> Result<(), String> {
        let is_unsure = |name: &String| self.named_by_newest.contains(name) && !self.durable.contains(name);
        let is_visible = |name: &str| self.folders.iter().any(|folder| self.visible.contains(&format!("{folder}/{name}")));
        let mut bare: Vec<String> = names.into_iter().filter(|name| is_unsure(name) && is_visible(name)).collect();
        {
            let model = self.disk.model();
            bare.retain(|name| !self.folders.iter().any(|folder| has_hidden_name(&model, Path::new(folder), name)));
            let is_durable = |name: &str| self.folders.iter().any(|folder| model.is_durable_name(Path::new(folder), name));
            if let Some(name) = bare.iter().find(|name| !is_durable(name)) {
                return Err(format!("the hidden name of {name} is removed, and the visible one is not durable"));
            }
        }
        self.durable.extend(bare);
        Ok(())
    }

    /// Attempt `attempt` has recovered the sinks: nothing is hidden that an earlier one has left (docs/src/semantics.md#o-4). Zombies may hide more, so this
    /// is asked where there is one process.
    fn nothing_is_left_before(&self, attempt: u64) -> Result<(), String> {
        let is_older = |path: &String| attempt_of(name_of(path)).is_some_and(|of| of < attempt);
        let left = self.names(true).find(is_older);
        left.map_or(Ok(()), |path| Err(format!("attempt {attempt} has recovered the sinks, and {path} is left")))
    }

    /// The visible names for the hidden files.
    fn hidden_results(&self) -> BTreeSet<String> {
        self.names(true).filter_map(|path| shown_name(name_of(&path))).collect()
    }

    fn compare(&mut self, now: BTreeSet<String>, after_power_loss: bool) -> Result<(), String> {
        let gone = self.visible.difference(&now).cloned().collect();
        let new = now.difference(&self.visible).cloned().collect();
        self.take_in(gone, new, after_power_loss)
    }

    /// Handles paths that are no longer visible, and new ones.
    fn take_in(&mut self, gone: Vec<String>, mut new: Vec<String>, after_power_loss: bool) -> Result<(), String> {
        for path in &gone {
            let epoch = epoch_of(path).unwrap_or(0);
            let is_discarded = self.discards_after.is_some_and(|kept| epoch > kept);
            // A power loss may undo a link that no sync has covered; a commit that was confirmed was synced.
            let was_not_durable = after_power_loss && epoch > self.committed;
            if !self.foreign.contains(path) && !is_discarded && !was_not_durable {
                return Err(format!("{path} was visible and is gone"));
            }
        }
        for path in &gone {
            self.visible.remove(path);
        }
        self.visible.extend(new.iter().cloned());
        new.retain(|path| !self.foreign.contains(path));
        if new.iter().any(|path| !self.named.contains(name_of(path))) {
            self.refresh()?;
        }
        for path in new {
            if PartName::parse(name_of(&path)).is_none() || !self.named.contains(name_of(&path)) {
                return Err(format!("one sees {path}, which no durable checkpoint names (the newest is {})", self.complete));
            }
            let seen = self.content_hash(&path);
            if self.shown.insert(path.clone(), seen).is_some_and(|before| before != seen) {
                return Err(format!("{path} comes back with another content"));
            }
        }
        Ok(())
    }

    /// Names of results that a power loss cannot remove.
    fn durable_names(&self) -> BTreeSet<String> {
        let model = self.disk.model();
        let files = self.folders.iter().flat_map(|folder| model.durable_files(Path::new(folder)).unwrap_or_default());
        files.map(|(name, _)| name).collect()
    }

    fn content_hash(&self, path: &str) -> u64 {
        self.disk.model().content(Path::new(path)).map_or(0, hash)
    }

    /// Checks that no shown file has changed.
    fn contents(&self) -> Result<(), String> {
        let model = self.disk.model();
        let is_changed = |path: &str, before: u64| model.content(Path::new(path)).is_ok_and(|now| hash(now) != before);
        let changed = self.shown.iter().find(|(path, before)| is_changed(path, **before));
        changed.map_or(Ok(()), |(path, _)| Err(format!("{path} was visible and has changed")))
    }

    /// A name that the newest checkpoint names and that is not visible; with `or_hidden`, hidden results count as visible.
    fn not_there(&self, or_hidden: bool, names: impl Iterator<Item = String>) -> Option<String> {
        let mut there: BTreeSet<String> = names.map(|path| name_of(&path).to_owned()).collect();
        if or_hidden {
            there.extend(self.hidden_results());
        }
        self.named_by_newest.iter().find(|name| !there.contains(*name)).cloned()
    }

    /// Judges the visible results at the end of a life, by a death or otherwise, whatever the state of the checkpoints.
    pub(crate) fn results_at_end_of_life(&mut self, power_loss: bool) -> Result<(), String> {
        self.looked_at = None;
        let now: BTreeSet<String> = self.names(false).collect();
        self.compare(now, power_loss)?;
        self.contents()
    }

    /// The same, and the checkpoints, which must not be damaged.
    pub(crate) fn end_of_life(&mut self, power_loss: bool) -> Result<(), String> {
        self.results_at_end_of_life(power_loss)?;
        self.refresh()?;
        // The disk as the next life will find it, including unsynced data.
        let still = StillDisk::of(&self.disk.model(), &self.checkpoints);
        let holding = read_folder(&still, &self.checkpoints, self.older_may_be_damaged)
            .map_err(|error| format!("the checkpoint folder cannot be read: {error}"))?;
        if let Some(holding) = holding {
            self.named.extend(holding.named);
            self.named_by_newest = holding.named_by_newest;
            if holding.newest < self.complete {
                return Err(format!("checkpoint {} was complete, and now {} is the newest", self.complete, holding.newest));
            }
        }
        match self.not_there(true, self.names(false)) {
            Some(name) => Err(format!("{name} is named by checkpoint {} and neither prepared nor visible", self.complete)),
            None => Ok(()),
        }
    }

    /// Judges a job that has ended by itself: all transactions are committed, and no file is hidden any more.
    pub(crate) fn end_of_job(&mut self) -> Result<(), String> {
        if let Some(path) = self.names(true).next() {
            return Err(format!("the job has ended and {path} is left"));
        }
        if let Some(name) = self.not_there(false, self.names(false)) {
            return Err(format!("the job has ended and {name} is not visible, which checkpoint {} names", self.complete));
        }
        let lost = self.shown.keys().find(|path| !self.visible.contains(*path));
        lost.map_or(Ok(()), |path| Err(format!("{path} was visible once and is not any more")))
    }
}

/// Watches one incarnation for the ledger.
pub struct Transactions {
    ledger: Rc<RefCell<Ledger>>,
    /// Whether no other process can write results.
    is_alone: bool,
    prepared: Prepared,
}

/// The transactions that the sinks of this attempt have prepared and that are not confirmed, counted by epoch.
#[derive(Default)]
struct Prepared {
    open: BTreeMap<u64, u64>,
    /// The transactions that the checkpoint being stored has to name.
    to_be_named: BTreeMap<u64, u64>,
}

impl Prepared {
    fn observe(&mut self, event: &ProbeEvent<'_>) {
        let [number, is_some, _] = event.values;
        let number = number.unsigned_abs();
        match event.name {
            // The recovery has committed or removed all earlier transactions.
            "attempt.begin" => *self = Self::default(),
            "sink.prepared" if is_some != 0 => *self.open.entry(number).or_default() += 1,
            "checkpoint.collected" => self.to_be_named = self.open.range(..=number).map(|(epoch, count)| (*epoch, *count)).collect(),
            "checkpoint.committed" => self.open.retain(|epoch, _| *epoch > number),
            _ => {}
        }
    }

    /// An epoch of which `named` has too few transactions; with the number of named and of prepared ones.
    fn forgotten(&self, named: &BTreeMap<u64, u64>) -> Option<(u64, u64, u64)> {
        let of_epoch = |(epoch, count): (&u64, &u64)| (*epoch, named.get(epoch).copied().unwrap_or(0), *count);
        self.to_be_named.iter().map(of_epoch).find(|(_, named, prepared)| named < prepared)
    }
}

impl Transactions {
    /// The oracle of one incarnation.
    #[must_use]
    pub fn new(ledger: Rc<RefCell<Ledger>>) -> Self {
        Self { ledger, is_alone: false, prepared: Prepared::default() }
    }

    /// The same for a job of one process, which leaves nothing of its earlier attempts.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }
}

impl Oracle for Transactions {
    fn name(&self) -> &str {
        "transactions"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let ledger = &mut *self.ledger.borrow_mut();
        let id = event.values[0].unsigned_abs();
        ledger.look().map_err(Violation::new)?;
        self.prepared.observe(event);
        match event.name {
            "attempt.recovered" if self.is_alone => ledger.nothing_is_left_before(id).map_err(Violation::new)?,
            "checkpoint.complete" | "checkpoint.commit" => {
                ledger.refresh().map_err(Violation::new)?;
                if ledger.complete < id {
                    return Err(Violation::new(format!(
                        "{} of checkpoint {id}, but if power were lost now the newest would be {}",
                        event.name, ledger.complete
                    )));
                }
                // Another leader may have completed a later checkpoint meanwhile.
                if event.name == "checkpoint.complete"
                    && ledger.complete == id
                    && let Some((epoch, named, prepared)) = self.prepared.forgotten(&ledger.transactions)
                {
                    return Err(Violation::new(format!(
                        "checkpoint {id} names {named} transactions of epoch {epoch}, but {prepared} were prepared and none is known to be committed"
                    )));
                }
            }
            "checkpoint.committed" => {
                let lost = ledger.not_there(false, ledger.durable_names().into_iter());
                if let Some(name) = lost.filter(|name| epoch_of(name).is_some_and(|epoch| epoch <= id)) {
                    return Err(Violation::new(format!(
                        "checkpoint {id} is committed, but if power were lost now {name} would not be visible"
                    )));
                }
                ledger.committed = ledger.committed.max(id);
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        self.ledger.borrow_mut().look().map_err(Violation::new)
    }
}
