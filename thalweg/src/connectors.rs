//! Sources and sinks that come with the engine, each behind a feature; the collection source and the collect sink are always there.

#[cfg(feature = "csv")]
#[doc(inline)]
pub use thalweg_connectors::{
    CsvError, CsvReader, CsvRow, CsvRowWriter, CsvRows, CsvSource, CsvSplit, CsvSplitRef, MALFORMED, MalformedRecord, MalformedRecordRef,
    RowFunction,
};
#[cfg(feature = "files")]
#[doc(inline)]
pub use thalweg_connectors::{
    DeliveryGuarantee, FileSink, FileTransaction, FileTransactionRef, FileWriter, LineFormat, Lines, PreparedFile, PreparedFileRef,
};
#[cfg(feature = "generator")]
#[doc(inline)]
pub use thalweg_connectors::{GeneratorSource, GeneratorSplit, GeneratorSplitRef};
#[cfg(feature = "json")]
#[doc(inline)]
pub use thalweg_connectors::{JsonLines, JsonObjectWriter};
#[doc(inline)]
pub use thalweg_kernel::connectors::{
    CollectSink, CollectTransaction, CollectTransactionRef, Collected, CollectionSource, CollectionSplit, CollectionSplitRef,
};
