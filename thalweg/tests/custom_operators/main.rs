//! Operators of a user's own: what they are told of, and when.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../common/mod.rs"]
mod common;
mod keyed;
mod many;
mod told;

use common::{Event, EventRef, event, events, run, sorted};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    CheckpointConfig, EngineSettings, JobError, JobHandle, KeyedOperatorContext, KeyedStreamOperator, OneInputStreamOperator,
    OperatorContext, Output, RunRecords, StreamExecutionEnvironment, StreamOperator, Timer, Watermark, WatermarkStrategy,
};

/// What happened, in order.
type Log = Arc<Mutex<Vec<String>>>;

fn tell(log: &Log, line: impl Into<String>) {
    log.lock().unwrap().push(line.into());
}

/// Holds values until something makes it let go, and tells of every call.
#[derive(Clone)]
struct Holder {
    log: Log,
    held: Vec<(Option<i64>, i64)>,
    /// Whether the end of a batch lets go, too.
    by_batch: bool,
}

impl Holder {
    fn let_go(&mut self, why: String, out: &mut Output<i64>) {
        tell(&self.log, why);
        for (timestamp, value) in self.held.drain(..) {
            match timestamp {
                Some(timestamp) => out.collect_with_timestamp(value, timestamp),
                None => out.collect(value),
            }
        }
    }
}

impl StreamOperator for Holder {
    type Out = i64;

    fn before_watermark(&mut self, watermark: Watermark, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        assert_eq!((ctx.timestamp(), ctx.current_watermark()), (None, watermark));
        self.let_go(format!("before {}", shown(watermark)), out);
    }

    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.let_go("before barrier".to_owned(), out);
    }

    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        if self.by_batch {
            self.let_go("batch".to_owned(), out);
        }
    }

    fn end_of_input(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.let_go("before end".to_owned(), out);
    }
}

impl OneInputStreamOperator for Holder {
    type In = i64;

    fn open(&mut self, subtask: usize, parallelism: usize) {
        tell(&self.log, format!("open {subtask} of {parallelism}"));
    }

    fn process_element(&mut self, value: i64, ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.log, format!("take {value}"));
        self.held.push((ctx.timestamp(), value));
    }
}

/// Stands behind another operator and tells of what comes from it.
#[derive(Clone)]
struct Below(Log);

impl StreamOperator for Below {
    type Out = i64;

    fn before_watermark(&mut self, watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.0, format!("  {}", shown(watermark)));
    }

    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.0, "  barrier");
    }

    fn end_of_input(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.0, "  end");
    }
}

impl OneInputStreamOperator for Below {
    type In = i64;

    fn process_element(&mut self, value: i64, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        tell(&self.0, format!("  {value} at {}", ctx.timestamp().map_or_else(|| "none".to_owned(), |at| at.to_string())));
        out.collect(value);
    }
}

fn shown(watermark: Watermark) -> String {
    if watermark == Watermark::MAX { "W max".to_owned() } else { format!("W {}", watermark.0) }
}

/// The settings under which all that can be out of room is, again and again.
fn cramped() -> EngineSettings {
    EngineSettings::default().frame_records(3).channel_frames(1).slice_records(1).source_batch_records(2)
}
