//! Tracks which channels of a link have work for it.
//!
//! A link has as many channels as its two cores have pairs of subtasks: sixteen thousand if a hundred and twenty-eight of them share a core. A wake
//! concerns only a few channels, so each channel wakes the link by a waker of its own that leaves a mark, and the link looks at the marked channels alone.
//! Looking for marks costs a read for each 64 channels.
//!
//! A mark is left before the task is woken, and taken after that: none is lost, whatever core it comes from. That needs wakers that publish writes made
//! before a wake even if the task has already been woken and not polled yet, as those of the executors do (`io/src/uring/scheduler.rs`).
//!
//! Costs some 50 bytes per channel, and per frame a look at the words between the channel whose turn it was and the next marked one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

/// Marks per word.
const MARKS: usize = u64::BITS as usize;

fn word_and_mark(place: usize) -> (usize, u64) {
    (place / MARKS, 1 << (place % MARKS))
}

/// A set of places below a fixed number.
#[derive(Clone, Debug)]
pub(super) struct Places {
    words: Vec<u64>,
    count: usize,
}

impl Places {
    /// An empty set, for `count` places.
    pub(super) fn none(count: usize) -> Self {
        Self { words: vec![0; count.div_ceil(MARKS)], count }
    }

    /// The set of all `count` places.
    pub(super) fn all(count: usize) -> Self {
        let mut places = Self::none(count);
        places.insert_all();
        places
    }

    pub(super) fn insert(&mut self, place: usize) {
        let (word, mark) = word_and_mark(place);
        self.words[word] |= mark;
    }

    fn insert_all(&mut self) {
        (0..self.count).for_each(|place| self.insert(place));
    }

    pub(super) fn remove(&mut self, place: usize) {
        let (word, mark) = word_and_mark(place);
        self.words[word] &= !mark;
    }

    /// The first place in the set at or after `from`.
    fn first_from(&self, from: usize) -> Option<usize> {
        let (first, mark) = word_and_mark(from);
        let kept = |word: usize, marks: u64| if word == first { marks & !(mark - 1) } else { marks };
        let rest = self.words.iter().enumerate().skip(first);
        rest.map(|(word, marks)| (word, kept(word, *marks))).find(|(_, marks)| *marks != 0).map(|(word, marks)| {
            let place = marks.trailing_zeros() as usize;
            word * MARKS + place
        })
    }

    /// The first place in the set at or after `from`, or else the first place in the set.
    pub(super) fn next_from(&self, from: usize) -> Option<usize> {
        self.first_from(from).or_else(|| self.first_from(0))
    }

    /// Removes all places, 64 at a time: a caller that does not exhaust the iterator loses some.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = usize> {
        self.words.iter_mut().enumerate().flat_map(|(word, marks)| {
            let mut left = std::mem::take(marks);
            std::iter::from_fn(move || {
                let place = (left != 0).then_some(word * MARKS + left.trailing_zeros() as usize);
                left &= left.wrapping_sub(1);
                place
            })
        })
    }
}

/// The marks that wakers have left for a task.
struct Marks {
    words: Box<[AtomicU64]>,
    task: Waker,
}

/// The waker by which a channel wakes its link.
struct ChannelWaker {
    marks: Arc<Marks>,
    place: usize,
}

impl Wake for ChannelWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (word, mark) = word_and_mark(self.place);
        self.marks.words[word].fetch_or(mark, Ordering::Release);
        self.marks.task.wake_by_ref();
    }
}

/// The channels that have work: at first all of them, then those that were woken or marked by the link itself, until it has looked.
pub(super) struct ReadyChannels {
    places: Places,
    woken: Option<(Arc<Marks>, Vec<Waker>)>,
}

impl ReadyChannels {
    pub(super) fn new(count: usize) -> Self {
        Self { places: Places::all(count), woken: None }
    }

