//! Sources and sinks that come with the engine.

mod collect;
mod collection;
mod generator;

pub use collect::{CollectSink, Collected};
pub use collection::CollectionSource;
pub use generator::GeneratorSource;
