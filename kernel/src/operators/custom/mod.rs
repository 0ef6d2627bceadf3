//! User-defined operators: more than functions, since they also see in-band elements.
//!
//! [`stream_operator`] has the calls that an operator gets, [`context`] what it can do in them, and [`running`] makes the calls and keeps the promised
//! order. The forms are [`one_input`], whose records may come as whole runs ([`run_records`]), [`two_inputs`], and [`keyed`], which has state and timers
//! and is run by `operators/process/running.rs`.

mod context;
mod keyed;
mod one_input;
mod run_records;
mod running;
mod stream_operator;
mod two_inputs;

pub(super) use context::Site;
pub use context::{KeyedOperatorContext, OperatorContext};
pub use keyed::KeyedStreamOperator;
pub(crate) use keyed::OperatorFunction;
pub use one_input::OneInputStreamOperator;
pub(crate) use one_input::Transform;
pub use run_records::RunRecords;
pub(super) use stream_operator::Hook;
pub use stream_operator::StreamOperator;
pub use two_inputs::TwoInputStreamOperator;
pub(crate) use two_inputs::TwoInputTransform;
