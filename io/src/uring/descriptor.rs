//! An open file or socket that is closed through the ring when its last owner goes; an operation under way is an owner.

use super::raw::Ring;
use io_uring::types;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};

/// A descriptor, and the ring that closes it.
pub(super) struct Descriptor {
    raw: RawFd,
    ring: Weak<Ring>,
}

impl Descriptor {
    /// Takes ownership of `fd`.
    pub(super) fn new(fd: OwnedFd, ring: &Rc<Ring>) -> Rc<Self> {
        Rc::new(Self { raw: fd.into_raw_fd(), ring: Rc::downgrade(ring) })
    }

    /// Takes ownership of the descriptor that an opening operation has returned.
    pub(super) fn opened(result: u32, ring: &Rc<Ring>) -> Rc<Self> {
        Rc::new(Self { raw: result as RawFd, ring: Rc::downgrade(ring) })
    }

    /// The descriptor for an operation's entry.
    pub(super) fn target(&self) -> types::Fd {
        types::Fd(self.raw)
    }

    /// The descriptor for a system call.
    pub(super) fn raw(&self) -> RawFd {
        self.raw
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        match self.ring.upgrade() {
            Some(ring) => ring.close(self.raw),
            // SAFETY: this was the descriptor's only owner.
            None => drop(unsafe { OwnedFd::from_raw_fd(self.raw) }),
        }
    }
}
