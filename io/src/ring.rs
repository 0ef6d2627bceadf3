//! A bounded queue between two tasks, usually on two cores: one producer, one consumer, no lock.
//!
//! An element is moved in and moved out; the cores exchange ownership, not copies. The producer alone writes `tail`, the consumer alone writes `head`, each
//! on a cache line of its own, and each side keeps a private copy of the other's index that it refreshes only when the copy says "full" or "empty". While
//! both sides are busy, an operation therefore touches no line that the other is writing, except when it catches up.
//!
//! *Waking.* A side that finds nothing to do leaves its waker in a cell and raises a flag; the other looks at the flag after each operation, and at the
//! waker only if the flag is up. Both do "publish, full fence, look": of two sides that do so at the same time at least one sees the other, so a wake-up
//! cannot be lost. The only price while nobody sleeps is that fence.
//!
//! *A word back.* The consumer can leave a number for the producer, which sees the latest: how much it wishes to be sent, say. It is not ordered with
//! respect to the elements.
//!
//! *Ending.* Dropping a side closes the ring and wakes the other. The consumer still gets the elements that were pushed before the producer went; elements
//! left when the consumer goes are dropped. Both ends may be on one core.

use std::mem::MaybeUninit;
use std::task::{Context, Poll, Waker};

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence},
    },
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence},
};

/// loom's cell hands out pointers through closures so that it can watch each access; this is the same interface over the real one.
#[cfg(not(loom))]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Two cache lines: the adjacent-line prefetcher of x86 pulls them in pairs.
#[repr(align(128))]
struct Padded<T>(T);

/// The cell is empty; it belongs to the side that may park.
const IDLE: u8 = 0;
/// A waker is in the cell.
const PARKED: u8 = 1;
/// The other side is taking the waker out; it owns the cell until it stores `IDLE` again.
const WAKING: u8 = 2;

/// Where one side leaves its waker for the other. `state` says which side owns the cell.
struct Parking {
    state: AtomicU8,
    waker: UnsafeCell<Option<Waker>>,
}

impl Parking {
    fn new() -> Self {
        Self { state: AtomicU8::new(IDLE), waker: UnsafeCell::new(None) }
    }

    /// Leaves `waker` for the other side and raises the flag. The caller must look once more for what it waits for, which may have arrived just before.
    /// `false` if the other side is in the middle of waking this one: then the caller is as good as woken and must not wait.
    fn park(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        // Take the flag down first: while it is up the other side may reach into the cell.
        if let Err(WAKING) = self.state.compare_exchange(PARKED, IDLE, Ordering::Acquire, Ordering::Acquire) {
            return false;
        }
        // SAFETY: the state is IDLE and only this side ever moves it away from there, so the cell is this side's own. Acquire on the exchange
        // (success or failure) orders this after the other side's last use of the cell, which ended with a release store of IDLE. Both sides'
        // handles are `&mut` in every method that comes here, so no second thread acts for this side.
        let previous = self.waker.with_mut(|cell| unsafe { (*cell).replace(waker) });
        self.state.store(PARKED, Ordering::Release);
        fence(Ordering::SeqCst);
        drop(previous);
        true
    }

    /// Takes back its own waker before this side goes, so that it is dropped now and on the thread that made it, and not by the side that frees the ring.
    fn withdraw(&self) {
        if self.state.compare_exchange(PARKED, IDLE, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // SAFETY: as in `park`: the state is IDLE and this side, which calls, is the only one to move it away from there.
        let waker = self.waker.with_mut(|cell| unsafe { (*cell).take() });
        drop(waker);
    }

    /// Wakes the side that parks here, if it does. Must be called after publishing what it waits for.
    #[inline]
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == PARKED {
            self.wake_parked();
        }
    }

