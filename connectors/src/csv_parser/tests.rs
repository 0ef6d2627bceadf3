//! The parser compared with the `csv` crate, which is given the whole file at once.

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Record { fields: Vec<Vec<u8>>, text: Vec<u8>, lines: (u64, u64) },
    TooLong { lines: (u64, u64), excerpt: Vec<u8> },
}

/// Parses `file` cut into blocks of the given sizes, which are repeated as needed.
fn parse(file: &[u8], sizes: &[usize], max_record_bytes: usize) -> Vec<Seen> {
    let mut parser = CsvParser::new(max_record_bytes);
    let mut blocks = Vec::new();
    let mut rest = file;
    for size in sizes.iter().cycle() {
        let (block, after) = rest.split_at((*size).min(rest.len()));
        blocks.push(block);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let mut seen = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let mut at = 0;
        loop {
            match parser.next(block, &mut at, i + 1 == blocks.len()) {
                Parsed::NeedsBlock => break,
                Parsed::End => return seen,
                Parsed::TooLong { line, last_line, excerpt } => {
                    seen.push(Seen::TooLong { lines: (line, last_line), excerpt: excerpt.to_vec() });
                }
                Parsed::Record(record) => {
                    let starts = std::iter::once(0).chain(record.ends.iter().copied());
                    let fields = starts.zip(record.ends).map(|(start, end)| record.fields[start..*end].to_vec()).collect();
                    seen.push(Seen::Record { fields, text: record.text.to_vec(), lines: (record.line, record.last_line) });
                }
            }
        }
        assert_eq!(at, block.len(), "a block is used up before the next one is asked for");
    }
    panic!("the end of the file was not seen");
}

fn fields_by_csv_crate(file: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
}

/// `(first line, last line, text)` of each record.
fn texts(file: &str, block: usize) -> Vec<(u64, u64, String)> {
    let record = |seen| match seen {
        Seen::Record { text, lines: (first, last), .. } => (first, last, String::from_utf8(text).unwrap()),
        Seen::TooLong { lines: (first, last), .. } => (first, last, "too long".to_owned()),
    };
    parse(file.as_bytes(), &[block], 1000).into_iter().map(record).collect()
}

#[test]
fn records_keep_their_text_and_their_lines_whatever_ends_them() {
    let file = "\u{feff}a,b\r\n\r\n1,\"x\ny\"\n\n\n3,4\r\"5\n\",6";
    for block in [1, 2, 3, 7, 1000] {
        let expected = [(1, 1, "a,b"), (3, 4, "1,\"x\ny\""), (7, 7, "3,4"), (8, 9, "\"5\n\",6")];
        assert_eq!(texts(file, block), expected.map(|(first, last, text)| (first, last, text.to_owned())), "blocks of {block}");
    }
}

#[test]
fn a_file_of_nothing_but_line_ends_or_of_part_of_a_byte_order_mark() {
    assert!(texts("", 1).is_empty());
    assert!(texts("\u{feff}\r\n\n", 1).is_empty());
    assert_eq!(parse(b"\xef\xbb", &[1], 10).len(), 1);
}

#[test]
fn a_record_that_is_too_long_is_skipped_and_the_next_one_is_found() {
    let file = "a\n\"0123456789\n0123456789\"\nb\n";
    for block in [1, 5, 100] {
        let seen = parse(file.as_bytes(), &[block], 12);
        assert_eq!(seen.len(), 3, "blocks of {block}");
        assert_eq!(seen[1], Seen::TooLong { lines: (2, 3), excerpt: b"\"0123456789\n".to_vec() });
        assert!(matches!(&seen[2], Seen::Record { text, lines: (4, 4), .. } if text == b"b"));
    }
}

/// Bytes in which every character that matters to the grammar is frequent.
fn csv_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![b"\"".to_vec(), b",".to_vec(), b"\n".to_vec(), b"\r".to_vec(), b"\r\n".to_vec()]),
        2 => prop::collection::vec(b'a'..b'd', 1..4),
        1 => Just(BOM.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// For any bytes and any blocks, the fields are those that the csv crate finds in the whole file.
    #[test]
    fn any_bytes_in_any_blocks_give_what_the_csv_crate_gives(file in csv_bytes(), sizes in prop::collection::vec(1..9usize, 1..5)) {
        let mine = parse(&file, &sizes, usize::MAX);
        let fields: Vec<_> = mine.iter().map(|seen| match seen {
            Seen::Record { fields, .. } => fields.clone(),
            Seen::TooLong { .. } => vec![],
        }).collect();
        prop_assert_eq!(fields, fields_by_csv_crate(&file));
        prop_assert_eq!(&mine, &parse(&file, &[usize::MAX], usize::MAX));
        // Together the texts are the file without empty lines, line ends and the mark.
        for seen in &mine {
            if let Seen::Record { text, .. } = seen {
                prop_assert!(text.is_empty() || file.windows(text.len()).any(|window| window == text));
            }
        }
    }

    /// Whether a record is too long does not depend on the blocks either.
    #[test]
    fn the_limit_of_a_record_does_not_depend_on_the_blocks(file in csv_bytes(), sizes in prop::collection::vec(1..9usize, 1..5), limit in 1..20usize) {
        prop_assert_eq!(parse(&file, &[usize::MAX], limit), parse(&file, &sizes, limit));
    }
}
