//! The table of mutants in `sim/mutants/README.md`: written after each mutant, and read again by the next run.

use super::Fate;
use super::tree::Mutant;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most characters of a reason in the table.
const REASON_CHARS: usize = 140;

/// The text above the table.
const HEAD: &str = "# Mutants

Each patch here plants one real bug into the engine; its first line says which. `cargo sim mutants` applies each alone to a scratch copy, runs seeds
from 1 on until an oracle objects, and writes this table. A mutant that survives is first a fault of the simulator. The last column is the commit that was
mutated, with a `+` if the working tree had changes. Written by the runner: do not edit.

| mutant | the bug | oracle | why | seeds | CPU s | engine |
| --- | --- | --- | --- | ---: | ---: | --- |
";

/// The oracle column of a mutant that survived.
const SURVIVED: &str = "**survived**";
const UNUSABLE: &str = "**unusable**";
const NOT_RUN: &str = "not run";

/// The row of one mutant.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) bug: String,
    pub(super) fate: Fate,
    /// CPU time of its seeds.
    pub(super) cpu: Duration,
    /// The commit that was mutated.
    pub(super) engine: String,
}

impl Row {
    /// The row as one line for the screen.
    pub(super) fn told(&self) -> String {
        let seconds = self.cpu.as_secs_f64();
        match &self.fate {
            Fate::Caught { oracle, reason, seeds } => format!("caught by {oracle} at seed {seeds}, {seconds:.1} CPU s: {}", short(reason)),
            Fate::Survived { seeds } => format!("SURVIVED {seeds} seeds, {seconds:.1} CPU s"),
            Fate::Unusable { reason } => format!("UNUSABLE: {reason}"),
        }
    }

    fn line(&self) -> String {
        let (oracle, why, seeds) = match &self.fate {
            Fate::Caught { oracle, reason, seeds } => (oracle.as_str(), short(reason), seeds.to_string()),
            Fate::Survived { seeds } => (SURVIVED, String::new(), format!("> {seeds}")),
            Fate::Unusable { reason } => (UNUSABLE, short(reason), String::new()),
        };
        let Self { name, bug, cpu, engine, .. } = self;
        format!("| {name} | {} | {oracle} | {why} | {seeds} | {:.1} | {engine} |", cell(bug), cpu.as_secs_f64())
    }
}

/// The table, ordered by the names of the mutants.
pub(super) struct Table {
    path: PathBuf,
    lines: BTreeMap<String, String>,
}

impl Table {
    /// Reads the table at `path`, if there is one; it has a row for each of `mutants` and no others.
    pub(super) fn read(path: &Path, mutants: &[Mutant]) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
        };
        let row_of = |mutant: &Mutant| {
            let begin = format!("| {} |", mutant.name);
            let line = text.lines().find(|line| line.starts_with(&begin)).map(str::to_owned);
            line.unwrap_or_else(|| format!("| {} | {} | {NOT_RUN} | | | | |", mutant.name, cell(&mutant.bug)))
        };
        let lines = mutants.iter().map(|mutant| (mutant.name.clone(), row_of(mutant))).collect();
        Ok(Self { path: path.to_owned(), lines })
    }

    /// Whether the mutant's row says that it was caught.
    pub(super) fn is_caught(&self, name: &str) -> bool {
        self.lines.get(name).is_some_and(|line| is_caught(line))
    }

    /// Adds or replaces the row of a mutant.
    pub(super) fn put(&mut self, row: Row) {
        self.lines.insert(row.name.clone(), row.line());
    }

    /// Writes the table.
    pub(super) fn write(&self) -> Result<(), String> {
        let mut text = HEAD.to_owned();
        for line in self.lines.values() {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&format!("\n{}.\n", self.summary()));
        std::fs::write(&self.path, text).map_err(|error| format!("{} cannot be written: {error}", self.path.display()))
    }

    /// The number of caught mutants, and the total cost.
    pub(super) fn summary(&self) -> String {
        let caught = self.lines.values().filter(|line| is_caught(line)).count();
        let seconds = |line: &String| line.split('|').nth(6).and_then(|cell| cell.trim().parse::<f64>().ok());
        let total: f64 = self.lines.values().filter_map(seconds).sum();
        format!("{caught} of {} caught; {total:.0} CPU seconds together, compilation apart", self.lines.len())
    }
}

fn is_caught(line: &str) -> bool {
    let oracle = line.split('|').nth(3).map_or("", str::trim);
    !["", SURVIVED, UNUSABLE, NOT_RUN].contains(&oracle)
}

/// The beginning of a reason, short enough for the table.
fn short(reason: &str) -> String {
    let mut short: String = reason.chars().take(REASON_CHARS).collect();
    if short.len() < reason.len() {
        short.push_str("...");
    }
    cell(&short)
}

/// The text, escaped for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_mutant_was_caught() {
        let row = |fate| Row {
            name: "01-a".to_owned(),
            bug: "a bug".to_owned(),
            fate,
            cpu: Duration::from_millis(1500),
            engine: "abc".to_owned(),
        };
        let caught = row(Fate::Caught { oracle: "result".to_owned(), reason: "a|b\nc".to_owned(), seeds: 3 });
        assert_eq!(caught.line(), "| 01-a | a bug | result | a/b c | 3 | 1.5 | abc |");
        assert!(is_caught(&caught.line()));
        assert!(!is_caught(&row(Fate::Survived { seeds: 9 }).line()));
        assert!(!is_caught(&row(Fate::Unusable { reason: String::new() }).line()));
    }
}