    /// Takes the marks left since the last time. Must be called first whenever the link's task is polled.
    pub(super) fn collect(&mut self, cx: &Context<'_>) {
        match &self.woken {
            Some((marks, _)) if marks.task.will_wake(cx.waker()) => {
                for (word, left) in self.places.words.iter_mut().zip(&marks.words) {
                    // Relaxed: if this misses a mark, its waker has yet to wake the task, which then comes here again.
                    if left.load(Ordering::Relaxed) != 0 {
                        *word |= left.swap(0, Ordering::Acquire);
                    }
                }
            }
            // The first time, or another task polls: the marks of the old wakers are dropped.
            before => {
                if before.is_some() {
                    tracing::debug!(
                        channels = self.places.count,
                        "a link is polled by another waker than before: all its channels register anew"
                    );
                }
                let words = self.places.words.iter().map(|_| AtomicU64::new(0)).collect();
                let marks = Arc::new(Marks { words, task: cx.waker().clone() });
                let waker = |place| Waker::from(Arc::new(ChannelWaker { marks: Arc::clone(&marks), place }));
                let wakers = (0..self.places.count).map(waker).collect();
                self.woken = Some((marks, wakers));
                self.mark_all();
            }
        }
    }

    /// The waker that the channel at `place` registers.
    pub(super) fn waker(&self, place: usize) -> &Waker {
        match &self.woken {
            Some((_, wakers)) => &wakers[place],
            None => unreachable!("invariant: marks are collected before a channel is looked at"),
        }
    }

    /// Marks the channel at `place`: it has work.
    pub(super) fn mark(&mut self, place: usize) {
        self.places.insert(place);
    }

    /// Marks all channels.
    pub(super) fn mark_all(&mut self) {
        self.places.insert_all();
    }

    /// The channel at `place` has no work until it is woken or marked.
    pub(super) fn done(&mut self, place: usize) {
        self.places.remove(place);
    }

    /// The channel whose turn it is: the first ready one at or after `from`, or else the first ready one.
    pub(super) fn next_from(&self, from: usize) -> Option<usize> {
        self.places.next_from(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn all(ready: &ReadyChannels) -> Vec<usize> {
        ready.places.clone().drain().collect()
    }

    fn none_left(ready: &mut ReadyChannels) {
        while let Some(place) = ready.next_from(0) {
            ready.done(place);
        }
    }

    proptest! {
        #[test]
        fn places_are_a_set(count in 1..300usize, changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..100), from: prop::sample::Index) {
            let (mut places, mut model) = (Places::none(count), BTreeSet::new());
            for (is_in, place) in changes {
                let place = place.index(count);
                if is_in {
                    places.insert(place);
                    model.insert(place);
                } else {
                    places.remove(place);
                    model.remove(&place);
                }
            }
            let from = from.index(count + 1);
            prop_assert_eq!(places.next_from(from), model.range(from..).next().or(model.first()).copied());
            prop_assert_eq!(places.drain().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(places.next_from(from), None);
        }
    }

    #[test]
    fn a_channel_that_is_woken_is_marked_and_wakes_the_task_and_no_other_is() {
        let task = Arc::new(Counting::default());
        let (waker, mut ready) = (Waker::from(Arc::clone(&task)), ReadyChannels::new(130));
        ready.collect(&Context::from_waker(&waker));
        assert_eq!(all(&ready), (0..130).collect::<Vec<_>>(), "at first all are looked at");
        none_left(&mut ready);
        ready.waker(129).wake_by_ref();
        ready.waker(64).wake_by_ref();
        ready.waker(64).wake_by_ref();
        assert_eq!((task.0.load(Ordering::Relaxed), all(&ready)), (3, vec![]));
        ready.collect(&Context::from_waker(&waker));
        assert_eq!(all(&ready), [64, 129]);
        none_left(&mut ready);
        ready.collect(&Context::from_waker(&waker));
        assert_eq!(all(&ready), [0; 0], "a mark is taken once");
    }

    #[test]
    fn where_another_task_polls_all_channels_register_anew() {
        let [first, second] = [(); 2].map(|()| Arc::new(Counting::default()));
        let mut ready = ReadyChannels::new(3);
        ready.collect(&Context::from_waker(&Waker::from(first)));
        none_left(&mut ready);
        let waker = Waker::from(Arc::clone(&second));
        ready.collect(&Context::from_waker(&waker));
        assert_eq!(all(&ready), [0, 1, 2]);
        ready.waker(1).wake_by_ref();
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
    }
}
