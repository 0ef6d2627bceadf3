//! A reader that is started with a snapshot goes on behind the last record that was emitted, wherever blocks, batches and lines end.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::any::Any;
use std::future::poll_fn;
use thalweg::connectors::{CollectionSource, CsvError, CsvRow, CsvSource, GeneratorSource, MalformedRecord};
use thalweg::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use thalweg::{OutputTag, Record};
use thalweg_world::SteppedDisk;

/// What came out of a reader, in order.
#[derive(Clone, Debug, PartialEq)]
enum Seen<T> {
    Record(T),
    Malformed(MalformedRecord),
}

struct Output<T> {
    seen: Vec<Seen<T>>,
    /// How many it has room for.
    room: usize,
}

impl<T: Record> ReaderOutput<T> for Output<T> {
    fn is_ready(&self) -> bool {
        self.seen.len() < self.room
    }

    fn collect(&mut self, record: T, _timestamp: i64) {
        assert!(self.is_ready());
        self.seen.push(Seen::Record(record));
    }

    fn collect_view(&mut self, view: T::Ref<'_>, timestamp: i64) {
        self.collect(T::from_view(view), timestamp);
    }

    fn malformed<S: Record>(&mut self, _tag: &OutputTag<S>, record: S) {
        assert!(self.is_ready());
        let record: Box<dyn Any> = Box::new(record);
        self.seen.push(Seen::Malformed(*record.downcast().unwrap()));
    }
}

/// Reads `split` until `room` records have come or it ends; then where the reader is.
#[allow(clippy::type_complexity)]
fn read<S: Source>(
    disk: &SteppedDisk,
    source: &S,
    split: S::Split,
    block: usize,
    limit: usize,
    room: usize,
) -> Result<(Vec<Seen<S::Out>>, S::Split, bool), SourceError> {
    let mut reader = source.reader(ReaderContext { io: disk.io(), read_block_bytes: block });
    let mut output = Output { seen: Vec::new(), room };
    reader.start(split);
    loop {
        if output.seen.len() == room {
            return Ok((output.seen, reader.snapshot(), false));
        }
        let poll = poll_fn(|cx| {
            let before = output.seen.len();
            let polled = reader.poll_next(cx, &mut output, limit);
            assert!(output.seen.len() <= before + limit, "not more than a batch");
            polled
        });
        let status = disk.run(poll).unwrap()?;
        if status == ReaderStatus::EndOfSplit {
            return Ok((output.seen, reader.snapshot(), true));
        }
    }
}

/// The first split of `source`.
fn first<S: Source>(disk: &SteppedDisk, source: &S, parallelism: usize) -> S::Split {
    disk.run(source.splits(disk.io(), parallelism)).unwrap().unwrap().into_iter().next().unwrap()
}

