//! Records as lines of result files, and back: jobs whose results have to outlive a process write them this way.

use super::elements::{Element, Running, Tally, TimersInWindow, WindowResult};
use std::str::FromStr;
use thalweg::Record;

/// A record that can be written as a line and read back.
pub(crate) trait Line: Record {
    /// The record as a line, without its end.
    fn line(&self) -> String;
    /// Parses the record of a line.
    fn of_line(line: &str) -> Option<Self>;
}

fn list<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// The fields of a line, from left to right.
struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn of(line: &'a str) -> Self {
        Self(line.split('|'))
    }

    fn text(&mut self) -> Option<String> {
        self.0.next().map(str::to_owned)
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn optional<T: FromStr>(&mut self) -> Option<Option<T>> {
        match self.0.next()? {
            "" => Some(None),
            number => number.parse().ok().map(Some),
        }
    }

    fn list<T: FromStr>(&mut self) -> Option<Vec<T>> {
        let numbers = self.0.next()?;
        numbers.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().ok()).collect()
    }

    fn end(mut self) -> Option<()> {
        self.0.next().is_none().then_some(())
    }
}

fn or_empty(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

impl Line for Element {
    fn line(&self) -> String {
        let Self { id, key, at, value, watermark, pause_ms } = self;
        format!("{id}|{key}|{at}|{value}|{}|{pause_ms}", or_empty(*watermark))
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut f = Fields::of(line);
        let element =
            Self { id: f.number()?, key: f.text()?, at: f.number()?, value: f.number()?, watermark: f.optional()?, pause_ms: f.number()? };
        f.end().map(|()| element)
    }
}

impl Line for WindowResult {
    fn line(&self) -> String {
        let Self { key, start, end, sum, ids } = self;
        format!("{key}|{start}|{end}|{sum}|{}", list(ids))
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut f = Fields::of(line);
        let result = Self { key: f.text()?, start: f.number()?, end: f.number()?, sum: f.number()?, ids: f.list()? };
        f.end().map(|()| result)
    }
}

impl Line for Tally {
    fn line(&self) -> String {
        let Self { key, timer, sum, ids, left, fired_at } = self;
        format!("{key}|{timer}|{sum}|{}|{left}|{}", list(ids), or_empty(*fired_at))
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut f = Fields::of(line);
        let tally =
            Self { key: f.text()?, timer: f.number()?, sum: f.number()?, ids: f.list()?, left: f.number()?, fired_at: f.optional()? };
        f.end().map(|()| tally)
    }
}

impl Line for TimersInWindow {
    fn line(&self) -> String {
        let Self { key, start, end, timers } = self;
        format!("{key}|{start}|{end}|{}", list(timers))
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut f = Fields::of(line);
        let result = Self { key: f.text()?, start: f.number()?, end: f.number()?, timers: f.list()? };
        f.end().map(|()| result)
    }
}

impl Line for Running {
    fn line(&self) -> String {
        let Self { key, count, sum } = self;
        format!("{key}|{count}|{sum}")
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut f = Fields::of(line);
        let running = Self { key: f.text()?, count: f.number()?, sum: f.number()? };
        f.end().map(|()| running)
    }
}

impl Line for u64 {
    fn line(&self) -> String {
        self.to_string()
    }

    fn of_line(line: &str) -> Option<Self> {
        line.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let element = Element { id: 7, key: "k1".to_owned(), at: -5, value: 3, watermark: None, pause_ms: 0 };
        assert_eq!(Element::of_line(&element.line()), Some(element.clone()));
        let tally = Tally { key: "k".to_owned(), timer: -1, sum: 0, ids: vec![], left: 2, fired_at: Some(-3) };
        assert_eq!(Tally::of_line(&tally.line()), Some(tally));
        let result = WindowResult { key: String::new(), start: -10, end: 0, sum: 4, ids: vec![1, 2] };
        assert_eq!(WindowResult::of_line(&result.line()), Some(result));
        assert_eq!(Element::of_line("7|k1|-5|3||0|1"), None);
    }
}
