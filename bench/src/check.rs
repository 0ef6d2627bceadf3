//! The sums over all outputs by which a run is checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Outputs, and wrapping sums of their check values, over all subtasks.
#[derive(Default)]
pub struct Totals {
    outputs: AtomicU64,
    a: AtomicU64,
    f: AtomicU64,
}

impl Totals {
    /// Outputs, and the sums of `a` and `f`.
    pub fn get(&self) -> (u64, u64, u64) {
        (self.outputs.load(Ordering::SeqCst), self.a.load(Ordering::SeqCst), self.f.load(Ordering::SeqCst))
    }
}

/// One subtask's share; added to the totals when it is dropped. A clone starts from nothing.
pub struct Share {
    totals: Arc<Totals>,
    outputs: u64,
    a: u64,
    f: u64,
}

impl Share {
    /// An empty share of `totals`.
    pub fn of(totals: &Arc<Totals>) -> Self {
        Self { totals: Arc::clone(totals), outputs: 0, a: 0, f: 0 }
    }

    /// Adds an output.
    #[inline(always)]
    pub fn add(&mut self, a: u64, f: u64) {
        self.outputs += 1;
        self.a = self.a.wrapping_add(a);
        self.f = self.f.wrapping_add(f);
    }
}

impl Clone for Share {
    fn clone(&self) -> Self {
        Self::of(&self.totals)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.totals.outputs.fetch_add(self.outputs, Ordering::SeqCst);
        self.totals.a.fetch_add(self.a, Ordering::SeqCst);
        self.totals.f.fetch_add(self.f, Ordering::SeqCst);
    }
}