/// Stopping after each number of records, and going on in a new reader, gives what one reader gives.
fn check<S: Source<Out: PartialEq + std::fmt::Debug>>(disk: &SteppedDisk, source: &S, split: &S::Split, blocks: &[usize], limit: usize) {
    let (all, _, ended) = read(disk, source, split.clone(), 4096, 100, usize::MAX).unwrap();
    assert!(ended);
    for &block in blocks {
        for n in 0..=all.len() {
            let (mut seen, at, _) = read(disk, source, split.clone(), block, limit, n).unwrap();
            let (rest, ..) = read(disk, source, at.clone(), block, limit, usize::MAX).unwrap();
            seen.extend(rest);
            assert_eq!(seen, all, "stopped after {n} of {}, blocks of {block}, batches of {limit}", all.len());
            // A checkpoint right after the restore, before anything was emitted, says the same.
            let (none, again, _) = read(disk, source, at, block, limit, 0).unwrap();
            assert!(none.is_empty());
            let (rest, ..) = read(disk, source, again, block, limit, usize::MAX).unwrap();
            assert_eq!(rest, all[n..]);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Record)]
struct Row {
    line: u64,
    name: String,
    number: u32,
    text: String,
}

type Parse = fn(&CsvRow<'_>) -> Result<Row, CsvError>;

fn rows(max_record_bytes: usize) -> CsvSource<Row, Parse> {
    let parse: Parse =
        |row| Ok(Row { line: row.line(), name: row.get("name")?.to_owned(), number: row.parse("number")?, text: row.text().to_owned() });
    CsvSource::with("in.csv", parse).max_record_bytes(max_record_bytes)
}

const ODD: &str = "\u{feff}\r\nname,number\r\n\"O, \"\"K\"\"\",1\r\n\r\n\r\nplain,2\n\"two\r\nlines\",3\rcr,4\r\r\nmany,x\r\nshort\r\n\
    a very long row that is longer than allowed,5\r\nbehind it,6\r\n\"a very long row\nwith\nlines\nof its own\",7\nlate,8\n\n\n\"open,9\nto the end";

#[test]
fn odd_rows_are_read_on_behind_each_of_them() {
    let disk = SteppedDisk::new();
    disk.put("in.csv", ODD).unwrap();
    let source = rows(20);
    let split = first(&disk, &source, 1);
    for limit in 1..=3 {
        check(&disk, &source, &split, &(1..=64).collect::<Vec<_>>(), limit);
    }
    let (all, ..) = read(&disk, &source, split, 7, 1, usize::MAX).unwrap();
    let places = all.iter().map(|seen| match seen {
        Seen::Record(row) => (row.line, row.number),
        Seen::Malformed(row) => (row.line, 0),
    });
    assert_eq!(places.collect::<Vec<_>>(), [(3, 1), (6, 2), (7, 3), (9, 4), (11, 0), (12, 0), (13, 0), (14, 6), (15, 0), (19, 8), (22, 0)]);
}

#[test]
fn a_header_that_is_longer_than_a_block_is_read_again() {
    let disk = SteppedDisk::new();
    disk.put("in.csv", "number,\"a column\nof no use\",name\n1,x,a\n2,y,b\n3,z,c").unwrap();
    let source = rows(1000);
    let split = first(&disk, &source, 1);
    check(&disk, &source, &split, &[1, 2, 5, 13, 32, 33, 34, 64], 1);
}

#[test]
fn a_file_without_rows_and_one_at_its_end_give_nothing_more() {
    let disk = SteppedDisk::new();
    for content in
        ["", "\n", "name,number", "name,number\r", "name,number\r\n", "name,number\na,1", "name,number\na,1\r", "name,number\na,1\r\n\r\n"]
    {
        disk.put("in.csv", content).unwrap();
        let source = rows(1000);
        let split = first(&disk, &source, 1);
        check(&disk, &source, &split, &[1, 2, 3, 64], 2);
    }
}

#[test]
fn a_file_that_has_become_shorter_or_lost_its_header_is_refused_with_a_cure() {
    let disk = SteppedDisk::new();
    disk.put("in.csv", "name,number\na,1\nb,2\n").unwrap();
    let source = rows(1000);
    let split = first(&disk, &source, 1);
    let (_, at, _) = read(&disk, &source, split, 64, 1, 2).unwrap();
    assert_eq!((at.file.as_str(), at.offset, at.line), ("in.csv", 20, 4));
    disk.put("in.csv", "name,number\na,1\n").unwrap();
    let error = read(&disk, &source, at.clone(), 64, 1, 9).unwrap_err();
    let expected = "in.csv has 16 bytes and was to be read on from byte 20: it has changed since the checkpoint; put the file back";
    assert!(matches!(&error, SourceError::Invalid(reason) if reason.starts_with(expected)), "{error}");
    disk.put("in.csv", "\n".repeat(30)).unwrap();
    let error = read(&disk, &source, at, 64, 1, 9).unwrap_err();
    assert!(matches!(&error, SourceError::Invalid(reason) if reason.starts_with("in.csv has no header")), "{error}");
}

/// Bytes in which everything that means something to the grammar is frequent.
fn csv_text() -> impl Strategy<Value = String> {
    let pieces = ["\"", ",", "\n", "\r", "\r\n", "\n\n", "a", "7", "é", "x,1\n", "\"y\n\",2\r\n", "a long row that is too long,3\n"];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_file_is_read_on_behind_any_record(text in csv_text(), mark: bool, block in 1..65usize, limit in 1..4usize) {
        let disk = SteppedDisk::new();
        disk.put("in.csv", format!("{}name,number\r\n{text}", if mark { "\u{feff}" } else { "" })).unwrap();
        let source = rows(16);
        let split = first(&disk, &source, 1);
        check(&disk, &source, &split, &[block], limit);
    }
}

#[test]
fn a_collection_is_read_on_by_position_and_stays_in_the_source() {
    let disk = SteppedDisk::new();
    let source = CollectionSource::from_splits(vec![vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], vec![], vec!["d".to_owned()]]);
    let splits = disk.run(source.splits(disk.io(), 1)).unwrap().unwrap();
    let ranges: Vec<_> = splits.iter().map(|split| (split.next, split.end)).collect();
    assert_eq!(ranges, [(0, 3), (3, 3), (3, 4)]);
    for split in &splits {
        check(&disk, &source, split, &[1], 2);
    }
    let smaller = CollectionSource::new(vec!["a".to_owned()]);
    let error = read(&disk, &smaller, splits[2], 1, 1, 1).unwrap_err().to_string();
    assert!(error.contains("from 3 to 4") && error.contains("it began with"), "{error}");
}

#[test]
fn a_generator_goes_on_with_the_next_number() {
    let disk = SteppedDisk::new();
    let source = GeneratorSource::new(10, |i| i);
    for split in disk.run(source.splits(disk.io(), 3)).unwrap().unwrap() {
        check(&disk, &source, &split, &[1], 2);
    }
}
