//! What is kept of the records of a key (and window): one accumulator, however many they are.
//!
//! An [`AggregateFunction`] itself is the same for all keys and windows: what has been seen of one of them is in the accumulator it is handed.

use crate::record::Record;

/// Folds records into an accumulator (Flink's `AggregateFunction`).
pub trait AggregateFunction<In: Record>: Clone + Send + 'static {
    /// What is kept for a key (and window).
    type Accumulator: Record;
    /// What it amounts to.
    type Output;

    /// An accumulator that has seen nothing.
    fn create_accumulator(&self) -> Self::Accumulator;

    /// Adds a record.
    fn add(&self, value: In::Ref<'_>, accumulator: &mut Self::Accumulator);

    /// The result so far.
    fn get_result(&self, accumulator: &Self::Accumulator) -> Self::Output;
}

/// A reduce as an aggregate: the accumulator is the reduced record, absent before the first.
#[derive(Clone)]
pub struct ReduceWindow<F> {
    pub(crate) function: F,
}

impl<In, F> AggregateFunction<In> for ReduceWindow<F>
where
    In: Record,
    F: for<'a, 'b> Fn(In::Ref<'a>, In::Ref<'b>) -> In + Clone + Send + 'static,
{
    type Accumulator = Option<In>;
    type Output = In;

    fn create_accumulator(&self) -> Option<In> {
        None
    }

    #[inline]
    fn add(&self, value: In::Ref<'_>, accumulator: &mut Option<In>) {
        *accumulator = Some(match accumulator {
            Some(before) => (self.function)(before.view(), value),
            None => In::from_view(value),
        });
    }

    fn get_result(&self, accumulator: &Option<In>) -> In {
        accumulator.clone().expect("invariant: an accumulator is made for its first record")
    }
}
