//! What can flow through a job, and the words by which store, engine and connectors speak of it: records and keys, the key groups that keys fall into, the
//! numbers of jobs, attempts and checkpoints, event time.
//!
//! It stands below the store and the engine and knows neither of them. Users find all of it in the crate `thalweg`, whose paths the derives write into a
//! user's code; a crate below that one that derives records says `extern crate thalweg_record as thalweg;`, as this one does.
//!
//! Not here: what travels in band with the records, which is the engine's affair, and where anything is stored.

extern crate self as thalweg;

pub mod hex;
mod ids;
mod key_groups;
pub mod record;
mod time;

pub use ids::{Attempt, CheckpointId, JobId};
pub use key_groups::{HashRange, KeyGroups};
pub use time::{NO_TIMESTAMP, TimeWindow, Watermark, format_millis};
