//! A job from its start to its end, over all its attempts, and what the user holds of it.
//!
//! `launch.rs` starts it, `master.rs` takes it from attempt to attempt: `muster.rs` waits for workers, of which `crew.rs` keeps a list, `inbox.rs` hears what
//! comes meanwhile, `logbook.rs` knows whose job it is, `origin.rs` and `beginning.rs` find what to go on from, `restart.rs` decides whether there is another
//! attempt (pure). `handle.rs` is what the user holds; `callers.rs` and `outcome.rs` are how commands are answered. What the coordinator decides goes into the
//! `journal.rs`, failures with what `diagnosis.rs` knows of them, of which `history/` makes, purely, what has become of the job; `observer.rs` are those who watch it.

pub(crate) mod beginning;
pub(crate) mod callers;
pub(crate) mod crew;
pub(crate) mod diagnosis;
pub(crate) mod handle;
pub(crate) mod history;
pub(crate) mod inbox;
pub(crate) mod journal;
pub(crate) mod launch;
pub(crate) mod logbook;
pub(crate) mod master;
pub(crate) mod muster;
pub(crate) mod observer;
pub(crate) mod origin;
pub(crate) mod outcome;
pub(crate) mod restart;
