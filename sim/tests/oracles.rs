//! Every oracle can object: each is shown a history with one thing wrong, and the same history without it.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_sim::oracles::{Bounds, CreditBounds, Cuts, Fences, Protocol, Visibility, Watermarks, Windows};
use thalweg_sim::scenario::elements_plan::WindowPlan;
use thalweg_sim::{Oracle, Origin, World, WorldConfig};

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
fn windows_objects_to_firing_later_than_at_the_first_watermark() {
    let fire = |end, watermark| ("window.fire", "window(1/1)", [end, watermark, 1]);
    let restored = |watermark| ("task.start", "window(1/1)", [1, 1, watermark]);
    assert_eq!(verdict(windows(), &[watermark(8), watermark(12), fire(10, 12)]), "");
    let late = [watermark(9), watermark(12), fire(10, 12)];
    assert!(verdict(windows(), &late).contains("fires the window that ends at 10 at the watermark 12, and had been given 9 before"));
    assert_eq!(verdict(windows(), &[restored(12), fire(10, 12)]), "");
    assert!(verdict(windows(), &[restored(12), watermark(13), fire(10, 13)]).contains("had been given 12 before"));
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

const CHANNEL: &str = "attempt 2 channel 7";

#[test]
fn cuts_objects_to_records_that_stand_on_one_side_of_a_barrier_where_they_left_and_on_the_other_where_they_came() {
    for end in ["channel", "link"] {
        let (out, in_) = match end {
            "channel" => ("channel.barrier.out", "channel.barrier.in"),
            _ => ("link.barrier.out", "link.barrier.in"),
        };
        let history = |received| [(out, CHANNEL, [1, 5, 0]), (in_, CHANNEL, [1, received, 0])];
        assert_eq!(verdict(Cuts::default(), &history(5)), "");
        assert!(
            verdict(Cuts::default(), &history(6))
                .contains("6 records were taken before the barrier of checkpoint 1, and Some(5) were sent")
        );
        assert!(verdict(Cuts::default(), &history(5)[1..]).contains("and None were sent"));
        assert!(verdict(Cuts::default(), &[history(5)[0], history(5)[0]]).contains("sent twice"));
    }
    let mixed = [("channel.barrier.out", CHANNEL, [1, 5, 0]), ("link.barrier.in", CHANNEL, [1, 5, 0])];
    assert!(verdict(Cuts::default(), &mixed).contains("None were sent"), "tasks and links count apart");
    let complete = ("checkpoint.complete", "job", [1, 0, 0]);
    assert!(verdict(Cuts::default(), &[mixed[0], complete]).contains("its barrier has not come by attempt 2 channel 7"));
    assert_eq!(verdict(Cuts::default(), &[mixed[0], ("channel.barrier.in", CHANNEL, [1, 5, 0]), complete]), "");
}

#[test]
fn credits_objects_to_frames_without_credit_beyond_the_window_or_out_of_order() {
    let of_window = |credits, wanted, window| ("link.credit", CHANNEL, [credits, wanted, window]);
    let grant = |credits, window| of_window(credits, window, window);
    let sent = |number, records| ("link.frame.out", CHANNEL, [number, records, 2]);
    let came = |number, records| ("link.frame.in", CHANNEL, [number, records, 2]);
    let given_back = ("link.given-back", CHANNEL, [0; 3]);
    let fine = [grant(2, 2), sent(0, 3), came(0, 3), given_back, grant(1, 2), sent(1, 4), sent(2, 5), came(1, 4), came(2, 5)];
    assert_eq!(verdict(CreditBounds::default(), &fine), "");
    assert_eq!(verdict(CreditBounds::default(), &[grant(1, 0), sent(0, 1), came(0, 1)]), "", "one on demand");
    assert_eq!(verdict(CreditBounds::default(), &[of_window(2, 2, 4)]), "", "a slow receiver wants fewer than there are places for");
    assert!(verdict(CreditBounds::default(), &[of_window(4, 4, 2)]).contains("4 are wanted, and the window is 2"));
    assert!(verdict(CreditBounds::default(), &[grant(1, 1), sent(0, 3), sent(1, 3)]).contains("2 frames were sent, and 1 granted"));
    assert!(verdict(CreditBounds::default(), &[grant(2, 2), sent(0, 3), came(0, 3), grant(1, 2)]).contains("3 frames may be under way"));
    assert!(verdict(CreditBounds::default(), &[grant(1, 2)]).contains("1 frames may be under way"), "a place is lost");
    assert!(verdict(CreditBounds::default(), &[grant(2, 2), sent(0, 3), sent(1, 4), came(1, 4)]).contains("Some([0, 3]) was sent"));
    assert!(verdict(CreditBounds::default(), &[grant(2, 2), sent(0, 3), came(0, 2)]).contains("frame 0 with 2 records has come"));
    assert!(verdict(CreditBounds::default(), &[grant(2, 2), sent(0, 3), given_back]).contains("1 frames were worked off, and 0 have come"));
}

#[test]
fn fences_objects_to_a_frame_of_another_attempt() {
    let verdict = |of_frame| {
        let mut oracle = Fences::default();
        let events: [(&str, Event); 3] = [
            ("coordinator", ("attempt.begin", "job", [2, 0, 0])),
            ("worker-0", ("worker.deploy", "job", [2, 0, 0])),
            ("worker-0", ("link.frame.in", CHANNEL, [0, 1, of_frame])),
        ];
        let objection = events.iter().find_map(|(process, (name, place, values))| {
            let origin = Origin { process, incarnation: 0 };
            oracle.observe_in(origin, 0, &ProbeEvent { name, place, values: *values }).err()
        });
        objection.map(|violation| violation.0).unwrap_or_default()
    };
    assert_eq!(verdict(2), "");
    assert!(verdict(1).contains("a frame of attempt 1 passes as one of attempt 2 channel 7"));
}

#[test]
fn protocol_objects_to_rules_that_were_broken_where_the_network_breaks_nothing() {
    let broken = [("protocol.broken", "link with a worker: frame 3 of channel 7 came where frame 2 was to follow", [2, 0, 0])];
    assert!(verdict(Protocol::new(false), &broken).contains("where frame 2 was to follow"));
    assert_eq!(verdict(Protocol::new(true), &broken), "");
}
