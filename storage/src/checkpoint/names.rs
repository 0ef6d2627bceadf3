//! The names of files in a checkpoint folder.
//!
//! A name alone says whose file it is: it contains attempt and checkpoint, so that files left behind by dead attempts can be told from those a living
//! attempt is writing. A name that is not exactly of one of these forms belongs to somebody else and is never touched.

use super::{Attempt, CheckpointId};

/// Characters of a task's name that are kept in a file's name.
const TASK_NAME_LENGTH: usize = 48;

/// The name of a file in a checkpoint folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// `log-<20 digits>.entry`.
    LogEntry { number: u64 },
    /// `log-<20 digits>.head`: the second name of the newest entry.
    Head { number: u64 },
    /// `log-<20 digits>-<16 hexadecimal digits>.tmp`: an entry not linked yet.
    Temporary { number: u64, random: u64 },
    /// `chk-<checkpoint>-<attempt>.metadata`.
    Metadata { checkpoint: CheckpointId, attempt: Attempt },
    /// `<attempt>-<checkpoint>-<letters, digits, underscores and hyphens>.state`: the last part, chosen by the file's writer, says whose state it is.
    State { attempt: Attempt, checkpoint: CheckpointId, rest: String },
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LogEntry { number } => write!(f, "log-{number:020}.entry"),
            Self::Head { number } => write!(f, "log-{number:020}.head"),
            Self::Temporary { number, random } => write!(f, "log-{number:020}-{random:016x}.tmp"),
            Self::Metadata { checkpoint, attempt } => write!(f, "chk-{checkpoint}-{attempt}.metadata"),
            Self::State { attempt, checkpoint, rest } => write!(f, "{attempt}-{checkpoint}-{rest}.state"),
        }
    }
}

impl FileName {
    /// Parses a name; `None` unless all of it matches one of these forms.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let parsed = Self::parse_loosely(name)?;
        (parsed.to_string() == name).then_some(parsed)
    }

    fn parse_loosely(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        match extension {
            "entry" => Some(Self::LogEntry { number: stem.strip_prefix("log-")?.parse().ok()? }),
            "head" => Some(Self::Head { number: stem.strip_prefix("log-")?.parse().ok()? }),
            "tmp" => {
                let (number, random) = stem.strip_prefix("log-")?.split_once('-')?;
                Some(Self::Temporary { number: number.parse().ok()?, random: u64::from_str_radix(random, 16).ok()? })
            }
            "metadata" => {
                let (checkpoint, attempt) = stem.strip_prefix("chk-")?.split_once('-')?;
                Some(Self::Metadata { checkpoint: CheckpointId(checkpoint.parse().ok()?), attempt: Attempt(attempt.parse().ok()?) })
            }
            "state" => {
                let (attempt, rest) = stem.split_once('-')?;
                let (checkpoint, rest) = rest.split_once('-')?;
                let is_plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                (is_plain && !rest.is_empty()).then_some(())?;
                Some(Self::State {
                    attempt: Attempt(attempt.parse().ok()?),
                    checkpoint: CheckpointId(checkpoint.parse().ok()?),
                    rest: rest.to_owned(),
                })
            }
            _ => None,
        }
    }
}

/// The name of the file for the state of one subtask of `task`. Tasks with different names get files with different names.
///
/// ```
/// use thalweg_storage::checkpoint::{Attempt, CheckpointId, state_file_name};
/// assert_eq!(state_file_name(Attempt(2), CheckpointId(7), "window", 0), "2-7-window-0.state");
/// ```
#[must_use]
pub fn state_file_name(attempt: Attempt, checkpoint: CheckpointId, task: &str, subtask: u32) -> String {
    let plain: String = task.chars().filter(char::is_ascii_alphanumeric).take(TASK_NAME_LENGTH).collect();
    // An underscore appears only before a checksum, so a name with one is never the plain name of another task.
    let task = if plain == task && !plain.is_empty() { plain } else { format!("{plain}_{:08x}", crc32fast::hash(task.as_bytes())) };
    FileName::State { attempt, checkpoint, rest: format!("{task}-{subtask}") }.to_string()
}

/// The checkpoint for which `name` says that a file was written for the state of this subtask; `None` if it is not such a name.
///
/// ```
/// use thalweg_storage::checkpoint::{Attempt, CheckpointId, checkpoint_of_state_file};
/// assert_eq!(checkpoint_of_state_file("2-7-window-0.state", Attempt(2), "window", 0), Some(CheckpointId(7)));
/// assert_eq!(checkpoint_of_state_file("2-7-window-0.state", Attempt(2), "window", 1), None);
/// ```
#[must_use]
pub fn checkpoint_of_state_file(name: &str, attempt: Attempt, task: &str, subtask: u32) -> Option<CheckpointId> {
    let Some(FileName::State { checkpoint, .. }) = FileName::parse(name) else { return None };
    (state_file_name(attempt, checkpoint, task, subtask) == name).then_some(checkpoint)
}

/// Whether `name` can be that of a state file.
pub(super) fn is_state_file(name: &str) -> bool {
    matches!(FileName::parse(name), Some(FileName::State { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_those_of_others_are_left_alone() {
        let state = FileName::State { attempt: Attempt(3), checkpoint: CheckpointId(12), rest: "a_0f-4".to_owned() };
        let metadata = FileName::Metadata { checkpoint: CheckpointId(1), attempt: Attempt(u64::MAX) };
        let of_log =
            [FileName::LogEntry { number: 7 }, FileName::Head { number: 8 }, FileName::Temporary { number: u64::MAX, random: 255 }];
        for name in of_log.into_iter().chain([metadata, state]) {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        let others = [
            "log-7.entry",
            "log-7.head",
            "log-+0000000000000000007.entry",
            "chk-1.metadata",
            "chk-01-1.metadata",
            "chk-1-1.metadata~",
            "1-1-.state",
        ];
        for other in
            others.into_iter().chain(["1-1-../x-1.state", "1-1-a-1.states", "notes.txt", "", ".", "log-00000000000000000007-FF.tmp"])
        {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn tasks_with_awkward_names_get_files_of_their_own() {
        let name = |task: &str| state_file_name(Attempt(1), CheckpointId(2), task, 3);
        let tasks = ["window", "window ", "win/dow", "win-dow", "../../etc", "", "_", "\u{e9}", &"x".repeat(100), &"x".repeat(101)];
        let mut names: Vec<_> = tasks.iter().map(|task| name(task)).collect();
        assert!(names.iter().all(|name| is_state_file(name)), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), tasks.len());
    }
}
