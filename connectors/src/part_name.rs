//! The names of result files.
//!
//! ```text
//! part-<job>-<subtask>-<epoch>-<roll><suffix>                             visible
//! part-<job>-<subtask>-<epoch>-<roll>-<attempt><suffix>                   visible, if shown at least once
//! .part-<job>-<subtask>-<epoch>-<roll>-<attempt><suffix>.inprogress       hidden
//! ```
//!
//! The job is 16 hexadecimal digits, the other numbers are decimal; the suffix is empty or begins with a dot. No two files of a job that are both part
//! of its results have the same visible name, and no two files at all the same hidden one.
//!
//! Pure: names in, names out.

use std::fmt;
use thalweg_kernel::checkpoint::{Attempt, CheckpointId, JobId};

/// The prefix of a visible file's name.
const VISIBLE: &str = "part-";

/// The prefix of a hidden file's name.
const HIDDEN: &str = ".part-";

/// The suffix of a hidden file's name.
const IN_PROGRESS: &str = ".inprogress";

/// Digits of a job's number.
const JOB_DIGITS: usize = 16;

/// The fields of a result file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartName {
    pub(super) job: JobId,
    pub(super) subtask: u64,
    /// The checkpoint that ends, or is to end, the epoch.
    pub(super) epoch: CheckpointId,
    /// The number of the file within the epoch, from 0.
    pub(super) roll: u64,
    /// `None` where the name does not depend on the attempt.
    pub(super) attempt: Option<Attempt>,
}

impl fmt::Display for PartName {
    /// Without the prefix and the suffix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, subtask, epoch, roll, attempt } = self;
        write!(f, "{job}-{subtask}-{epoch}-{roll}")?;
        attempt.iter().try_for_each(|attempt| write!(f, "-{attempt}"))
    }
}

impl PartName {
    /// The name under which the file is shown.
    pub(super) fn visible(&self, suffix: &str) -> String {
        format!("{VISIBLE}{self}{suffix}")
    }

    /// The name under which the file is written.
    pub(super) fn hidden(&self, suffix: &str) -> String {
        format!("{HIDDEN}{self}{suffix}{IN_PROGRESS}")
    }

    /// Parses the name of a visible file, whatever its suffix.
    pub(super) fn of_visible(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix(VISIBLE)?)
    }

    /// Parses the name of a hidden file, whatever its suffix.
    pub(super) fn of_hidden(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix(HIDDEN)?.strip_suffix(IN_PROGRESS)?).filter(|part| part.attempt.is_some())
    }

    fn parse(name: &str) -> Option<Self> {
        let numbers = name.split_once('.').map_or(name, |(numbers, _suffix)| numbers);
        let mut numbers = numbers.split('-');
        let job = numbers.next().filter(|job| job.len() == JOB_DIGITS && job.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')))?;
        let part = Self {
            job: JobId(u64::from_str_radix(job, 16).ok()?),
            subtask: decimal(numbers.next()?)?,
            epoch: CheckpointId(decimal(numbers.next()?)?),
            roll: decimal(numbers.next()?)?,
            attempt: match numbers.next() {
                Some(attempt) => Some(Attempt(decimal(attempt)?)),
                None => None,
            },
        };
        numbers.next().is_none().then_some(part)
    }
}

fn decimal(digits: &str) -> Option<u64> {
    if digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Whether `name` is that of a visible result: one of ours, or `part-<number>-...` as other engines, and older versions of this one, name theirs.
pub(super) fn is_result(name: &str) -> bool {
    let of_others = |name: &str| decimal(name.strip_prefix(VISIBLE)?.split_once('-')?.0);
    PartName::of_visible(name).is_some() || of_others(name).is_some()
}

/// Whether `name` is that of a file in progress, of whichever job and version.
pub(super) fn is_in_progress(name: &str) -> bool {
    name.starts_with(HIDDEN) && name.ends_with(IN_PROGRESS)
}

/// Why `suffix` is not allowed; `None` if it is.
pub(super) fn suffix_fault(suffix: &str) -> Option<String> {
    let fits = suffix.is_empty() || suffix.starts_with('.');
    let holds = fits && !suffix.contains(['/', '\0']);
    (!holds).then(|| format!("files cannot be named part-*{suffix}: the suffix {suffix:?} has to begin with a dot and hold no slash"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PART: PartName = PartName { job: JobId(0xabc), subtask: 3, epoch: CheckpointId(7), roll: 1, attempt: Some(Attempt(2)) };

    #[test]
    fn names_are_as_documented() {
        assert_eq!(PART.hidden(".csv"), ".part-0000000000000abc-3-7-1-2.csv.inprogress");
        assert_eq!(PART.visible(".csv"), "part-0000000000000abc-3-7-1-2.csv");
        assert_eq!(PartName { attempt: None, ..PART }.visible(".csv"), "part-0000000000000abc-3-7-1.csv");
    }

    #[test]
    fn what_is_a_result_and_what_is_not() {
        let results =
            ["part-0000000000000abc-3-7-1.csv", "part-0-0.csv", "part-00000-4d5e.parquet", "part-12-3", "part-0000000000000abc-3-7-1"];
        let others = [
            "part-time.csv",
            "part-",
            "part-0.csv",
            "apart-0-0.csv",
            "part-+1-0.csv",
            "part--1",
            ".part-0-0.csv.1.inprogress",
            "part-abc-3-7-1",
        ];
        assert!(results.iter().all(|name| is_result(name)), "{results:?}");
        for name in others {
            assert!(!is_result(name), "{name}");
        }
        for name in
            ["part-0000000000000ABC-3-7-1.csv", "part-0000000000000abc-3-7.csv", "part-0000000000000abc-3-7-1-2-3.csv", "part-0-0.csv"]
        {
            assert_eq!(PartName::of_visible(name), None, "{name}");
        }
        assert!(is_in_progress(&PART.hidden("")) && is_in_progress(".part-0-0.csv.0123.inprogress") && !is_in_progress(".part-x"));
        assert_eq!(PartName::of_hidden(".part-0000000000000abc-3-7-1.csv.inprogress"), None, "a hidden name carries its attempt");
    }

    #[test]
    fn a_suffix_that_would_blur_the_name_is_a_fault() {
        for good in ["", ".csv", ".tar.gz", "."] {
            assert_eq!(suffix_fault(good), None);
        }
        for bad in ["csv", "-1.csv", "0", "./x", "/"] {
            assert!(suffix_fault(bad).unwrap().contains("begin with a dot"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(job: u64, subtask: u64, epoch: u64, roll: u64, attempt: u64, suffix in "(\\.[a-z0-9.-]{0,9})?") {
            let part = PartName { job: JobId(job), subtask, epoch: CheckpointId(epoch), roll, attempt: Some(Attempt(attempt)) };
            prop_assert_eq!(PartName::of_hidden(&part.hidden(&suffix)), Some(part));
            prop_assert_eq!(PartName::of_visible(&part.visible(&suffix)), Some(part));
            let part = PartName { attempt: None, ..part };
            prop_assert_eq!(PartName::of_visible(&part.visible(&suffix)), Some(part));
        }

        #[test]
        fn any_text_is_read_or_refused(name in "\\.?part-[0-9a-f-]{0,30}\\PC{0,9}") {
            let _ = (PartName::of_visible(&name), PartName::of_hidden(&name), is_result(&name), is_in_progress(&name));
        }
    }
}
