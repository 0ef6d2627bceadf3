//! Sources and sinks that come with the engine.

mod collect;
mod collection;
mod csv_parser;
mod csv_row;
mod csv_source;
mod file_sink;
mod file_writer;
mod generator;
mod line_format;

pub use collect::{CollectSink, Collected};
pub use collection::CollectionSource;
pub use csv_row::{CsvError, CsvRow};
pub use csv_source::{CsvReader, CsvSource, MALFORMED, MalformedRecord, MalformedRecordRef, RowFunction};
pub use file_sink::FileSink;
pub use file_writer::FileWriter;
pub use generator::GeneratorSource;
pub use line_format::{CsvRowWriter, CsvRows, LineFormat, Lines};
