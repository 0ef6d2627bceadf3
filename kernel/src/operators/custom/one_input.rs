//! A user-defined operator with one input. It joins the chain that it is put on, and no call per record is dynamic.

use super::context::OperatorContext;
use super::run_records::RunRecords;
use super::running::{OperatorInput, RunningOperator};
use super::stream_operator::StreamOperator;
use crate::chain::{Collector, Stage, pass_on};
use crate::exchange::Run;
use crate::graph_ids::OperatorId;
use crate::operators::{Operator, Output};
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::time::NO_TIMESTAMP;

/// An operator with one input (Flink's `OneInputStreamOperator`), for what a function cannot do: hold records and release them in time, or take many at
/// once. Put on a stream by [`DataStream::transform`](crate::DataStream::transform). The calls beside those for records are described in
/// [`StreamOperator`].
///
/// An operator that needs keyed state or timers is a [`KeyedStreamOperator`](crate::KeyedStreamOperator).
///
/// Put an operator that holds records behind [`assign_timestamps_and_watermarks`](crate::DataStream::assign_timestamps_and_watermarks): in front of it, in
/// the chain of a source, a record that is held longer than a batch may be counted to the split that is read after its own.
///
/// A buffering pre-aggregation, which sends fewer records over an exchange than it takes. It keeps nothing back over a barrier, so it needs no state;
/// nothing over a watermark, so nothing becomes late; and it never holds more than 1000 keys:
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use std::collections::BTreeMap;
/// use thalweg::{OneInputStreamOperator, OperatorContext, Output, StreamExecutionEnvironment, StreamOperator, Watermark};
///
/// type Amount = (String, u64);
///
/// /// Adds up what comes for a key in between. A sum has the latest time of its records.
/// #[derive(Clone, Default)]
/// struct PreSum { sums: BTreeMap<String, (u64, Option<i64>)> }
///
/// impl PreSum {
///     fn let_go(&mut self, out: &mut Output<Amount>) {
///         for (key, (sum, timestamp)) in std::mem::take(&mut self.sums) {
///             match timestamp {
///                 Some(timestamp) => out.collect_with_timestamp((key, sum), timestamp),
///                 None => out.collect((key, sum)),
///             }
///         }
///     }
/// }
///
/// impl StreamOperator for PreSum {
///     type Out = Amount;
///
///     fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, out: &mut Output<Amount>) {
///         self.let_go(out);
///     }
///
///     fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<Amount>) {
///         self.let_go(out);
///     }
///
///     fn before_idle(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<Amount>) {
///         self.let_go(out);
///     }
/// }
///
/// impl OneInputStreamOperator for PreSum {
///     type In = Amount;
///
///     fn process_element(&mut self, (key, amount): (&str, u64), ctx: &mut OperatorContext<'_>, out: &mut Output<Amount>) {
///         if let Some((sum, timestamp)) = self.sums.get_mut(key) {
///             *sum += amount;
///             *timestamp = ctx.timestamp().max(*timestamp);
///         } else {
///             self.sums.insert(key.to_owned(), (amount, ctx.timestamp()));
///         }
///         if self.sums.len() == 1000 {
///             self.let_go(out);
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamExecutionEnvironment::new();
/// let amounts = [("tea", 2), ("milk", 1), ("tea", 3)].map(|(key, amount)| (key.to_owned(), amount));
/// let sums = env
///     .from_collection(amounts.to_vec())
///     .transform("pre-sum", PreSum::default())
///     .key_by::<String>(|(key, _)| *key)
///     .reduce(|(key, sum), (_, next)| (key.to_owned(), sum + next))
///     .collect();
/// env.execute("sums", 1)?.wait()?;
/// assert_eq!(sums.take(), [("milk".to_owned(), 1), ("tea".to_owned(), 5)]);
/// # Ok(())
/// # }
/// ```
pub trait OneInputStreamOperator: StreamOperator {
    /// The records it takes.
    type In: Record;

