//! Cuts a CSV file that arrives block by block into records.
//!
//! Pure: blocks in, records out, no I/O. What comes out does not depend on where the blocks were cut, be they one byte long. Memory is bounded by
//! the longest record allowed and one block; a longer record is reported with its beginning and skipped to its end.
//!
//! The grammar is that of the `csv` crate (RFC 4180 and what is met in the wild): fields in double quotes may hold commas, line ends and doubled
//! quotes; a record ends with LF, CRLF or CR, the last one also with the file; empty lines are nothing; a UTF-8 byte order mark is skipped.

use csv_core::ReadRecordResult;

/// The UTF-8 byte order mark.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a record that is too long which are kept to show it.
const EXCERPT_BYTES: usize = 1024;

/// What came of looking for the next record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// The block is used up: the next one is needed.
    NeedsBlock,
    /// A record.
    Record(RawRecord<'a>),
    /// A record longer than allowed; it has been skipped.
    TooLong {
        /// The line on which it begins, from 1.
        line: u64,
        /// The line on which it ends.
        last_line: u64,
        /// Its first bytes.
        excerpt: &'a [u8],
    },
    /// The file has ended.
    End,
}

/// One record, as bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawRecord<'a> {
    /// The fields one after the other, without quotes.
    pub(super) fields: &'a [u8],
    /// Where in `fields` each one ends.
    pub(super) ends: &'a [usize],
    /// The record as it stands in the file, without the end of its line.
    pub(super) text: &'a [u8],
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// The line on which it ends.
    pub(super) last_line: u64,
}

/// Where the parser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the start of the file, with this many bytes of a byte order mark behind it.
    Bom(usize),
    /// Between two records.
    Between,
    /// Inside a record.
    Within,
    /// Inside a record that is already too long.
    Skipping,
}

/// See the module.
pub(super) struct CsvParser {
    core: csv_core::Reader,
    place: Place,
    max_record_bytes: usize,
    /// What the blocks before this one held of the current record.
    carried: Vec<u8>,
    /// The fields of the current record; the first `fields_len` bytes count.
    fields: Vec<u8>,
    fields_len: usize,
    ends: Vec<usize>,
    ends_len: usize,
    /// The line on which the current record begins, or the next one will.
    line: u64,
    /// Whether the last record ended with CR, whose LF may follow and ends no further line.
    after_cr: bool,
}

impl CsvParser {
    pub(super) fn new(max_record_bytes: usize) -> Self {
        Self {
            core: csv_core::Reader::new(),
            place: Place::Bom(0),
            max_record_bytes,
            carried: Vec::new(),
            fields: vec![0; 256],
            fields_len: 0,
            ends: vec![0; 32],
            ends_len: 0,
            line: 1,
            after_cr: false,
        }
    }

    /// Begins with another file. The memory is kept.
    pub(super) fn restart(&mut self) {
        self.core = csv_core::Reader::new();
        self.place = Place::Bom(0);
        self.carried.clear();
        self.line = 1;
        self.after_cr = false;
        self.begin_record();
    }

    fn begin_record(&mut self) {
        self.fields_len = 0;
        self.ends_len = 0;
    }

    /// Looks for the next record in `block` from `*at` on and moves `*at` behind what was used. `last`: no further block follows this one.
    pub(super) fn next<'a>(&'a mut self, block: &'a [u8], at: &mut usize, last: bool) -> Parsed<'a> {
        self.skip_bom(block, at, last);
        if self.place == Place::Between {
            self.skip_line_ends(block, at);
            if *at < block.len() {
                self.carried.clear();
                self.begin_record();
                self.place = Place::Within;
            }
        }
        if matches!(self.place, Place::Between | Place::Bom(_)) {
            return if last { Parsed::End } else { Parsed::NeedsBlock };
        }
        let start = *at;
        loop {
            let rest = block.get(*at..).unwrap_or_default();
            if rest.is_empty() && !last {
                self.carry(block.get(start..).unwrap_or_default());
                return Parsed::NeedsBlock;
            }
            let (fields, ends) = (&mut self.fields[self.fields_len..], &mut self.ends[self.ends_len..]);
            // An empty rest tells the parser that the file has ended.
            let (result, read, written, ended) = self.core.read_record(rest, fields, ends);
            *at += read;
            self.fields_len += written;
            self.ends_len += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.place == Place::Skipping => self.begin_record(),
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.place == Place::Skipping => self.begin_record(),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return self.finish(block, start, *at, !rest.is_empty()),
                // Cannot come inside a record; nothing would be left to do if it did.
                ReadRecordResult::End => return Parsed::End,
            }
        }
    }

    /// The record that began in an earlier block, or at `start` of this one, ends at `end`, with a line end unless the file ended.
    fn finish<'a>(&'a mut self, block: &'a [u8], start: usize, end: usize, with_line_end: bool) -> Parsed<'a> {
        let piece = block.get(start..end).unwrap_or_default();
        self.after_cr = with_line_end && piece.last() == Some(&b'\r');
        let piece = if with_line_end { piece.split_last().map_or(piece, |(_, text)| text) } else { piece };
        let (line, skipping) = (self.line, self.place == Place::Skipping);
        self.place = Place::Between;
        let text = if skipping {
            self.line += line_ends(piece);
            self.carried.as_slice()
        } else if self.carried.is_empty() {
            self.line += line_ends(piece);
            piece
        } else {
            self.carried.extend_from_slice(piece);
            self.line += line_ends(&self.carried);
            self.carried.as_slice()
        };
        let last_line = self.line;
        self.line += u64::from(with_line_end);
        if skipping || text.len() > self.max_record_bytes {
            let first_line = if skipping { last_line - self.skipped_lines(last_line) } else { line };
            return Parsed::TooLong { line: first_line, last_line, excerpt: excerpt(text, self.max_record_bytes) };
        }
        RawRecord { fields: &self.fields[..self.fields_len], ends: &self.ends[..self.ends_len], text, line, last_line }.into()
    }
}
