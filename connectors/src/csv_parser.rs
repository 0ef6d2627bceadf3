//! Cuts a CSV file that arrives block by block into records.
//!
//! Pure: blocks in, records out, no I/O. The output does not depend on where the blocks were cut, be they one byte long. Memory is bounded by the longest
//! record allowed and one block; a longer record is reported with its beginning and skipped to its end.
//!
//! The grammar is that of the `csv` crate (RFC 4180 and common extensions): fields in double quotes may hold commas, line ends and doubled quotes; a record
//! ends with LF, CRLF or CR, the last one also with the file; empty lines are skipped, as is a UTF-8 byte order mark.

use csv_core::ReadRecordResult;

/// The UTF-8 byte order mark.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How much of a too long record is kept to show it, in bytes.
const EXCERPT_BYTES: usize = 1024;

/// The outcome of looking for the next record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// The block is used up: the parser needs the next one.
    NeedsBlock,
    /// The next record.
    Record(RawRecord<'a>),
    /// The record is longer than allowed; it has been skipped.
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
    /// The end of each field in `fields`.
    pub(super) ends: &'a [usize],
    /// The record as it stands in the file, without the end of its line.
    pub(super) text: &'a [u8],
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// The line on which it ends.
    pub(super) last_line: u64,
}

/// The parser's position between and within records.
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

/// See the module's documentation.
pub(super) struct CsvParser {
    core: csv_core::Reader,
    place: Place,
    max_record_bytes: usize,
    /// The part of the current record that earlier blocks held.
    carried: Vec<u8>,
    /// The fields of the current record; the first `fields_len` bytes count.
    fields: Vec<u8>,
    fields_len: usize,
    ends: Vec<usize>,
    ends_len: usize,
    /// The current line, from 1: everything before it has been parsed.
    line: u64,
    /// The line on which the current record begins.
    begun_on: u64,
    /// Whether the last record ended with CR: the LF that may follow belongs to it.
    after_cr: bool,
}

impl CsvParser {
    pub(super) fn new(max_record_bytes: usize) -> Self {
        let mut parser = Self {
            core: csv_core::Reader::new(),
            place: Place::Bom(0),
            max_record_bytes,
            carried: Vec::new(),
            fields: vec![0; 256],
            fields_len: 0,
            ends: vec![0; 32],
            ends_len: 0,
            line: 1,
            begun_on: 1,
            after_cr: false,
        };
        parser.restart();
        parser
    }

    /// Prepares for another file. The memory is kept.
    pub(super) fn restart(&mut self) {
        self.resume(1, false);
        self.place = Place::Bom(0);
    }

    /// Resumes between two records of a file, where [`line`](Self::line) was `line`. `after_cr`: the byte before is a CR.
    pub(super) fn resume(&mut self, line: u64, after_cr: bool) {
        self.core = csv_core::Reader::new();
        // Parse an empty line, which is no record: after it the reader no longer looks for a byte order mark, which it would miss in short blocks.
        self.core.read_record(b"\n", &mut self.fields, &mut self.ends);
        self.place = Place::Between;
        self.line = line;
        self.after_cr = after_cr;
    }