    /// Whether records are gathered and handed over by [`process_run`](Self::process_run): for operators whose work costs less for many at once. Gathering
    /// makes records owned and costs some nanoseconds per record; with `false`, the default, nothing is gathered.
    /// [`process_element`](Self::process_element) has to be written all the same; it is not called if `process_run` is written.
    ///
    /// An operator that takes runs, and emits what it makes of one in portions:
    ///
    /// ```
    /// # extern crate thalweg_kernel as thalweg;
    /// use thalweg::{OneInputStreamOperator, OperatorContext, Output, RunRecords, StreamExecutionEnvironment, StreamOperator};
    ///
    /// /// Emits each number as often as it says.
    /// #[derive(Clone, Default)]
    /// struct Repeat { left: Vec<u64> }
    ///
    /// impl Repeat {
    ///     fn emit_some(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<u64>) {
    ///         self.left.drain(..self.left.len().min(100)).for_each(|number| out.collect(number));
    ///         if !self.left.is_empty() {
    ///             ctx.suspend();
    ///         }
    ///     }
    /// }
    ///
    /// impl StreamOperator for Repeat {
    ///     type Out = u64;
    ///
    ///     fn resume(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<u64>) {
    ///         self.emit_some(ctx, out);
    ///     }
    /// }
    ///
    /// impl OneInputStreamOperator for Repeat {
    ///     type In = u64;
    ///     const TAKES_RUNS: bool = true;
    ///
    ///     fn process_element(&mut self, _: u64, _: &mut OperatorContext<'_>, _: &mut Output<u64>) {
    ///         unreachable!("runs are taken");
    ///     }
    ///
    ///     fn process_run(&mut self, run: RunRecords<'_, u64>, ctx: &mut OperatorContext<'_>, out: &mut Output<u64>) {
    ///         for (_timestamp, number) in run.views() {
    ///             self.left.extend((0..number).map(|_| number));
    ///         }
    ///         self.emit_some(ctx, out);
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = StreamExecutionEnvironment::new();
    /// let repeated = env.from_collection(vec![2, 300]).transform("repeat", Repeat::default()).collect();
    /// env.execute("repeated", 1)?.wait()?;
    /// assert_eq!(repeated.take().len(), 302);
    /// # Ok(())
    /// # }
    /// ```
    const TAKES_RUNS: bool = false;

    /// Called once per subtask, before anything else: with the number of the subtask, from 0, and how many there are.
    fn open(&mut self, _subtask: usize, _parallelism: usize) {}

    /// Called for every record.
    fn process_element(&mut self, value: <Self::In as Record>::Ref<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>);

    /// Called for every run of records if [`TAKES_RUNS`](Self::TAKES_RUNS). The default processes one element after the other. Records that it leaves in
    /// the run are dropped.
    ///
    /// The context has no timestamp, and records emitted by [`collect`](Output::collect) get none: the timestamps come with the records.
    fn process_run(&mut self, run: RunRecords<'_, Self::In>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>) {
        for (timestamp, view) in run.views() {
            let timestamp = timestamp.unwrap_or(NO_TIMESTAMP);
            (ctx.timestamp, out.timestamp) = (timestamp, timestamp);
            self.process_element(view, ctx, out);
        }
    }
}

/// An operator and the run that is gathered for it.
pub struct OneInput<P: OneInputStreamOperator> {
    operator: P,
    run: Run<P::In>,
}

impl<P: OneInputStreamOperator> OperatorInput for OneInput<P> {
    type Operator = P;

    #[inline]
    fn operator(&mut self) -> &mut P {
        &mut self.operator
    }

    #[inline]
    fn has_run(&self) -> bool {
        P::TAKES_RUNS && !self.run.is_empty()
    }

    fn process_run(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<P::Out>) {
        self.operator.process_run(RunRecords::new(&mut self.run), ctx, out);
        self.run.clear();
    }
}

/// Describes a user-defined operator with one input.
#[derive(Clone)]
pub struct Transform<P> {
    pub(crate) operator: P,
    pub(crate) id: OperatorId,
}

impl<P: OneInputStreamOperator> Operator<P::In> for Transform<P> {
    type Out = P::Out;
    type Running<D: Collector<P::Out>> = RunningTransform<P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> RunningTransform<P, D> {
        let mut operator = self.operator;
        let (subtask, parallelism) = (cx.subtask(), cx.name.parallelism);
        cx.operator(self.id).call("(open)", || operator.open(subtask, parallelism));
        let most = cx.settings().frame_records;
        RunningTransform { most, down: RunningOperator::start(OneInput { operator, run: Run::new() }, cx, self.id, down) }
    }
}

/// A running operator with one input.
pub struct RunningTransform<P: OneInputStreamOperator, D> {
    /// Most records in a run.
    most: usize,
    /// Takes everything but the records.
    down: RunningOperator<OneInput<P>, D>,
}

impl<P: OneInputStreamOperator, D: Collector<P::Out>> Collector<P::In> for RunningTransform<P, D> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: P::In) {
        if P::TAKES_RUNS {
            let run = &mut self.down.input.run;
            run.push(timestamp, record);
            if run.len() == self.most {
                self.down.advance();
            }
        } else {
            self.push_view(timestamp, record.view());
        }
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: <P::In as Record>::Ref<'_>) {
        if P::TAKES_RUNS {
            self.push(timestamp, P::In::from_view(view));
        } else {
            self.down.element(view, timestamp, |operator, ctx, out| operator.process_element(view, ctx, out));
        }
    }
}

impl<P: OneInputStreamOperator, D: Collector<P::Out>> Stage for RunningTransform<P, D> {
    pass_on!();
}
