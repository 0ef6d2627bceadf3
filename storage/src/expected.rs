//! For tests: what a sealed content must come to, whatever becomes of the state it was sealed in.

use crate::SaveError;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The content at the seal, and what has been saved of it so far.
pub(crate) struct Expected<K, V> {
    sealed: Option<(BTreeMap<K, V>, Vec<(K, V)>)>,
}

impl<K: Ord + Debug, V: PartialEq + Debug> Expected<K, V> {
    /// Nothing is sealed.
    pub(crate) fn nothing() -> Self {
        Self { sealed: None }
    }

    /// This content is sealed.
    pub(crate) fn seal(&mut self, content: BTreeMap<K, V>) {
        self.sealed = Some((content, vec![]));
    }

    /// The sealed content is given up.
    pub(crate) fn give_up(&mut self) {
        self.sealed = None;
    }

    /// A slice was saved: these entries, and all there was if `is_all` says so. Returns whether that was the end of a content: each entry was saved once, and
    /// as it was at the seal.
    pub(crate) fn save(&mut self, is_all: Result<bool, SaveError>, entries: Vec<(K, V)>) -> Result<bool, TestCaseError> {
        let is_all = is_all.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        let Some((before, so_far)) = &mut self.sealed else {
            prop_assert!(is_all && entries.is_empty(), "nothing is sealed, and {entries:?} are saved");
            return Ok(false);
        };
        so_far.extend(entries);
        if is_all {
            prop_assert_eq!(so_far.len(), before.len());
            prop_assert_eq!(&so_far.drain(..).collect::<BTreeMap<_, _>>(), before);
            self.sealed = None;
        }
        Ok(is_all)
    }
}
