//! What layers have of a state as a whole: ranges of its keys, in one namespace or without any, and which namespaces there are.
//!
//! Layers are taken from the newest back: what they have whole says what earlier ones hold no more, and whether earlier ones are needed at all.

use super::entries::take_namespace;
use super::{Namespace, Scope, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use thalweg_record::HashRange;

/// What a section of a state with keys holds.
pub(super) enum Content<'a> {
    /// Entries of keys.
    Entries {
        /// The hashes of the keys lie in this range.
        hashes: HashRange,
        /// Whether they are all there are in it, if only in one namespace.
        is_whole: bool,
        /// The one namespace that all of them have, if the section says so.
        within: Option<Namespace>,
        /// The entries.
        bytes: &'a [u8],
    },
    /// The namespaces that there are.
    Namespaces(BTreeSet<Namespace>),
}

impl<'a> Content<'a> {
    /// What the sections of a layer hold.
    ///
    /// # Errors
    /// If one is not of keys, or ends too early; says how.
    pub(super) fn of_layer(layer: &[Section<'a>]) -> Result<Vec<Self>, String> {
        layer.iter().map(Self::of).collect()
    }

    fn of(section: &Section<'a>) -> Result<Self, String> {
        let mut bytes = section.bytes;
        match section.scope {
            Scope::Hashes(hashes) => Ok(Self::Entries { hashes, is_whole: false, within: None, bytes }),
            Scope::AllHashes(hashes) => Ok(Self::Entries { hashes, is_whole: true, within: None, bytes }),
            Scope::AllHashesWithin(hashes) => {
                let within = take_namespace(&mut bytes).ok_or("a section of one namespace ends within that")?;
                Ok(Self::Entries { hashes, is_whole: true, within: Some(within), bytes })
            }
            Scope::Namespaces => {
                let mut namespaces = BTreeSet::new();
                while !bytes.is_empty() {
                    namespaces.insert(take_namespace(&mut bytes).ok_or("a list of namespaces ends within one")?);
                }
                Ok(Self::Namespaces(namespaces))
            }
            Scope::Split(_) | Scope::Subtask => Err("a section of it is not of keys".to_owned()),
        }
    }
}

/// What the layers taken so far have whole.
#[derive(Default)]
pub(super) struct Extent {
    /// By namespace; those of states without namespaces under `None`.
    whole: BTreeMap<Option<Namespace>, Ranges>,
    /// The namespaces of the newest layer that says which there are.
    newest: Option<BTreeSet<Namespace>>,
    /// Those that have been there all the time.
    lasting: Option<BTreeSet<Namespace>>,
}

impl Extent {
    /// Whether all keys of a range are in these layers, in this namespace, so that earlier ones are of no use for it.
    pub(super) fn has_whole(&self, namespace: Option<Namespace>, hashes: HashRange) -> bool {
        self.whole.get(&namespace).is_some_and(|ranges| ranges.cover(hashes))
    }

    /// Whether what earlier layers hold of a namespace is gone.
    pub(super) fn is_gone(&self, namespace: Namespace) -> bool {
        self.lasting.as_ref().is_some_and(|namespaces| !namespaces.contains(&namespace))
    }

    /// Whether all keys of a range are in these layers, in every namespace that there is.
    pub(super) fn has_all(&self, hashes: HashRange) -> bool {
        match &self.newest {
            Some(namespaces) => namespaces.iter().all(|namespace| self.has_whole(Some(*namespace), hashes)),
            None => self.has_whole(None, hashes),
        }
    }

    /// The next layer has these ranges whole, and these namespaces, if it says which.
    fn add(&mut self, whole: Vec<(Option<Namespace>, HashRange)>, namespaces: Option<BTreeSet<Namespace>>) {
        let mut by_namespace = BTreeMap::<_, Vec<_>>::new();
        let whole = whole.into_iter().filter(|(namespace, _)| !namespace.is_some_and(|namespace| self.is_gone(namespace)));
        whole.for_each(|(namespace, range)| by_namespace.entry(namespace).or_default().push(range));
        by_namespace.into_iter().for_each(|(namespace, ranges)| self.whole.entry(namespace).or_default().add(ranges));
        if let Some(namespaces) = namespaces {
            match &mut self.lasting {
                Some(lasting) => lasting.retain(|namespace| namespaces.contains(namespace)),
                None => (self.newest, self.lasting) = (Some(namespaces.clone()), Some(namespaces)),
            }
        }
    }

    /// Takes the next layer.
    pub(super) fn add_layer(&mut self, layer: Vec<Content<'_>>) {
        let (mut whole, mut namespaces) = (Vec::new(), None);
        for content in layer {
            match content {
                Content::Entries { hashes, is_whole, within, .. } => whole.extend(is_whole.then_some((within, hashes))),
                Content::Namespaces(there) => namespaces = Some(there),
            }
        }
        self.add(whole, namespaces);
    }
}

/// A set of hashes.
#[derive(Default)]
struct Ranges {
    /// In order, and no two of them touch.
    ranges: Vec<HashRange>,
}

impl Ranges {
    /// Whether all of `range` is in the set.
    fn cover(&self, range: HashRange) -> bool {
        let after = self.ranges.partition_point(|of| of.first <= range.first);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|of| range.last <= of.last)
    }

    fn add(&mut self, mut ranges: Vec<HashRange>) {
        ranges.append(&mut self.ranges);
        ranges.sort_unstable_by_key(|range| range.first);
        for range in mem::take(&mut ranges) {
            match self.ranges.last_mut() {
                Some(last) if u64::from(range.first) <= u64::from(last.last) + 1 => last.last = last.last.max(range.last),
                _ => self.ranges.push(range),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_covers_what_is_in_one_of_them(added in proptest::collection::vec((0..60u32, 0..20u32), 0..12), first in 0..80u32, length in 0..8u32) {
            let mut set = Ranges::default();
            for some in added.chunks(3) {
                set.add(some.iter().map(|(first, length)| HashRange { first: *first, last: first + length }).collect());
            }
            let has = |hash: u32| added.iter().any(|(first, length)| (*first..=first + length).contains(&hash));
            prop_assert_eq!(set.cover(HashRange { first, last: first + length }), (first..=first + length).all(has));
            prop_assert!(set.ranges.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        }
    }

    const ALL: HashRange = HashRange { first: 0, last: 99 };
    const LOWER: HashRange = HashRange { first: 0, last: 49 };
    const UPPER: HashRange = HashRange { first: 50, last: 99 };

    #[test]
    fn all_is_there_when_each_half_is_whole_in_some_layer() {
        let mut extent = Extent::default();
        extent.add(vec![(None, UPPER)], None);
        assert!(!extent.has_all(ALL));
        extent.add(vec![(None, LOWER)], None);
        assert!(extent.has_all(ALL));
    }

    #[test]
    fn a_namespace_that_was_gone_in_between_is_not_there_by_what_is_older() {
        let mut extent = Extent::default();
        extent.add(vec![(Some((0, 10)), LOWER)], Some([(0, 10), (10, 20)].into()));
        extent.add(vec![(Some((10, 20)), ALL)], Some([(10, 20)].into()));
        extent.add(vec![(Some((0, 10)), ALL)], Some([(0, 10)].into()));
        assert!(!extent.has_all(ALL), "the upper half of the first is missing");
        assert!(extent.has_all(LOWER));
        let mut none = Extent::default();
        none.add(vec![], Some(BTreeSet::new()));
        assert!(none.has_all(ALL), "there are no namespaces");
    }
}
