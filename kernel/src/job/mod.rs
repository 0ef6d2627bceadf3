//! A job from its start to its end, over all its attempts, and the user's handle of it.
//!
//! `launch.rs` starts it, `master.rs` takes it from attempt to attempt: `muster.rs` waits for workers, which `crew.rs` lists, `inbox.rs` takes the messages
//! that come meanwhile, `logbook.rs` knows which process runs the job, `origin.rs` and `beginning.rs` find the checkpoint to resume from, `restart.rs`
//! decides whether there is another attempt (pure). `handle.rs` is the user's handle; `callers.rs` and `outcome.rs` answer commands. The coordinator's
//! decisions go into the `journal.rs`, failures with the facts that `diagnosis.rs` knows of them, and `history/` makes of them, purely, the history of the
//! job; `observer.rs` is the interface of observers.

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
