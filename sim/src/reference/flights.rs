//! The reference for the flights job: every row of its files is a flight or malformed, and flights are added up by window and carrier.

use super::calendar;
use super::csv::{self, Row};
use std::collections::BTreeMap;

/// A well-formed flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flight {
    /// The input line.
    pub text: Vec<u8>,
    /// The scheduled departure, in milliseconds since 1970.
    pub at: i64,
    /// The carrier.
    pub carrier: String,
    /// Whether the flight never left.
    pub cancelled: bool,
    /// The delay in minutes; negative if early.
    pub delay_min: Option<i64>,
}

/// File, line and text of a malformed row.
pub type Malformed = (String, u64, Vec<u8>);

/// The rows of all files, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The well-formed rows.
    pub flights: Vec<Flight>,
    /// The malformed rows.
    pub malformed: Vec<Malformed>,
}

/// Parses `files`, given by paths and contents.
#[must_use]
pub fn read(files: &[(String, Vec<u8>)]) -> Input {
    let mut input = Input::default();
    for (path, content) in files {
        let mut rows = csv::rows(content).into_iter();
        let Some(header) = rows.next() else { continue };
        for row in rows {
            match flight(&header, &row) {
                Some(flight) => input.flights.push(flight),
                None => input.malformed.push((path.clone(), row.line, row.text)),
            }
        }
    }
    input
}

fn flight(header: &Row, row: &Row) -> Option<Flight> {
    if row.fields.len() != header.fields.len() || row.fields.iter().any(|field| std::str::from_utf8(field).is_err()) {
        return None;
    }
    let field = |name: &str| {
        let column = header.fields.iter().position(|field| field == name.as_bytes())?;
        std::str::from_utf8(&row.fields[column]).ok()
    };
    let year: i16 = field("year")?.parse().ok()?;
    let small = |name| field(name)?.parse::<i8>().ok().map(i64::from);
    let at = calendar::millis(i64::from(year), small("month")?, small("day")?, small("hour")?, small("minute")?)?;
    let cancelled = match field("dep_time")? {
        "NA" => true,
        time => time.parse::<u16>().map(|_| false).ok()?,
    };
    let delay_min = match field("dep_delay")? {
        "NA" => None,
        delay => Some(delay.parse().ok()?),
    };
    Some(Flight { text: row.text.clone(), at, carrier: field("carrier")?.to_owned(), cancelled, delay_min })
}

/// The results for `flights`, as rows of fields: start of the window, carrier, flights, cancelled, total and longest delay.
#[must_use]
pub fn results(flights: &[Flight], window_ms: i64) -> Vec<Vec<Vec<u8>>> {
    let mut totals: BTreeMap<(i64, &str), (u64, u64, i64, Option<i64>)> = BTreeMap::new();
    for flight in flights {
        let mut start = flight.at / window_ms * window_ms;
        if start > flight.at {
            start -= window_ms;
        }
        let (count, cancelled, total, longest) = totals.entry((start, &flight.carrier)).or_default();
        *count += 1;
        *cancelled += u64::from(flight.cancelled);
        *total += flight.delay_min.unwrap_or(0);
        *longest = (*longest).max(flight.delay_min);
    }
    let row = |((start, carrier), (count, cancelled, total, longest)): ((i64, &str), (u64, u64, i64, Option<i64>))| {
        let longest = longest.map(|longest| longest.to_string()).unwrap_or_default();
        let fields = [calendar::format(start), carrier.to_owned(), count.to_string(), cancelled.to_string(), total.to_string(), longest];
        fields.map(String::into_bytes).to_vec()
    };
    totals.into_iter().map(row).collect()
}

/// Whether no schedule can make one of these flights late: see `lateness`.
#[must_use]
pub fn never_late(flights: &[Flight], out_of_orderness_ms: i64) -> bool {
    let mut watermark = i64::MIN;
    flights.iter().all(|flight| {
        let on_time = flight.at > watermark;
        watermark = watermark.max(flight.at - out_of_orderness_ms - 1);
        on_time
    })
}
