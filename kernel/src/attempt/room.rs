//! The writers that wait for room on a disk that results go to, and how people learn of it (docs/src/semantics.md#o-7).
//!
//! Writers wait where they run, and report it; the coordinator itself waits where results are to be shown or a place is to be made ready. In either case
//! the job shows how many wait, and warns with the reason, once a minute at most however often that changes.

use crate::graph_ids::SubtaskId;
use crate::worker::shared::CoreShared;
use std::collections::BTreeMap;
use std::time::Duration;
use thalweg_io::MonotonicNs;

/// The least time between two warnings.
const WORD_EVERY: Duration = Duration::from_secs(60);

/// The writers that wait, and the warning about them: see the module.
#[derive(Default)]
pub(crate) struct RoomWaits {
    /// The reason of each writer that waits.
    writers: BTreeMap<SubtaskId, String>,
    /// The reason of the coordinator, if it waits.
    coordinator: Option<String>,
    last_word: Option<MonotonicNs>,
    /// The last message said that somebody waits; the all-clear is still to come.
    is_told: bool,
}

impl RoomWaits {
    /// The writer of `subtask` waits, for this reason, or (`None`) no longer waits.
    pub(crate) fn writer(&mut self, subtask: SubtaskId, reason: Option<String>) {
        match reason {
            Some(reason) => drop(self.writers.insert(subtask, reason)),
            None => drop(self.writers.remove(&subtask)),
        }
    }

    /// The coordinator waits, for this reason, or (`None`) no longer waits.
    pub(crate) fn coordinator(&mut self, reason: Option<String>) {
        self.coordinator = reason;
    }

    /// The reason of some writer that waits.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.coordinator.as_deref().or_else(|| self.writers.values().next().map(String::as_str))
    }

    fn count(&self) -> usize {
        self.writers.len() + usize::from(self.coordinator.is_some())
    }

    /// When the next message is due, if nothing changes before.
    pub(crate) fn next_word(&self) -> Option<MonotonicNs> {
        self.last_word.filter(|_| self.count() > 0).map(|last| last.after(WORD_EVERY))
    }

    /// The message that is due at `now`.
    fn word(&mut self, now: MonotonicNs) -> Option<Word> {
        let Some(reason) = self.reason() else {
            return std::mem::take(&mut self.is_told).then_some(Word::GoesOn);
        };
        if self.last_word.is_some_and(|last| now < last.after(WORD_EVERY)) {
            return None;
        }
        let word = Word::Waits(reason.to_owned());
        self.last_word = Some(now);
        self.is_told = true;
        Some(word)
    }

    /// Shows how many wait, and sends the message that is due.
    pub(crate) fn tell(&mut self, now: MonotonicNs, shared: &CoreShared) {
        let count = i64::try_from(self.count()).unwrap_or(i64::MAX);
        shared.numbers(|numbers| numbers.show("numberOfSinksWaitingForRoom", count));
        match self.word(now) {
            Some(Word::Waits(reason)) => {
                tracing::warn!("no room for results: {reason}; the job waits and goes on by itself: free some space there");
            }
            Some(Word::GoesOn) => tracing::info!("there is room for results again: the job goes on"),
            None => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Waits(String),
    GoesOn,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicNs {
        MonotonicNs(seconds * 1_000_000_000)
    }

    fn waits(reason: &str) -> Option<Word> {
        Some(Word::Waits(reason.to_owned()))
    }

    #[test]
    fn that_somebody_waits_is_said_at_once_and_then_once_a_minute() {
        let mut room = RoomWaits::default();
        assert_eq!((room.next_word(), room.word(at(0))), (None, None));
        room.writer(3, Some("full".to_owned()));
        assert_eq!(room.word(at(5)), waits("full"));
        room.writer(4, Some("also full".to_owned()));
        assert_eq!((room.count(), room.word(at(6)), room.next_word()), (2, None, Some(at(65))));
        room.writer(3, None);
        assert_eq!(room.word(at(65)), waits("also full"));
        room.writer(4, None);
        assert_eq!((room.next_word(), room.word(at(66)), room.word(at(67))), (None, Some(Word::GoesOn), None));
    }

    #[test]
    fn a_disk_that_is_full_now_and_then_is_spoken_of_once_a_minute() {
        let mut room = RoomWaits::default();
        let mut words = 0;
        for second in 0..600 {
            room.coordinator(Some("full".to_owned()));
            words += u32::from(room.word(at(second)).is_some());
            room.coordinator(None);
            words += u32::from(room.word(at(second)).is_some());
        }
        assert_eq!(words, 20, "ten times that it waits, and that it goes on");
    }
}
