//! The oracles: each watches the events of a run and objects to violations of one rule. One file each.
//!
//! They know the engine only by the events it reports, whose numbers are documented where they are emitted (`grep 'observe(' kernel/src`). Deadlock and
//! spinning are found by the world itself; results are judged after the run, by the reference.

mod acknowledgements;
mod alignment;
mod apart;
mod bounds;
mod coverage;
mod credits;
mod cuts;
mod fences;
mod holding;
mod protocol;
mod shadow;
mod transactions;
mod visibility;
mod watermarks;
mod windows;

pub use acknowledgements::Acknowledgements;
pub use alignment::Alignment;
pub use apart::Apart;
pub use bounds::Bounds;
pub use coverage::Coverage;
pub use credits::CreditBounds;
pub use cuts::Cuts;
pub use fences::Fences;
pub(crate) use holding::read_folder;
pub use protocol::Protocol;
pub use shadow::Compared;
pub(crate) use shadow::{ShadowRestore, Shadows};
pub(crate) use transactions::{Ledger, Transactions};
pub use visibility::Visibility;
pub use watermarks::{SavedWatermarks, Watermarks};
pub use windows::Windows;