    /// The current line, from 1: everything before it has been parsed. Behind a record, the line after its end.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Looks for the next record in `block` from `*at` on and moves `*at` past the bytes used. `last`: no further block follows this one.
    pub(super) fn next<'a>(&'a mut self, block: &'a [u8], at: &mut usize, last: bool) -> Parsed<'a> {
        if let Place::Bom(seen) = self.place {
            self.skip_bom(seen, block, at, last);
        }
        if self.place == Place::Between {
            self.skip_line_ends(block, at);
            if *at < block.len() {
                self.begin();
            }
        }
        if matches!(self.place, Place::Between | Place::Bom(_)) {
            return if last { Parsed::End } else { Parsed::NeedsBlock };
        }
        let start = *at;
        loop {
            let rest = &block[*at..];
            if rest.is_empty() && !last {
                self.carry(&block[start..]);
                return Parsed::NeedsBlock;
            }
            let (fields, ends) = (&mut self.fields[self.fields_len..], &mut self.ends[self.ends_len..]);
            // An empty rest tells the reader that the file has ended.
            let (result, read, written, ended) = self.core.read_record(rest, fields, ends);
            *at += read;
            self.fields_len += written;
            self.ends_len += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                // A skipped record's fields are never read: they may be overwritten.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull if self.place == Place::Skipping => self.forget_fields(),
                // Not longer than the record, which is at most one block longer than allowed.
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let with_line_end = !rest.is_empty();
                    return self.finish(&block[start..*at], with_line_end);
                }
                // The reader ends an open record with the file before it reports the end: here no record is open.
                ReadRecordResult::End => return Parsed::End,
            }
        }
    }

    /// Skips a byte order mark of which `seen` bytes were in earlier blocks. If there is none, those bytes begin the first record.
    fn skip_bom(&mut self, seen: usize, block: &[u8], at: &mut usize, last: bool) {
        let expected = &BOM[seen..];
        let matching = block[*at..].iter().zip(expected).take_while(|(byte, mark)| byte == mark).count();
        let undecided = *at + matching == block.len() && !last;
        if matching == expected.len() {
            *at += matching;
            self.place = Place::Between;
        } else if undecided {
            *at += matching;
            self.place = Place::Bom(seen + matching);
        } else {
            self.place = Place::Between;
            if seen > 0 {
                self.begin();
                let (_, _, written, _) = self.core.read_record(&BOM[..seen], &mut self.fields, &mut self.ends);
                self.fields_len = written;
                self.carry(&BOM[..seen]);
            }
        }
    }

    fn skip_line_ends(&mut self, block: &[u8], at: &mut usize) {
        while let Some(byte @ (b'\n' | b'\r')) = block.get(*at) {
            self.line += u64::from(*byte == b'\n' && !self.after_cr);
            self.after_cr = false;
            *at += 1;
        }
    }

    fn begin(&mut self) {
        self.place = Place::Within;
        self.carried.clear();
        self.begun_on = self.line;
        self.forget_fields();
    }

    fn forget_fields(&mut self) {
        self.fields_len = 0;
        self.ends_len = 0;
    }

    fn excerpt_bytes(&self) -> usize {
        EXCERPT_BYTES.min(self.max_record_bytes)
    }

    /// Keeps a piece of the current record that ends with its block.
    fn carry(&mut self, piece: &[u8]) {
        self.line += line_ends(piece);
        if self.place == Place::Skipping {
            return;
        }
        self.carried.extend_from_slice(piece);
        if self.carried.len() > self.max_record_bytes {
            self.place = Place::Skipping;
            self.carried.truncate(self.excerpt_bytes());
        }
    }

    /// The current record ends with `piece`, whose last byte ends its line unless the file ended first.
    fn finish<'a>(&'a mut self, piece: &'a [u8], with_line_end: bool) -> Parsed<'a> {
        let (piece, line_end) = match piece.split_last() {
            Some((line_end, piece)) if with_line_end => (piece, Some(*line_end)),
            _ => (piece, None),
        };
        let excerpt_bytes = self.excerpt_bytes();
        let text = if self.carried.is_empty() {
            self.line += line_ends(piece);
            piece
        } else {
            self.carry(piece);
            &self.carried
        };
        let (line, last_line) = (self.begun_on, self.line);
        self.after_cr = line_end == Some(b'\r');
        self.line += u64::from(line_end.is_some());
        let too_long = self.place == Place::Skipping || text.len() > self.max_record_bytes;
        self.place = Place::Between;
        if too_long {
            return Parsed::TooLong { line, last_line, excerpt: &text[..text.len().min(excerpt_bytes)] };
        }
        Parsed::Record(RawRecord { fields: &self.fields[..self.fields_len], ends: &self.ends[..self.ends_len], text, line, last_line })
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
