//! How the links of a core learn that the subtasks of their attempt are gone.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Held by each subtask of an attempt for as long as it lives.
#[derive(Clone)]
pub(crate) struct Lifeline(Rc<Waiting>);

/// Who waits for the end; woken when the last lifeline is dropped.
#[derive(Default)]
struct Waiting(RefCell<Vec<Waker>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

/// The other end: holds nothing.
#[derive(Clone)]
pub(crate) struct LifelineEnd(Weak<Waiting>);

impl Lifeline {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    pub(crate) fn end(&self) -> LifelineEnd {
        LifelineEnd(Rc::downgrade(&self.0))
    }
}

impl LifelineEnd {
    /// Whether the last subtask is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Ready when the last subtask is gone; registers for that otherwise.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = self.0.upgrade() else { return Poll::Ready(()) };
        let mut wakers = waiting.0.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Runs `work` for as long as there are subtasks; `None` if they have gone before it was done.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| match self.poll_gone(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }
}