    #[cold]
    fn wake_parked(&self) {
        if self.state.compare_exchange(PARKED, WAKING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // SAFETY: the exchange from PARKED to WAKING gave the cell to this side, and acquire makes the waker written before PARKED visible. The
        // parking side does not touch the cell while the state is WAKING.
        let waker = self.waker.with_mut(|cell| unsafe { (*cell).take() });
        self.state.store(IDLE, Ordering::Release);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The state that one side publishes.
struct Side {
    /// Elements ever pushed (producer) or popped (consumer), wrapping.
    index: AtomicUsize,
    /// Whether this side has been dropped.
    gone: AtomicBool,
}

impl Side {
    fn new() -> Padded<Self> {
        Padded(Self { index: AtomicUsize::new(0), gone: AtomicBool::new(false) })
    }
}

struct SharedRing<T> {
    producer: Padded<Side>,
    consumer: Padded<Side>,
    producer_parking: Padded<Parking>,
    consumer_parking: Padded<Parking>,
    /// The consumer's latest word to the producer. Seldom written, so it may share a line with fields that never change.
    word: AtomicU32,
    /// A power of two of slots, so that masking turns an index into a place, even where the index wraps.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// The most slots that are used.
    capacity: usize,
}

// SAFETY: a slot is accessed by the producer while it is outside head..tail and by the consumer while it is inside; release stores and acquire loads
// of the two indices hand it over. An element is thus only ever owned by one thread, for which `T: Send` suffices. The wakers are handed over
// by `Parking::state` in the same way and are `Send + Sync` themselves.
unsafe impl<T: Send> Send for SharedRing<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedRing<T> {}

impl<T> SharedRing<T> {
    #[inline]
    fn slot(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        let place = index & (self.slots.len() - 1);
        // SAFETY: the number of slots is a power of two, so masking with it less one yields a place below it.
        unsafe { self.slots.get_unchecked(place) }
    }

    fn len(&self) -> usize {
        // Head first: in the other order the consumer could overtake the tail seen, and the difference wrap.
        let head = self.consumer.0.index.load(Ordering::Acquire);
        let tail = self.producer.0.index.load(Ordering::Acquire);
        tail.wrapping_sub(head).min(self.capacity)
    }
}

impl<T> Drop for SharedRing<T> {
    fn drop(&mut self) {
        let tail = self.producer.0.index.load(Ordering::Acquire);
        let mut head = self.consumer.0.index.load(Ordering::Acquire);
        while head != tail {
            // SAFETY: both sides are gone (this is the last reference) and the slots in head..tail hold elements that nobody took.
            self.slot(head).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// A bounded queue of at most `capacity` elements.
///
/// ```
/// let (mut producer, mut consumer) = thalweg_io::ring(1);
/// assert_eq!(producer.try_push("a"), Ok(()));
/// assert_eq!(producer.try_push("b"), Err("b"));
/// drop(producer);
/// assert_eq!(consumer.try_pop(), Some("a"));
/// assert!(consumer.is_finished());
/// ```
///
/// # Panics
/// If `capacity` is zero.
#[must_use]
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity > 0, "a ring holds at least one element");
    let shared = Arc::new(SharedRing {
        producer: Side::new(),
        consumer: Side::new(),
        producer_parking: Padded(Parking::new()),
        consumer_parking: Padded(Parking::new()),
        word: AtomicU32::new(0),
        slots: (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        capacity,
    });
    (Producer { shared: Arc::clone(&shared), tail: 0, head_seen: 0 }, Consumer { shared, head: 0, tail_seen: 0 })
}

/// The end of a [`ring()`] where elements go in.
pub struct Producer<T> {
    shared: Arc<SharedRing<T>>,
    /// The true tail: nobody else writes it.
    tail: usize,
    /// A head that was true once; the true one is at or past it.
    head_seen: usize,
}

impl<T> Producer<T> {
    /// Adds `element` at the end and wakes the consumer if it sleeps.
    ///
    /// # Errors
    /// The element, if the ring is full or the consumer is gone.
    #[inline]
    pub fn try_push(&mut self, element: T) -> Result<(), T> {
        self.try_push_within(usize::MAX, element)
    }

    /// The same, but as if the ring held at most `limit` elements, a limit that the producer chooses.
    ///
    /// # Errors
    /// As [`try_push`](Self::try_push).
    #[inline]
    pub fn try_push_within(&mut self, limit: usize, element: T) -> Result<(), T> {
        if !self.has_room(limit) || self.is_closed() {
            return Err(element);
        }
        // SAFETY: there is room, so the slot at `tail` lies outside head..tail and belongs to the producer, which `&mut self` makes this thread.
        // `has_room` read the consumer's head with acquire, so the consumer's move out of this slot happened before. Whatever
        // `MaybeUninit::write` overwrites was moved out, so nothing is leaked.
        self.shared.slot(self.tail).with_mut(|slot| unsafe {
            (*slot).write(element);
        });
        self.tail = self.tail.wrapping_add(1);
        self.shared.producer.0.index.store(self.tail, Ordering::Release);
        self.shared.consumer_parking.0.wake();
        Ok(())
    }

    /// `Ready(true)` when there is room for an element, `Ready(false)` when the consumer is gone. Otherwise the task is woken when either changes.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.poll_room_within(usize::MAX, cx)
    }

    /// The same with at most `limit` elements. The task is woken by every element that is taken, and by the consumer's word.
    pub fn poll_room_within(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(answer) = self.look(limit) {
            return Poll::Ready(answer);
        }
        if !self.shared.producer_parking.0.park(cx.waker()) {
            // Being woken right now: look again soon rather than wait for the waker to come out of the other side's hands.
            cx.waker().wake_by_ref();
        }
        match self.look(limit) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }

    fn look(&mut self, limit: usize) -> Option<bool> {
        if self.is_closed() {
            return Some(false);
        }
        self.has_room(limit).then_some(true)
    }

    /// The consumer's latest [word](Consumer::tell); 0 if there was none.
    #[must_use]
    #[inline]
    pub fn word(&self) -> u32 {
        self.shared.word.load(Ordering::Acquire)
    }

    /// Wakes the consumer if it sleeps, without an element: it has something else to look at.
    #[inline]
    pub fn nudge(&self) {
        self.shared.consumer_parking.0.wake();
    }

    #[inline]
    fn has_room(&mut self, limit: usize) -> bool {
        let limit = limit.min(self.shared.capacity);
        if self.tail.wrapping_sub(self.head_seen) < limit {
            return true;
        }
        self.head_seen = self.shared.consumer.0.index.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) < limit
    }

    /// Whether the consumer is gone: elements pushed now would never be popped.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.consumer.0.gone.load(Ordering::Acquire)
    }

    /// The number of elements in the ring at some moment during the call; the consumer can only have lowered it since.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// The most elements that the ring holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.producer_parking.0.withdraw();
        self.shared.producer.0.gone.store(true, Ordering::Release);
        self.shared.consumer_parking.0.wake();
    }
}

/// The end of a [`ring()`] where elements come out.
pub struct Consumer<T> {
    shared: Arc<SharedRing<T>>,
    /// The true head: nobody else writes it.
    head: usize,
    /// A tail that was true once; the true one is at or past it.
    tail_seen: usize,
}

impl<T> Consumer<T> {
    /// Takes the first element if there is one, and wakes the producer if it waits for room.
    #[inline]
    pub fn try_pop(&mut self) -> Option<T> {
        if !self.has_items() {
            return None;
        }
        // SAFETY: the slot at `head` lies inside head..tail, so it holds an element, and it belongs to the consumer, which `&mut self` makes
        // this thread. `has_items` read the tail with acquire, so the producer's write happened before. Moving `head` past it below
        // makes sure that nobody reads it a second time.
        let element = self.shared.slot(self.head).with_mut(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        self.shared.consumer.0.index.store(self.head, Ordering::Release);
        self.shared.producer_parking.0.wake();
        Some(element)
    }

    /// `Ready(true)` when there is an element, `Ready(false)` when the producer is gone and all its elements have been taken. Otherwise the task is woken
    /// when either changes.
    pub fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(answer) = self.look() {
            return Poll::Ready(answer);
        }
        if !self.shared.consumer_parking.0.park(cx.waker()) {
            // As in `poll_room`.
            cx.waker().wake_by_ref();
        }
        match self.look() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }

