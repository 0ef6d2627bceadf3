//! A user-defined operator on a keyed stream.

use super::context::{KeyedOperatorContext, OperatorContext};
use super::stream_operator::{Hook, StreamOperator};
use crate::operators::process::{Context, KeyedFunction, Takes};
use crate::operators::{OpenContext, Output, Timer};
use crate::record::{Key, Record};

/// An operator on the records of one key at a time, with state and timers of that key, that also sees in-band elements: a
/// [`KeyedProcessFunction`](crate::KeyedProcessFunction) and a [`StreamOperator`] in one. Put on a stream by
/// [`KeyedStream::transform`](crate::KeyedStream::transform).
///
/// State and timers are reached while a record or a timer of their key is in work. The calls of [`StreamOperator`] concern no key: records that they are to
/// emit are held in fields. Those fields are in no checkpoint, so they have to be empty, or not needed, after
/// [`before_barrier`](StreamOperator::before_barrier), which is called before state and timers are saved.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use std::collections::BTreeMap;
/// use thalweg::{
///     KeyedOperatorContext, KeyedStreamOperator, OpenContext, OperatorContext, Output, StreamExecutionEnvironment, StreamOperator, ValueState, Watermark,
/// };
///
/// /// The running count of each word; of several changes between two watermarks only the last is emitted.
/// #[derive(Clone, Default)]
/// struct Counts { count: ValueState<u64>, changed: BTreeMap<String, u64> }
///
/// impl Counts {
///     fn let_go(&mut self, out: &mut Output<(String, u64)>) {
///         std::mem::take(&mut self.changed).into_iter().for_each(|count| out.collect(count));
///     }
/// }
///
/// impl StreamOperator for Counts {
///     type Out = (String, u64);
///
///     fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, out: &mut Output<(String, u64)>) {
///         self.let_go(out);
///     }
///
///     fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<(String, u64)>) {
///         self.let_go(out);
///     }
/// }
///
/// impl KeyedStreamOperator for Counts {
///     type Key = String;
///     type In = String;
///
///     fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
///         self.count = ctx.value_state("count");
///     }
///
///     fn process_element(&mut self, word: &str, ctx: &mut KeyedOperatorContext<'_, '_, String>, _out: &mut Output<(String, u64)>) {
///         let mut access = ctx.value(self.count);
///         let count = access.get_or_insert_with(|| 0);
///         *count += 1;
///         self.changed.insert(word.to_owned(), *count);
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamExecutionEnvironment::new();
/// let words = env.from_collection(["be", "to", "be"].map(str::to_owned).to_vec());
/// let counts = words.key_by::<String>(|word| *word).transform("counts", Counts::default()).collect();
/// env.execute("counts", 1)?.wait()?;
/// assert_eq!(counts.take(), [("be".to_owned(), 2), ("to".to_owned(), 1)]);
/// # Ok(())
/// # }
/// ```
pub trait KeyedStreamOperator: StreamOperator {
    /// The type of the key.
    type Key: Key;
    /// The records it takes.
    type In: Record;

    /// Called once per subtask, before anything else, to register state. It must do nothing that cannot be done twice: it is also called when the job is
    /// [compared with a checkpoint](crate::Job::compare_with).
    fn open(&mut self, _ctx: &mut OpenContext<'_, Self::Key>) {}

    /// Called for every record.
    fn process_element(
        &mut self,
        value: <Self::In as Record>::Ref<'_>,
        ctx: &mut KeyedOperatorContext<'_, '_, Self::Key>,
        out: &mut Output<Self::Out>,
    );

    /// Called for every timer that is due.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut KeyedOperatorContext<'_, '_, Self::Key>, _out: &mut Output<Self::Out>) {}
}

/// A keyed operator in the form that runs it.
#[derive(Clone)]
pub struct OperatorFunction<P>(pub(crate) P);

impl<P: KeyedStreamOperator> KeyedFunction for OperatorFunction<P> {
    type Key = P::Key;
    type Out = P::Out;

    const HAS_HOOKS: bool = true;

    fn open(&mut self, ctx: &mut OpenContext<'_, P::Key>) {
        self.0.open(ctx);
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.on_timer(timer, &mut KeyedOperatorContext { context }, out);
    }

    fn call(&mut self, hook: Hook, ctx: &mut OperatorContext<'_>, out: &mut Output<P::Out>) {
        hook.call(&mut self.0, ctx, out);
    }
}

impl<P: KeyedStreamOperator> Takes for OperatorFunction<P> {
    type In = P::In;

    #[inline]
    fn element(&mut self, value: <P::In as Record>::Ref<'_>, context: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.process_element(value, &mut KeyedOperatorContext { context }, out);
    }
}
