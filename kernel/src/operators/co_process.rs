//! `process` on two streams without a key: one function for the records of both.

use super::connected::TwoInputOperator;
use super::process::Output;
use super::side_output::{OutputTag, SideOutputs, WithSides};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::exchange::{Arrival, Head};
use crate::graph::OperatorId;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driver::TaskClock;
use crate::subtask::operator_info::OperatorInfo;
use crate::time::{Control, NO_TIMESTAMP, Watermark};
use std::fmt::Debug;
use std::rc::Rc;

/// A function on the records of two streams (Flink's `CoProcessFunction`). What it keeps in its fields is in no checkpoint, and begins anew after a restart:
/// state and timers belong to keys, and for those there is [`KeyedCoProcessFunction`](crate::KeyedCoProcessFunction).
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
    /// What comes in the first stream.
    type In1: Record;
    /// What comes in the second stream.
    type In2: Record;
    /// What goes out.
    type Out: Record;

    /// Called for every record of the first stream.
    fn process_element1(&mut self, value: <Self::In1 as Record>::Ref<'_>, ctx: &mut CoProcessContext<'_>, out: &mut Output<Self::Out>);

    /// Called for every record of the second stream.
    fn process_element2(&mut self, value: <Self::In2 as Record>::Ref<'_>, ctx: &mut CoProcessContext<'_>, out: &mut Output<Self::Out>);
}

/// What a [`CoProcessFunction`] can do with the record in work.
pub struct CoProcessContext<'a> {
    timestamp: i64,
    watermark: Watermark,
    processing_time: i64,
    subtask: usize,
    sides: &'a mut SideOutputs,
}

impl CoProcessContext<'_> {
    /// The timestamp of the record in milliseconds; `None` if nobody has given it one.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        (self.timestamp != NO_TIMESTAMP).then_some(self.timestamp)
    }

    /// The operator's watermark: event time has come this far in both streams.
    #[must_use]
    pub fn current_watermark(&self) -> Watermark {
        self.watermark
    }

    /// The wall clock at the beginning of this slice of work, in milliseconds since 1970.
    #[must_use]
    pub fn current_processing_time(&self) -> i64 {
        self.processing_time
    }

    /// The number of this subtask, from 0.
    #[must_use]
    pub fn subtask(&self) -> usize {
        self.subtask
    }

    /// Emits `record` to the side output `tag`, with the current timestamp. It goes nowhere if nobody has taken that output
    /// (docs/src/semantics.md#p-4).
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, self.timestamp, record);
    }
}

/// Describes a process on two streams without a key.
#[derive(Clone)]
pub struct CoProcess<P> {
    pub(crate) function: P,
    pub(crate) id: OperatorId,
}

impl<P: CoProcessFunction> TwoInputOperator<P::In1, P::In2> for CoProcess<P> {
    type Out = P::Out;
    type Running<D: Collector<P::Out>> = RunningCoProcess<P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> RunningCoProcess<P, D> {
        RunningCoProcess {
            function: self.function,
            watermark: cx.restored_watermark(),
            output: Output::new(),
            clock: cx.clock.clone(),
            subtask: cx.subtask(),
            info: cx.operator(self.id),
            down: WithSides::new(cx, self.id, down),
        }
    }
}

/// A running process on two streams.
pub struct RunningCoProcess<P: CoProcessFunction, D> {
    function: P,
    watermark: Watermark,
    /// With what the last call emitted and there was no room for.
    output: Output<P::Out>,
    clock: TaskClock,
    subtask: usize,
    info: Rc<OperatorInfo>,
    down: WithSides<D>,
}

impl<P: CoProcessFunction, D: Collector<P::Out>> RunningCoProcess<P, D> {
    #[inline]
    fn element<V: Debug>(&mut self, view: V, timestamp: i64, call: impl FnOnce(&mut P, &mut CoProcessContext<'_>, &mut Output<P::Out>)) {
        let Self { function, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let processing_time = self.clock.now().wall.0;
        let mut cx =
            CoProcessContext { timestamp, watermark: self.watermark, processing_time, subtask: self.subtask, sides: &mut down.sides };
        info.call(view, || call(function, &mut cx, output));
        self.output.hand_down(&mut self.down);
    }
}

impl<P: CoProcessFunction, D: Collector<P::Out>> Head<P::In1, 0> for RunningCoProcess<P, D> {
    #[inline]
    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<P::In1>) {
        let view = record.view();
        self.element(view, timestamp, |function, cx, out| function.process_element1(view, cx, out));
    }
}

impl<P: CoProcessFunction, D: Collector<P::Out>> Head<P::In2, 1> for RunningCoProcess<P, D> {
    #[inline]
    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<P::In2>) {
        let view = record.view();
        self.element(view, timestamp, |function, cx, out| function.process_element2(view, cx, out));
    }
}

impl<P: CoProcessFunction, D: Collector<P::Out>> Stage for RunningCoProcess<P, D> {
    fn control(&mut self, control: Control) {
        if let Control::Watermark(watermark) = control {
            self.watermark = watermark;
        }
        self.down.control(control);
    }

    #[inline]
    fn ready(&self) -> bool {
        self.output.records.is_empty() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done if self.output.hand_down(&mut self.down) => Resumed::Done,
            Resumed::Done => Resumed::Again,
            other => other,
        }
    }

    pass_on!(batch_end flush poll_progress processing_time finish);
}
