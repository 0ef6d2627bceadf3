//! The state of one subtask, in the images that make it up.
//!
//! The oldest comes first, and each later one changes what those before it hold: a section of a range of keys supersedes all that earlier images hold of this
//! range (in one namespace, if it says so), and an entry or a tombstone supersedes what they hold of its key. A list of namespaces says that others are gone. A state that an image has whole supersedes theirs of that name. Within one image each
//! key has one entry; a tombstone for it beside that says only that an earlier one is gone.

use super::extent::{Content, Extent};
use super::{Section, Snapshot, StateLayout, StateSummary};
use thalweg_record::HashRange;

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

    /// Checks that the images go back far enough for each state: one has it whole, or each range of its keys, in each namespace, was whole in one of them.
    /// Keys lie among the hashes that the subtask has `owned`, or anywhere where the entries of one key are spread. That no image is missing in between nothing
    /// tells.
    ///
    /// # Errors
    /// Says which state lacks something, or what is wrong with it.
    pub fn check(&self, owned: HashRange) -> Result<(), String> {
        for StateSummary { operator, state, layout, builds_on_earlier, .. } in self.newest().states() {
            let has_whole = || self.images.iter().any(|image| image.builds_on_earlier(&operator, &state) == Some(false));
            if !builds_on_earlier || has_whole() {
                continue;
            }
            let mut extent = Extent::default();
            for layer in self.of_state(&operator, &state) {
                extent.add_layer(Content::of_layer(&layer).map_err(|error| format!("state {state} of operator {operator}: {error}"))?);
            }
            if !extent.has_all(if layout.key.is_of_parts() { HashRange::ALL } else { owned }) {
                return Err(format!("state {state} of operator {operator} builds on snapshots that are not named"));
            }
        }
        Ok(())
    }

    /// The states of the newest image, over all images that make them up.
    #[must_use]
    pub fn states(&self) -> Vec<LayeredState> {
        let images: Vec<Vec<StateSummary>> = self.images.iter().map(|image| image.states().collect()).collect();
        layered(&images.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

/// A state over all images that make it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayeredState {
    /// The operator's uid.
    pub operator: String,
    /// The state's name.
    pub state: String,
    /// The layout of its entries.
    pub layout: StateLayout,
    /// How many images make it up: from the newest back to the one that has it whole.
    pub images: usize,
    /// The number of entries in all of them. If they are several, some are superseded or tombstones: the state has no more than these.
    pub entries: u64,
    /// Bytes of the entries in the newest image.
    pub written_bytes: u64,
    /// Bytes of the entries in all of them, superseded ones among them.
    pub bytes: u64,
}

/// The states of the newest of `images`, which come with the oldest first.
#[must_use]
pub fn layered(images: &[&[StateSummary]]) -> Vec<LayeredState> {
    let Some((newest, older)) = images.split_last() else { return Vec::new() };
    let over_all = |newest: &StateSummary| {
        let StateSummary { operator, state, layout, builds_on_earlier, entries, bytes, .. } = newest.clone();
        let mut all = LayeredState { operator, state, layout, images: 1, entries, written_bytes: bytes, bytes };
        let mut is_whole = !builds_on_earlier;
        for image in older.iter().rev() {
            if is_whole {
                break;
            }
            all.images += 1;
            if let Some(earlier) = image.iter().find(|earlier| earlier.operator == all.operator && earlier.state == all.state) {
                is_whole = !earlier.builds_on_earlier;
                all.entries = all.entries.saturating_add(earlier.entries);
                all.bytes = all.bytes.saturating_add(earlier.bytes);
            }
        }
        all
    };
    newest.iter().map(over_all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Scope, SnapshotWriter};
    use thalweg_record::record::Layout;

    /// One state of an image, with entries of ten bytes.
    fn state(name: &str, builds_on_earlier: bool, entries: u64) -> StateSummary {
        let mut state = StateSummary::new("counter", name, &StateLayout::default());
        state.builds_on_earlier = builds_on_earlier;
        state.add(entries, 10 * entries as usize);
        state
    }

    const LOWER: HashRange = HashRange { first: 0, last: u32::MAX / 2 };

    /// An image that builds on earlier ones and has the lower half of all hashes whole.
    fn lower_half(key: &str) -> Snapshot {
        let mut writer = SnapshotWriter::new();
        let layout = StateLayout { key: Layout::described(key), value: Layout::of::<u64>() };
        let state = writer.state("counter", "count", &layout);
        writer.builds_on_earlier(state);
        writer.append(state, Scope::AllHashes(LOWER), 0, &[]);
        Snapshot::parse("x", writer.finish().rest).unwrap()
    }

    #[test]
    fn the_images_go_back_far_enough_if_all_hashes_that_the_subtask_may_have_were_whole() {
        let layers = Layers::new(vec![lower_half("u64")]);
        assert_eq!(layers.check(LOWER), Ok(()));
        let broken = Err("state count of operator counter builds on snapshots that are not named".to_owned());
        assert_eq!(layers.check(HashRange::ALL), broken);
        let of_a_map = Layers::new(vec![lower_half("map{of:u64,under:u64,}")]);
        assert_eq!(of_a_map.check(LOWER), broken, "the entries of the subtask's maps lie under all hashes");
        let field = Layers::new(vec![lower_half("struct{of:u64,under:u64,}")]);
        assert_eq!(field.check(LOWER), Ok(()));
    }

    #[test]
    fn a_state_is_counted_from_the_newest_image_back_to_the_one_that_has_it_whole() {
        let images = [
            [state("a", false, 1_000), state("b", false, 1_000)],
            [state("a", false, 100), state("b", true, 7)],
            [state("a", true, 5), state("b", false, 50)],
            [state("a", true, 2), state("b", false, 60)],
        ];
        let images: Vec<&[StateSummary]> = images.iter().map(<[_; 2]>::as_slice).collect();
        let numbers = |images: &[&[StateSummary]]| -> Vec<(usize, u64, u64, u64)> {
            layered(images).iter().map(|state| (state.images, state.entries, state.written_bytes, state.bytes)).collect()
        };
        assert_eq!(numbers(&images), [(3, 107, 20, 1_070), (1, 60, 600, 600)]);
        assert_eq!(numbers(&images[2..]), [(2, 7, 20, 70), (1, 60, 600, 600)], "what is further back is not there any more");
        assert_eq!(layered(&[]), []);
    }
}
