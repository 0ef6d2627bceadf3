//! How the links of a core learn that the subtasks of their attempt are gone.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Held by each subtask of an attempt for as long as it lives.
#[derive(Clone, Default)]
pub struct Lifeline(Rc<Waiting>);

/// The tasks that wait for the end; woken when the last lifeline is dropped.
#[derive(Default)]
struct Waiting(RefCell<Vec<Waker>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

/// The other end: it keeps nothing alive.
#[derive(Clone)]
pub struct LifelineEnd(Weak<Waiting>);

impl Lifeline {
    /// A lifeline that nobody else holds yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The other end.
    #[must_use]
    pub fn end(&self) -> LifelineEnd {
        LifelineEnd(Rc::downgrade(&self.0))
    }
}

impl LifelineEnd {
    /// Whether the last subtask is gone.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Ready when the last subtask is gone; registers for that otherwise.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = self.0.upgrade() else { return Poll::Ready(()) };
        let mut wakers = waiting.0.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Runs `work` for as long as there are subtasks; `None` if they have gone before it was done.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| match self.poll_gone(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }
}
