//! The source and the sink that live in the memory of the program: a collection, and what it collects.

mod collect;
mod collection;

pub use collect::{CollectSink, CollectTransaction, CollectTransactionRef, Collected};
pub use collection::{CollectionSource, CollectionSplit, CollectionSplitRef};
