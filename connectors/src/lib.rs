//! Sources and sinks, each behind a feature of its own: a feature that is off brings no dependency.
//!
//! They use the same interfaces of sources and sinks as every connector ([`thalweg_kernel::source`], [`thalweg_kernel::sink`]), and could have been written
//! outside. `csv` and `json` are formats of `files`; `generator` needs nothing. The connectors to the program's own memory, the collection source and the
//! collect sink, belong to the engine.

// The derives name the crate that jobs depend on.
extern crate thalweg_record as thalweg;

#[cfg(feature = "csv")]
mod csv_malformed;
#[cfg(feature = "csv")]
mod csv_parser;
#[cfg(feature = "csv")]
mod csv_reader;
#[cfg(feature = "csv")]
mod csv_row;
#[cfg(feature = "csv")]
mod csv_rows;
#[cfg(feature = "csv")]
mod csv_source;
#[cfg(feature = "csv")]
mod csv_split;
#[cfg(feature = "files")]
mod delivery;
#[cfg(feature = "files")]
mod epoch_end;
#[cfg(feature = "files")]
mod file_folder;
#[cfg(feature = "files")]
mod file_recovery;
#[cfg(feature = "files")]
mod file_sink;
#[cfg(feature = "files")]
mod file_tenure;
#[cfg(feature = "files")]
mod file_writer;
#[cfg(feature = "generator")]
mod generator;
#[cfg(feature = "json")]
mod json_lines;
#[cfg(feature = "files")]
mod line_format;
#[cfg(feature = "files")]
mod owner_file;
#[cfg(feature = "files")]
mod owner_report;
#[cfg(feature = "files")]
mod part_file;
#[cfg(feature = "files")]
mod part_name;

#[cfg(feature = "csv")]
pub use csv_malformed::{MALFORMED, MalformedRecord, MalformedRecordRef};
#[cfg(feature = "csv")]
pub use csv_reader::CsvReader;
#[cfg(feature = "csv")]
pub use csv_row::{CsvError, CsvRow};
#[cfg(feature = "csv")]
pub use csv_rows::{CsvRowWriter, CsvRows};
#[cfg(feature = "csv")]
pub use csv_source::{CsvSource, RowFunction};
#[cfg(feature = "csv")]
pub use csv_split::{CsvSplit, CsvSplitRef};
#[cfg(feature = "files")]
pub use delivery::DeliveryGuarantee;
#[cfg(feature = "files")]
pub use file_folder::{FileTransaction, FileTransactionRef, PreparedFile, PreparedFileRef};
#[cfg(feature = "files")]
pub use file_sink::FileSink;
#[cfg(feature = "files")]
pub use file_writer::FileWriter;
#[cfg(feature = "generator")]
pub use generator::{GeneratorSource, GeneratorSplit, GeneratorSplitRef};
#[cfg(feature = "json")]
pub use json_lines::{JsonLines, JsonObjectWriter};
#[cfg(feature = "files")]
pub use line_format::{LineFormat, Lines};
#[cfg(feature = "files")]
pub use owner_report::owner_report;
