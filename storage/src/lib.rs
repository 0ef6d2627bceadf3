//! The state store: the state that operators keep between records.
//!
//! It has a hot tier, in memory: [`HotTable`] for keyed state and for the contents of one window, [`MapTable`] and [`ListTable`] where a key has a map or a
//! list, [`TimerQueue`] for timers, and [`KeyedStates`], which finds a state again by its name. Operators reach state only through these types, with the hash
//! that the exchange computed. What they hold can be fixed and saved while it goes on changing ([`Sealable`]). How entries are written as bytes is said in
//! [`checkpoint`].
//!
//! Keys and values are records and are stored as such; no code here knows of streams, or reads a clock.

pub mod checkpoint;
#[cfg(test)]
mod expected;
mod in_one_table;
mod list;
mod map;
mod owner;
mod saved;
mod saving;
mod sealable;
mod side_bytes;
mod state_kind;
mod state_size;
mod state_table;
mod states;
mod table;
mod timers;

pub use list::{ListTable, list_piece_hash};
pub use map::{MapTable, map_entry_hash};
pub use owner::TableOwner;
pub use saved::{Encode, SavedEntries, SavedPart};
pub use saving::{Saving, Stored};
pub use sealable::{SaveError, Sealable};
pub use side_bytes::SideBytes;
pub use state_kind::{ListOf, MapOf, StateKind, ValueOf};
pub use state_size::StateSize;
pub use state_table::StateTable;
pub use states::{KeyedStates, StateError, StateId};
pub use table::{HotTable, Position, Remains};
pub use timers::TimerQueue;