    /// Leaves `word` for the producer and wakes it if it sleeps.
    pub fn tell(&mut self, word: u32) {
        self.shared.word.store(word, Ordering::Release);
        self.shared.producer_parking.0.wake();
    }

    fn look(&mut self) -> Option<bool> {
        if self.has_items() {
            return Some(true);
        }
        if self.producer_is_gone() {
            // Its last elements may have arrived between the two looks.
            return Some(self.has_items());
        }
        None
    }

    #[inline]
    fn has_items(&mut self) -> bool {
        if self.head != self.tail_seen {
            return true;
        }
        self.tail_seen = self.shared.producer.0.index.load(Ordering::Acquire);
        self.head != self.tail_seen
    }

    fn producer_is_gone(&self) -> bool {
        self.shared.producer.0.gone.load(Ordering::Acquire)
    }

    /// Whether the producer is gone and all its elements have been taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // In this order: after the producer is gone no element can be added.
        self.producer_is_gone() && self.shared.len() == 0
    }

    /// The number of elements in the ring at some moment during the call; the producer can only have raised it since.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// The most elements that the ring holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.consumer_parking.0.withdraw();
        self.shared.consumer.0.gone.store(true, Ordering::Release);
        // The remaining elements are dropped here and not with the ring: they may own resources that another task waits for, and the producer may live on
        // for long. At most `capacity` of them: a producer on another core may still be pushing.
        for _ in 0..self.shared.capacity {
            if self.try_pop().is_none() {
                break;
            }
        }
        self.shared.producer_parking.0.wake();
    }
}

#[cfg(test)]
mod tests;
