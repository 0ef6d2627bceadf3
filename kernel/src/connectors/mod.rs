//! Sources and sinks that come with the engine.

mod collect;
mod collection;
mod csv_parser;
mod csv_reader;
mod csv_row;
mod csv_source;
mod delivery;
mod file_folder;
mod file_recovery;
mod file_sink;
mod file_tenure;
mod file_writer;
mod generator;
mod json_lines;
mod line_format;
mod owner_file;
mod owner_report;
mod part_file;
mod part_name;

pub use collect::{CollectSink, CollectTransaction, CollectTransactionRef, Collected};
pub use collection::{CollectionSource, CollectionSplit, CollectionSplitRef};
pub use csv_reader::CsvReader;
pub use csv_row::{CsvError, CsvRow};
pub use csv_source::{CsvSource, CsvSplit, CsvSplitRef, MALFORMED, MalformedRecord, MalformedRecordRef, RowFunction};
pub use delivery::DeliveryGuarantee;
pub use file_folder::{FileTransaction, FileTransactionRef, PreparedFile, PreparedFileRef};
pub use file_sink::FileSink;
pub use file_writer::FileWriter;
pub use generator::{GeneratorSource, GeneratorSplit, GeneratorSplitRef};
pub use json_lines::{JsonLines, JsonObjectWriter};
pub use line_format::{CsvRowWriter, CsvRows, LineFormat, Lines};
pub(crate) use owner_report::owner_report;
