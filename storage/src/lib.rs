//! The state store: the state that operators keep between records.
//!
//! It has a hot tier, in memory: [`HotTable`] for keyed state and for the contents of one window, [`TimerQueue`] for timers, and
//! [`KeyedStates`], which finds a state again by its name. Operators reach state only through these types, one lookup per record with the hash that the
//! exchange computed. What they hold can be fixed and saved while it goes on changing ([`Sealable`]). How entries are written as bytes is said in
//! [`checkpoint`].
//!
//! Keys and values are records and are stored as such; no code here knows of streams, or reads a clock.

pub mod checkpoint;
#[cfg(test)]
mod expected;
mod owner;
mod saved;
mod saving;
mod sealable;
mod side_bytes;
mod state_size;
mod states;
mod table;
mod timers;

pub use owner::TableOwner;
pub use saved::{Encode, SavedEntries};
pub use saving::{Saving, Stored};
pub use sealable::{SaveError, Sealable};
pub use side_bytes::SideBytes;
pub use state_size::StateSize;
pub use states::{KeyedStates, StateError, StateId};
pub use table::{HotTable, Position, Remains};
pub use timers::TimerQueue;
