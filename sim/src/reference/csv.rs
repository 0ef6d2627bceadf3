//! A CSV reader that has the whole file in memory and looks at one byte at a time.

/// A record of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its bytes, without the end of its line.
    pub text: Vec<u8>,
    /// Its fields, without quotes.
    pub fields: Vec<Vec<u8>>,
}

/// The reader's position in a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// At the start of the field.
    Start,
    /// In a field without quotes, or after the closing quote.
    Plain,
    /// Between the quotes.
    Quoted,
}

/// All records of `file`, the header among them. Empty lines are skipped.
#[must_use]
pub fn rows(file: &[u8]) -> Vec<Row> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut rows = vec![];
    let (mut at, mut line) = (0, 1);
    while at < file.len() {
        if matches!(file[at], b'\n' | b'\r') {
            // The LF after a CR belongs to the same line end.
            line += u64::from(file[at] == b'\n' || file.get(at + 1) != Some(&b'\n'));
            at += 1;
            continue;
        }
        let (start, begun_on) = (at, line);
        let mut fields = vec![vec![]];
        let mut within = Within::Start;
        while at < file.len() {
            let byte = file[at];
            let field = fields.last_mut().expect("invariant: a record has a field");
            match within {
                Within::Quoted if byte == b'"' && file.get(at + 1) == Some(&b'"') => {
                    field.push(byte);
                    at += 1;
                }
                Within::Quoted if byte == b'"' => within = Within::Plain,
                Within::Quoted => {
                    line += u64::from(byte == b'\n');
                    field.push(byte);
                }
                Within::Start | Within::Plain => match byte {
                    b'\n' | b'\r' => break,
                    b',' => {
                        fields.push(vec![]);
                        within = Within::Start;
                    }
                    b'"' if within == Within::Start => within = Within::Quoted,
                    _ => {
                        field.push(byte);
                        within = Within::Plain;
                    }
                },
            }
            at += 1;
        }
        rows.push(Row { line: begun_on, text: file[start..at].to_vec(), fields });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(file: &str) -> Vec<Vec<String>> {
        let text = |field: Vec<u8>| String::from_utf8(field).unwrap();
        rows(file.as_bytes()).into_iter().map(|row| row.fields.into_iter().map(text).collect()).collect()
    }

    #[test]
    fn quotes_line_ends_and_empty_lines() {
        assert_eq!(fields("a,b\r\n\r\n\"c,\"\"d\",\ne"), [vec!["a", "b"], vec!["c,\"d", ""], vec!["e"]]);
        assert_eq!(fields("\"two\nlines\",x"), [vec!["two\nlines", "x"]]);
        let lines: Vec<_> = rows(b"a\r\nb\n\n\"c\nd\"\ne").into_iter().map(|row| row.line).collect();
        assert_eq!(lines, [1, 2, 4, 6]);
    }
}
