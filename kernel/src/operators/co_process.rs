//! `process` on two streams without a key: one function for the records of both. It is an operator with two inputs (`operators/custom/two_inputs.rs`).

use super::custom::{OperatorContext, StreamOperator, TwoInputStreamOperator};
use super::output_tag::OutputTag;
use super::process::Output;
use crate::record::Record;
use crate::time::Watermark;

/// A function on the records of two streams (Flink's `CoProcessFunction`). Its fields are in no checkpoint, and begin anew after a restart: state and
/// timers belong to keys, and for those there is [`KeyedCoProcessFunction`](crate::KeyedCoProcessFunction).
///
/// Between the records of the two streams there is no order; the watermark is the minimum of both. Each subtask works on a clone.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{CoProcessContext, CoProcessFunction, Output, StreamExecutionEnvironment};
///
/// /// Numbers and words as lines.
/// #[derive(Clone)]
/// struct Lines;
///
/// impl CoProcessFunction for Lines {
///     type In1 = u64;
///     type In2 = String;
///     type Out = String;
///
///     fn process_element1(&mut self, number: u64, _ctx: &mut CoProcessContext<'_>, out: &mut Output<String>) {
///         out.collect(format!("number {number}"));
///     }
///
///     fn process_element2(&mut self, word: &str, _ctx: &mut CoProcessContext<'_>, out: &mut Output<String>) {
///         out.collect(format!("word {word}"));
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamExecutionEnvironment::new();
/// let words = env.from_collection(vec!["one".to_owned()]);
/// let lines = env.from_collection(vec![1u64]).connect(words).process(Lines).collect();
/// env.execute("lines", 1)?.wait()?;
/// let mut lines = lines.take();
/// lines.sort();
/// assert_eq!(lines, ["number 1", "word one"]);
/// # Ok(())
/// # }
/// ```
pub trait CoProcessFunction: Clone + Send + 'static {
    /// The records of the first stream.
    type In1: Record;
    /// The records of the second stream.
    type In2: Record;
    /// The records it emits.
    type Out: Record;

    /// Called for every record of the first stream.
    fn process_element1(&mut self, value: <Self::In1 as Record>::Ref<'_>, ctx: &mut CoProcessContext<'_>, out: &mut Output<Self::Out>);

    /// Called for every record of the second stream.
    fn process_element2(&mut self, value: <Self::In2 as Record>::Ref<'_>, ctx: &mut CoProcessContext<'_>, out: &mut Output<Self::Out>);
}

/// The operations of a [`CoProcessFunction`] on the record in work.
pub struct CoProcessContext<'a> {
    operator: OperatorContext<'a>,
}

impl CoProcessContext<'_> {
    /// The timestamp of the record in milliseconds; `None` if it has none.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.operator.timestamp()
    }

    /// The operator's watermark: event time has reached it in both streams.
    #[must_use]
    pub fn current_watermark(&self) -> Watermark {
        self.operator.current_watermark()
    }

    /// The wall clock at the beginning of this slice of work, in milliseconds since 1970.
    #[must_use]
    pub fn current_processing_time(&self) -> i64 {
        self.operator.current_processing_time()
    }

    /// The number of this subtask, from 0.
    #[must_use]
    pub fn subtask(&self) -> usize {
        self.operator.subtask()
    }

    /// Emits `record` to the side output `tag`, with the current timestamp. The record is dropped if nobody has taken that output
    /// (docs/src/semantics.md#p-4).
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.operator.output(tag, record);
    }
}

/// A function as an operator with two inputs that is called for records only.
#[derive(Clone)]
pub struct CoProcess<P>(pub(crate) P);

impl<P: CoProcessFunction> StreamOperator for CoProcess<P> {
    type Out = P::Out;
}

impl<P: CoProcessFunction> TwoInputStreamOperator for CoProcess<P> {
    type In1 = P::In1;
    type In2 = P::In2;

    #[inline]
    fn process_element1(&mut self, value: <P::In1 as Record>::Ref<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<P::Out>) {
        self.0.process_element1(value, &mut CoProcessContext { operator: ctx.lent() }, out);
    }

    #[inline]
    fn process_element2(&mut self, value: <P::In2 as Record>::Ref<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<P::Out>) {
        self.0.process_element2(value, &mut CoProcessContext { operator: ctx.lent() }, out);
    }
}
