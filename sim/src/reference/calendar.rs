//! Dates by counting days, without a time library.

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_in_year(year: i64) -> i64 {
    365 + i64::from(is_leap(year))
}

/// Milliseconds from 1970 to this minute of UTC, if the minute exists.
#[must_use]
pub fn millis(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> Option<i64> {
    let is_date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !is_date || !(0..24).contains(&hour) || !(0..60).contains(&minute) {
        return None;
    }
    let years: i64 = if year >= 1970 { (1970..year).map(days_in_year).sum() } else { -(year..1970).map(days_in_year).sum::<i64>() };
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    Some((years + months + day - 1) * DAY_MS + hour * 3_600_000 + minute * 60_000)
}

/// Formats a time like `2013-01-01T00:00:00Z`, with as many fraction digits as it needs.
#[must_use]
pub fn format(millis: i64) -> String {
    let (mut days, of_day) = (millis.div_euclid(DAY_MS), millis.rem_euclid(DAY_MS));
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += days_in_year(year);
    }
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        month += 1;
    }
    let (hour, minute, second, fraction) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:03}").trim_end_matches('0').to_owned() };
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(millis(1970, 1, 1, 0, 0), Some(0));
        assert_eq!(millis(2013, 1, 1, 0, 0), Some(1_356_998_400_000));
        assert_eq!(millis(1969, 12, 31, 23, 59), Some(-60_000));
        assert_eq!((millis(1900, 2, 29, 0, 0), millis(2013, 13, 1, 0, 0), millis(2013, 1, 1, 24, 0)), (None, None, None));
        assert!(millis(2000, 2, 29, 0, 0).is_some());
        for at in [0, 1_356_998_400_000, -60_000, 951_782_400_000] {
            assert_eq!(format(at).len(), 20);
        }
        assert_eq!(format(1_356_998_400_000), "2013-01-01T00:00:00Z");
        assert_eq!(format(-250), "1969-12-31T23:59:59.75Z");
        assert_eq!(format(951_782_400_000), "2000-02-29T00:00:00Z");
    }
}
