//! The state store: the state that operators keep between records.
//!
//! It has a hot tier, in memory: [`HotTable`] for keyed state, [`WindowTable`] for the contents of one window, [`TimerQueue`] for timers, and
//! [`KeyedStates`], which finds a state again by its name. Operators reach state only through these types, one lookup per record with the hash that the
//! exchange computed. How entries are written as bytes is said in [`checkpoint`].
//!
//! Keys and values are records and are stored as such; no code here knows of streams, or reads a clock.

pub mod checkpoint;
mod owner;
mod states;
mod table;
mod timers;
mod window_table;

pub use owner::TableOwner;
pub use states::{KeyedStates, StateError, StateId};
pub use table::{Encode, HotTable, SaveError, SavedEntries};
pub use timers::TimerQueue;
pub use window_table::WindowTable;
