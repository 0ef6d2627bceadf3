//! Where other threads leave letters for a core that may be asleep, and the rule by which they know whether to ring.
//!
//! The bell itself is any wake-up that ends the core's sleep and remembers being rung while nobody sleeps (an eventfd does); it is not part of this module.
//! A core announces its sleep under the same lock under which it finds no letter, and a sender learns that it must ring under the same lock under which it
//! leaves a letter. So either the core finds the letter and stays up, or the sender finds it asleep and rings.

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

struct Inbox<T> {
    letters: Vec<T>,
    /// Whether the core sleeps, or is about to, and nobody has rung yet.
    asleep: bool,
    /// Whether the core has ended: letters are no longer taken.
    closed: bool,
}

/// The letters of one core.
pub(crate) struct Doorbell<T> {
    inbox: Mutex<Inbox<T>>,
    /// Whether there are letters; can be read without the lock. Written under the lock.
    has_mail: AtomicBool,
}

impl<T> Doorbell<T> {
    pub(crate) fn new() -> Self {
        Self { inbox: Mutex::new(Inbox { letters: Vec::new(), asleep: false, closed: false }), has_mail: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<T>> {
        // Nothing panics while it holds the lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a letter. `true` if the caller must ring now: the core sleeps, and the caller is the first to find it so.
    #[must_use]
    pub(crate) fn deliver(&self, letter: T) -> bool {
        let mut inbox = self.lock();
        if inbox.closed {
            // Drop the letter outside the lock: its destructor may do anything.
            drop(inbox);
            return false;
        }
        inbox.letters.push(letter);
        self.has_mail.store(true, Ordering::Relaxed);
        std::mem::take(&mut inbox.asleep)
    }

    /// The letters since the last time. It may miss a letter that is being left now; `doze` will not.
    pub(crate) fn take(&self) -> Vec<T> {
        if !self.has_mail.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut inbox = self.lock();
        self.has_mail.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.letters)
    }

    /// Announces that the core goes to sleep. `false` if it must not: a letter has arrived.
    #[must_use]
    pub(crate) fn doze(&self) -> bool {
        let mut inbox = self.lock();
        inbox.asleep = inbox.letters.is_empty();
        inbox.asleep
    }

    /// Announces that the core is up, whatever woke it: no need to ring.
    pub(crate) fn awake(&self) {
        self.lock().asleep = false;
    }

    /// Accepts no more letters. Returns the remaining ones, to be dropped outside the lock.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut inbox = self.lock();
        inbox.closed = true;
        std::mem::take(&mut inbox.letters)
    }
}

#[cfg(test)]
mod tests;
