//! Watermarks: where they come from ([`WatermarkStrategy`]) and how those of several inputs become one ([`WatermarkValve`]).

mod strategy;
mod valve;

pub use strategy::{
    BoundedOutOfOrderness, NoWatermarks, RecordTimestamp, TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
pub(crate) use valve::WatermarkValve;
