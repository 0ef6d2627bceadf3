//! Every oracle can object: each is shown a history with one thing wrong, and the same history without it.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_sim::oracles::{Bounds, Visibility, Watermarks, Windows};
use thalweg_sim::scenario::elements_plan::WindowPlan;
use thalweg_sim::{Oracle, World, WorldConfig};

type Event = (&'static str, &'static str, [i64; 3]);

/// What the oracle says to a history; empty if nothing.
fn verdict(mut oracle: impl Oracle, events: &[Event]) -> String {
    let objection = events.iter().find_map(|(name, place, values)| oracle.observe(0, &ProbeEvent { name, place, values: *values }).err());
    objection.or_else(|| oracle.at_end(0).err()).map(|violation| violation.0).unwrap_or_default()
}

const START: Event = ("task.start", "window(1/1)", [2, 1, i64::MIN]);

fn watermark_in(channel: i64, watermark: i64) -> Event {
    ("channel.control", "window(1/1)", [channel, 0, watermark])
}

fn watermark(watermark: i64) -> Event {
    ("task.control", "window(1/1)", [0, watermark, 0])
}

#[test]
fn bounds_objects_to_a_queue_that_is_longer_than_its_channels() {
    let queued = |frames| ("task.queue", "window(1/1)", [frames, 0, 0]);
    assert_eq!(verdict(Bounds::default(), &[START, queued(2)]), "");
    assert!(verdict(Bounds::default(), &[START, queued(3)]).contains("3 frames wait for window(1/1)"));
}

#[test]
fn watermarks_objects_to_anything_but_the_minimum() {
    let history = |merged| [START, watermark_in(0, 9), watermark_in(1, 5), watermark(merged)];
    assert_eq!(verdict(Watermarks::default(), &history(5)), "");
    assert!(verdict(Watermarks::default(), &history(9)).contains("the watermark 9, but its inputs amount to Some(5)"));
    assert!(verdict(Watermarks::default(), &[START, watermark_in(0, 9), watermark(9)]).contains("amount to None"));
}

#[test]
fn watermarks_objects_to_time_that_goes_back() {
    assert!(verdict(Watermarks::default(), &[START, watermark_in(0, 9), watermark_in(0, 8)]).contains("goes back from 9 to 8"));
    let made = |watermark| ("watermark.out", "source(1/1)", [watermark, 0, 0]);
    assert_eq!(verdict(Watermarks::default(), &[made(3), made(4)]), "");
    assert!(verdict(Watermarks::default(), &[made(4), made(4)]).contains("from Some(4) to 4"));
}

#[test]
fn watermarks_objects_to_a_channel_that_goes_on_after_its_end() {
    let end = ("channel.control", "window(1/1)", [0, 5, 0]);
    assert!(verdict(Watermarks::default(), &[START, end, watermark_in(0, 1)]).contains("goes on after its end"));
}

#[test]
fn watermarks_leaves_idle_inputs_out_until_they_are_active_again() {
    let status = |kind| ("channel.control", "window(1/1)", [1, kind, 0]);
    let idle = [START, watermark_in(0, 9), status(1), watermark_in(0, 12), watermark(12)];
    // The idle input held nobody back: 9 was owed as soon as it was declared idle.
    assert!(verdict(Watermarks::default(), &idle).contains("amount to Some(9)"));
    assert_eq!(verdict(Watermarks::default(), &[START, watermark_in(0, 9), status(1), watermark(9), status(2), watermark_in(0, 20)]), "");
}

#[test]
fn watermarks_objects_to_records_of_an_idle_input() {
    let status = |kind| ("channel.control", "window(1/1)", [1, kind, 0]);
    let frame = |records| ("channel.frame", "window(1/1)", [1, records, 0]);
    assert_eq!(verdict(Watermarks::default(), &[START, frame(2), status(1), frame(1), status(2), frame(3)]), "");
    assert!(verdict(Watermarks::default(), &[START, status(1), frame(0), frame(3)]).contains("channel 1 delivers 3 records and is idle"));
}

fn windows() -> Windows {
    let plan = WindowPlan { size_ms: 10, slide_ms: None, offset_ms: 0, lateness_ms: 5 };
    Windows::new(BTreeMap::from([("window", plan)]))
}

#[test]
fn windows_objects_to_firing_too_early_or_twice() {
    let fire = |end, watermark| ("window.fire", "window(1/1)", [end, watermark, 1]);
    assert_eq!(verdict(windows(), &[watermark(9), fire(10, 9)]), "");
    assert!(verdict(windows(), &[watermark(8), fire(10, 8)]).contains("fires the window that ends at 10 at the watermark 8"));
    assert!(verdict(windows(), &[watermark(9), fire(10, 9), fire(10, 9)]).contains("twice"));
    assert!(verdict(windows(), &[watermark(8), fire(10, 9)]).contains("goes by the watermark 9, but was given 8"));
}

#[test]
fn windows_objects_to_lateness_that_the_watermark_does_not_justify() {
    let late = |timestamp, watermark, lateness| ("window.late", "window(1/1)", [timestamp, watermark, lateness]);
    // [0, 10) is over when the watermark reaches 9 + 5.
    assert_eq!(verdict(windows(), &[watermark(14), late(3, 14, 5)]), "");
    assert!(verdict(windows(), &[watermark(13), late(3, 13, 5)]).contains("finds a record late at 3 while the watermark is 13"));
    assert!(verdict(windows(), &[watermark(14), late(3, 14, 0)]).contains("allows a lateness of 0 ms"));
    let elsewhere = ("window.late", "map(1/1)", [3, i64::MIN, 5]);
    assert!(verdict(windows(), &[elsewhere]).contains("no window that the job has"));
}

#[test]
fn visibility_objects_to_results_before_the_commit() {
    let look = ("task.queue", "x", [0; 3]);
    let commit = ("checkpoint.commit", "x", [0; 3]);
    let world = World::new(1, WorldConfig::calm());
    world.disk().put("/out/part-0-0.csv", "old").unwrap();
    let oracle = || Visibility::new(world.disk().clone(), &["/out"]);
    let early = oracle();
    let on_time = oracle();
    let emptied = oracle();
    world.disk().put("/out/.part-1-0.csv.inprogress", "hidden").unwrap();
    assert_eq!(verdict(emptied, &[look]), "");
    world.disk().put("/out/part-1-0.csv", "new").unwrap();
    assert!(verdict(early, &[look]).contains("before the commit one sees"));
    // It is looked at when the commit begins, and not after it.
    let mut on_time = on_time;
    assert!(on_time.observe(0, &ProbeEvent { name: commit.0, place: commit.1, values: commit.2 }).is_err());
    let mut after = oracle();
    assert!(after.observe(0, &ProbeEvent { name: commit.0, place: commit.1, values: commit.2 }).is_ok());
    world.disk().put("/out/part-2-0.csv", "newer").unwrap();
    assert_eq!(verdict(after, &[look]), "");
}
