//! Spans of time as people write them, in options.

use std::time::Duration;

/// A span of time for an option's `value_parser`: `1d`, `1h 30min`, `250ms`, or `0`.
///
/// # Errors
/// If `text` is no span of time; the message gives valid examples.
pub fn duration(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" => Ok(Duration::ZERO),
        text => humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 1d, 90min or 250ms")),
    }
}

/// The same for a span that must be at least one millisecond: the size of a window, say.
///
/// # Errors
/// As [`duration`].
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        span if span.as_millis() == 0 => Err("it must be at least 1ms".to_owned()),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_as_people_write_them() {
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("1h 30min"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("soon").is_err_and(|message| message.contains("write for example")));
        assert!(positive_duration("0").is_err());
        assert!(positive_duration("1us").is_err());
    }
}
