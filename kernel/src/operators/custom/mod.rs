//! Operators that a user writes: more than a function, since they are told of what goes by in band.
//!
//! [`stream_operator`] says what an operator is told of, [`context`] what it can do meanwhile, and [`running`] calls it and keeps the order that is promised.
//! The forms are [`one_input`], whose records may come as whole runs ([`run_records`]), [`two_inputs`], and [`keyed`], which has state and timers and is run
//! by `operators/process/running.rs`.

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
