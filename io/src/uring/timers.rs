//! The sleeping tasks of a core, and their deadlines.

use super::monotonic::now;
use crate::MonotonicNs;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The sleepers of one core, earliest deadline first.
#[derive(Default)]
pub(crate) struct Timers {
    /// By deadline and, among equals, by order of arrival.
    sleepers: RefCell<BTreeMap<(MonotonicNs, u64), Waker>>,
    next_number: Cell<u64>,
}

impl Timers {
    /// Completes at `deadline` or later, as soon as the core's loop checks its timers.
    pub(crate) fn sleep_until(timers: &Rc<Self>, deadline: MonotonicNs) -> Sleep {
        let number = timers.next_number.get();
        timers.next_number.set(number + 1);
        Sleep { timers: Rc::clone(timers), key: (deadline, number) }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<MonotonicNs> {
        self.sleepers.borrow().first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    /// Wakes all sleepers whose deadline has passed.
    pub(crate) fn fire(&self, now: MonotonicNs) {
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: MonotonicNs) -> Option<Waker> {
        let mut sleepers = self.sleepers.borrow_mut();
        let first = sleepers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// See [`Timers::sleep_until`].
pub(crate) struct Sleep {
    timers: Rc<Timers>,
    key: (MonotonicNs, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.key.0 {
            return Poll::Ready(());
        }
        self.timers.sleepers.borrow_mut().insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.timers.sleepers.borrow_mut().remove(&self.key);
        drop(waker);
    }
}
