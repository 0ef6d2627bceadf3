//! The source and the sink in the memory of the program.

mod collect;
mod collection;

pub use collect::{CollectSink, CollectTransaction, CollectTransactionRef, Collected};
pub use collection::{CollectionSource, CollectionSplit, CollectionSplitRef};
