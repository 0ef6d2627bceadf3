//! Callers that were turned away at the coordinator's door: logged, but not a thousand times.
//!
//! Without a secret anybody on the machine gets as far as being refused as a worker. So all callers are counted together, whether they did not know the
//! secret, were silent, or were refused.

use core::net::SocketAddr;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use thalweg_io::Complaints;
use thalweg_io::Io;

/// Counts callers that were turned away. Clones share the count.
#[derive(Clone)]
pub(super) struct TurnedAway {
    io: Io,
    complaints: Rc<RefCell<Complaints>>,
}

impl TurnedAway {
    pub(super) fn new(io: &Io) -> Self {
        Self { io: io.clone(), complaints: Rc::default() }
    }

    pub(super) fn note(&self, from: SocketAddr, reason: &dyn fmt::Display) {
        match self.complaints.borrow_mut().count(&self.io) {
            Some(count) => tracing::warn!(%from, %reason, count, "a caller was turned away"),
            None => tracing::debug!(%from, %reason, "a caller was turned away"),
        }
    }
}
