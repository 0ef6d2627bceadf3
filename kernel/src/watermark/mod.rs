//! Watermarks: [`WatermarkStrategy`] makes them, and [`WatermarkValve`] merges those of several inputs into one.

mod strategy;
mod valve;

pub use strategy::{
    BoundedOutOfOrderness, NoWatermarks, RecordTimestamp, TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
pub(crate) use valve::WatermarkValve;
