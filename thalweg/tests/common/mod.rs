//! What the tests of semantics share: an element that says itself when the watermark advances, so that a test reads as a table.
#![allow(dead_code)]

use thalweg::{Chain, DataStream, Record, StreamExecutionEnvironment, Watermark, WatermarkGenerator, WatermarkOutput, WatermarkStrategy};

/// A keyed value at a time. `watermark` is emitted behind it.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Event {
    pub key: String,
    pub at: i64,
    pub value: i64,
    pub watermark: Option<i64>,
}

/// `key` has `value` at `at`.
pub fn event(key: &str, at: i64, value: i64) -> Event {
    Event { key: key.to_owned(), at, value, watermark: None }
}

impl Event {
    /// The watermark that follows the element.
    pub fn then_watermark(self, watermark: i64) -> Self {
        Self { watermark: Some(watermark), ..self }
    }
}

/// Emits the watermarks that the elements carry.
#[derive(Clone)]
pub struct FromElements;

impl WatermarkGenerator<Event> for FromElements {
    fn on_event(&mut self, event: EventRef<'_>, _timestamp: i64, output: &mut WatermarkOutput) {
        if let Some(watermark) = event.watermark {
            output.emit(Watermark(watermark));
        }
    }

    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}
}

/// The elements as one split, with their times and watermarks.
pub fn events(env: &StreamExecutionEnvironment, events: Vec<Event>) -> DataStream<impl Chain<Out = Event>> {
    let strategy = WatermarkStrategy::for_generator(FromElements).with_timestamp_assigner(|event: EventRef<'_>| event.at);
    env.from_collection(events).assign_timestamps_and_watermarks(strategy)
}

/// Runs the job to its end on `cores` cores.
pub fn run(env: StreamExecutionEnvironment, cores: usize) -> thalweg::JobReport {
    env.execute("test", cores).and_then(thalweg::JobHandle::wait).expect("the job finishes")
}

/// Sorted, for results of several subtasks.
pub fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values
}
