//! A queue of messages for the control plane: many senders on any thread, one receiver.
//!
//! It takes a lock, so it is not for records: those move through [`ring()`](crate::ring()). Its length is bounded only by protocol: a control protocol has
//! at most a fixed number of messages under way per subtask, and says so where it is defined.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct SharedQueue<T> {
    queue: VecDeque<T>,
    senders: usize,
    receiver_gone: bool,
    waker: Option<Waker>,
}

fn lock<T>(shared: &Mutex<SharedQueue<T>>) -> MutexGuard<'_, SharedQueue<T>> {
    // No code below panics while it holds the lock, so a poisoned lock still guards consistent data.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending side. Clones send to the same receiver.
pub struct Mailbox<T> {
    shared: Arc<Mutex<SharedQueue<T>>>,
}

/// The receiving side.
pub struct MailboxReceiver<T> {
    shared: Arc<Mutex<SharedQueue<T>>>,
}

/// A new queue.
#[must_use]
pub fn mailbox<T: Send>() -> (Mailbox<T>, MailboxReceiver<T>) {
    let shared = Arc::new(Mutex::new(SharedQueue { queue: VecDeque::new(), senders: 1, receiver_gone: false, waker: None }));
    (Mailbox { shared: Arc::clone(&shared) }, MailboxReceiver { shared })
}

impl<T> Mailbox<T> {
    /// Adds a message at the end and wakes the receiver. Returns the message if the receiver is gone.
    ///
    /// # Errors
    /// The message, if nobody will ever receive it.
    pub fn send(&self, message: T) -> Result<(), T> {
        let waker = {
            let mut shared = lock(&self.shared);
            if shared.receiver_gone {
                return Err(message);
            }
            shared.queue.push_back(message);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Mailbox<T> {
    /// Whether the receiver is gone: a message sent now would never be received.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).receiver_gone
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        lock(&self.shared).senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let waker = {
            let mut shared = lock(&self.shared);
            shared.senders -= 1;
            if shared.senders > 0 {
                return;
            }
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> MailboxReceiver<T> {
    /// The next message; `None` when all senders are gone and the queue is empty. Otherwise registers the task.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut shared = lock(&self.shared);
        if let Some(message) = shared.queue.pop_front() {
            return Poll::Ready(Some(message));
        }
        if shared.senders == 0 {
            return Poll::Ready(None);
        }
        if shared.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            shared.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The next message if there is one now.
    pub fn try_recv(&mut self) -> Option<T> {
        lock(&self.shared).queue.pop_front()
    }

    /// The next message; `None` when all senders are gone and the queue is empty.
    pub async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }
}

impl<T> Drop for MailboxReceiver<T> {
    fn drop(&mut self) {
        let (queue, waker) = {
            let mut shared = lock(&self.shared);
            shared.receiver_gone = true;
            (std::mem::take(&mut shared.queue), shared.waker.take())
        };
        // Dropped outside the lock: a message may own a sender of this very mailbox. And on the receiver's thread, where its waker belongs.
        drop((queue, waker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_the_end_is_seen() {
        let (sender, mut receiver) = mailbox();
        let second = sender.clone();
        sender.send(1).unwrap();
        second.send(2).unwrap();
        drop((sender, second));
        assert_eq!(crate::block_on(receiver.recv()), Some(1));
        assert_eq!(crate::block_on(receiver.recv()), Some(2));
        assert_eq!(crate::block_on(receiver.recv()), None);
    }

    #[test]
    fn a_message_to_nobody_comes_back() {
        let (sender, receiver) = mailbox();
        assert!(!sender.is_closed());
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send("lost"), Err("lost"));
    }
}
