//! The records of generated jobs, and the plain functions that such jobs apply to them.
//!
//! A record carries its own identity, so that a result can name the records it was made of; so the reference can find out which record was lost, counted
//! twice or put into the wrong window. The functions are the user's side of a job, and no part of the engine: job and reference share them.

use thalweg::Record;

/// The low bits of an id that tell the record's origin; the upper bits tell which copy, or copy of a copy, it is.
const ORIGIN_BITS: u32 = 40;
/// The most copies that a flat map makes of one record.
const COPIES_MAX: u64 = 40;

/// A keyed value at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct Element {
    /// The identity, from source, split and place in the split; unique in the input.
    pub id: u64,
    /// The key of the record.
    pub key: String,
    /// Its event time in milliseconds.
    pub at: i64,
    /// A number to add up.
    pub value: i64,
    /// The watermark that follows it, if its source has punctuated watermarks.
    pub watermark: Option<i64>,
    /// How long the source is silent before it, in milliseconds.
    pub pause_ms: u64,
}

/// An element on its way into the second input of an operator: another type of record, with another layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct Signal {
    /// The key of the element.
    pub of: String,
    /// The identity of the element.
    pub id: u64,
    /// Its event time in milliseconds.
    pub at: i64,
    /// A number to add up.
    pub value: i64,
    /// The watermark and the pause of the element.
    pub marks: (Option<i64>, u64),
}

/// Whether an element takes the second branch where a stream is split in two.
#[must_use]
pub fn is_signal(id: u64) -> bool {
    (id ^ id >> ORIGIN_BITS) % 2 == 1
}

/// The result of a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct WindowResult {
    /// The key of its records.
    pub key: String,
    /// The window's first millisecond.
    pub start: i64,
    /// The first millisecond after it.
    pub end: i64,
    /// The sum of the values.
    pub sum: i64,
    /// The ids of the records, ascending.
    pub ids: Vec<u64>,
}

/// The state of a process function when one of its timers fired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct Tally {
    /// The key of its records.
    pub key: String,
    /// The time of the timer.
    pub timer: i64,
    /// The sum of the values, from the map state.
    pub sum: i64,
    /// The ids of the records, from the list state, ascending.
    pub ids: Vec<u64>,
    /// The number of the key's records that wait for later timers, from the value state.
    pub left: u64,
    /// The wall-clock time, if the timer was a processing-time timer. Such a timer reports itself and no records.
    pub fired_at: Option<i64>,
}

/// The timers whose reports a window contained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct TimersInWindow {
    /// The key of the reports.
    pub key: String,
    /// The window's first millisecond.
    pub start: i64,
    /// The first millisecond after it.
    pub end: i64,
    /// The times of the timers.
    pub timers: Vec<i64>,
}

/// A running aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct Running {
    /// The key of its records.
    pub key: String,
    /// Records so far.
    pub count: u64,
    /// The sum of the values so far.
    pub sum: i64,
}

/// The id of the record at `index` of a split.
#[must_use]
pub fn id_of(source: usize, split: usize, index: usize) -> u64 {
    ((source as u64) << 32) | ((split as u64) << 16) | index as u64
}

/// Source, split and index of a record, from its id or that of one of its copies.
#[must_use]
pub fn origin_of(id: u64) -> (usize, usize, usize) {
    let id = id % (1 << ORIGIN_BITS);
    ((id >> 32) as usize, (id >> 16 & 0xffff) as usize, (id & 0xffff) as usize)
}

/// The function of a map.
#[must_use]
pub fn mapped(element: Element) -> Element {
    Element { value: element.value.wrapping_mul(3).wrapping_add(1), ..element }
}

/// The predicate of a filter.
#[must_use]
pub fn kept(id: u64, value: i64) -> bool {
    !(id ^ value.unsigned_abs()).is_multiple_of(5)
}

/// The function of a flat map: most records become a few, one in sixteen becomes forty unless it is a copy itself.
pub fn copies(element: Element) -> impl Iterator<Item = Element> {
    let lineage = element.id >> ORIGIN_BITS;
    let count = if lineage == 0 && element.id % 16 == 7 { COPIES_MAX } else { element.id % 4 };
    (0..count).map(move |copy| Element {
        id: element.id % (1 << ORIGIN_BITS) + ((lineage * (COPIES_MAX + 1) + copy + 1) << ORIGIN_BITS),
        value: element.value.wrapping_add(copy as i64),
        ..element.clone()
    })
}

/// The coarser key of the second of two windows.
#[must_use]
pub fn group_of(key: &str) -> String {
    format!("group-{}", key.len() % 2)
}
