//! Event time: timestamps, watermarks and windows.
//!
//! Times are milliseconds since 1970-01-01T00:00:00Z in an `i64`, as in Flink (docs/src/semantics.md#t-1). The two ends of the range are
//! reserved: [`NO_TIMESTAMP`] marks a record without a timestamp, and [`Watermark::MAX`] says that no record is still to come.

use std::fmt;

/// The timestamp of a record that has none (docs/src/semantics.md#t-2).
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// The promise that no record with a timestamp at or below it is still to come; a record that breaks it is late
/// (docs/src/semantics.md#t-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Before the first watermark: promises nothing.
    pub const MIN: Self = Self(i64::MIN);
    /// The last watermark: the input has ended (docs/src/semantics.md#e-1).
    pub const MAX: Self = Self(i64::MAX);
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("none yet"),
            Self::MAX => f.write_str("end of input"),
            Self(millis) => f.write_str(&format_millis(millis)),
        }
    }
}

/// `millis` as RFC 3339 with as few digits as needed: `2013-01-01T00:00:00Z`, `2013-01-01T00:00:00.250Z`. A time outside the years
/// -9999..9999 is printed as a number of milliseconds.
#[must_use]
pub fn format_millis(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| format!("{millis}ms"), |timestamp| timestamp.to_string())
}

/// A half-open span of event time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeWindow {
    /// Its first millisecond.
    pub start: i64,
    /// The first millisecond after it.
    pub end: i64,
}

impl TimeWindow {
    /// The last millisecond that belongs to it: results carry it as their timestamp (docs/src/semantics.md#t-4).
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.end - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339_and_out_of_range_ones_as_numbers() {
        assert_eq!(format_millis(1_356_998_400_000), "2013-01-01T00:00:00Z");
        assert_eq!(format_millis(-250), "1969-12-31T23:59:59.75Z");
        assert_eq!(format_millis(i64::MAX - 1), "9223372036854775806ms");
        assert_eq!(Watermark::MAX.to_string(), "end of input");
    }
}
