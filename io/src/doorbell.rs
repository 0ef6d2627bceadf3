//! Where other threads leave letters for a core that may be asleep, and how they know whether to ring.
//!
//! The bell itself is whatever ends the core's sleep and remembers being rung while nobody sleeps (an eventfd does). This is the rest of it. A core
//! says that it goes to sleep under the lock under which it sees that there is no letter, and a sender learns that it must ring under the lock under
//! which it leaves one. So either the core finds the letter and stays up, or the sender finds it asleep and rings.

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
    /// The core sleeps, or is about to, and nobody has rung yet.
    asleep: bool,
    /// The core has ended: nobody would take anything out.
    closed: bool,
}

/// The letters of one core.
pub(crate) struct Doorbell<T> {
    inbox: Mutex<Inbox<T>>,
    /// There are letters: a look that takes no lock. Written under the lock.
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
            // Dropping the letter may do anything; not under the lock.
            drop(inbox);
            return false;
        }
        inbox.letters.push(letter);
        self.has_mail.store(true, Ordering::Relaxed);
        std::mem::take(&mut inbox.asleep)
    }

    /// What has come since the last time. It may miss what is coming just now; `doze` will not.
    pub(crate) fn take(&self) -> Vec<T> {
        if !self.has_mail.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut inbox = self.lock();
        self.has_mail.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.letters)
    }

    /// The core announces that it goes to sleep. `false` if it must not: something has come.
    #[must_use]
    pub(crate) fn doze(&self) -> bool {
        let mut inbox = self.lock();
        inbox.asleep = inbox.letters.is_empty();
        inbox.asleep
    }

    /// The core is up, whoever woke it: no need to ring.
    pub(crate) fn awake(&self) {
        self.lock().asleep = false;
    }

    /// Takes no more letters. Returns those that nobody took, to be dropped while nobody holds the lock.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut inbox = self.lock();
        inbox.closed = true;
        std::mem::take(&mut inbox.letters)
    }
}

#[cfg(test)]
mod tests;
