//! The state of one subtask, in the images that make it up.
//!
//! The oldest comes first, and each later one changes what those before it hold: a section of a range of keys supersedes all that earlier images hold of this
//! range, and an entry or a tombstone supersedes what they hold of its key. A state that an image has whole supersedes theirs of that name. Within one image each
//! key has one entry; a tombstone for it beside that says only that an earlier one is gone.

use super::{Section, Snapshot, StateSummary};

/// The images of one subtask's state: at least one.
#[derive(Clone, Debug)]
pub struct Layers {
    /// The oldest first.
    images: Vec<Snapshot>,
}

impl Layers {
    /// Takes images, the oldest first.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn new(images: Vec<Snapshot>) -> Self {
        assert!(!images.is_empty(), "the state of a subtask lies in an image at least");
        Self { images }
    }

    /// The newest image. It names all states, and has all sections that are not of keys.
    #[must_use]
    pub fn newest(&self) -> &Snapshot {
        self.images.last().expect("invariant: there is an image")
    }

    /// The images, the oldest first.
    #[must_use]
    pub fn images(&self) -> &[Snapshot] {
        &self.images
    }

    /// The images that make up a state, the newest first, down to the one that has it whole, each with its sections of it.
    pub fn of_state<'a>(&'a self, operator: &'a str, state: &'a str) -> impl Iterator<Item = Vec<Section<'a>>> {
        let mut is_whole = false;
        let layers = self.images.iter().rev().map_while(move |image| {
            let goes_on = !is_whole;
            is_whole |= image.builds_on_earlier(operator, state) == Some(false);
            goes_on.then_some(image)
        });
        layers.map(|image| image.sections(operator, state).collect())
    }

    /// The states, with the sections, entries and bytes of all images that make them up.
    pub fn states(&self) -> impl Iterator<Item = StateSummary> {
        self.newest().states().map(|mut state| {
            let older = self.of_state(&state.operator, &state.state).skip(1).flatten();
            let (sections, entries, bytes) = older.fold((0, 0u64, 0), |(sections, entries, bytes), section| {
                (sections + 1, entries.saturating_add(section.entries), bytes + section.bytes.len() as u64)
            });
            state.sections += sections;
            state.entries = state.entries.saturating_add(entries);
            state.bytes += bytes;
            state
        })
    }
}
