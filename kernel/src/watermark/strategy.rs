//! Assigns event times to records and watermarks to a stream.
//!
//! A [`WatermarkStrategy`] joins a timestamp assigner, a generator and, optionally, an idleness timeout. In the chain of a source there is one generator
//! per
//! *split*, and the source's watermark is the minimum over the splits it is reading (docs/src/semantics.md#w-2).

use crate::record::Record;
use crate::time::Watermark;
use std::marker::PhantomData;
use std::time::Duration;

/// Gives a record its event time.
pub trait TimestampAssigner<T: Record>: Clone + Send + 'static {
    /// The event time of `record` in milliseconds; `previous` is the timestamp it had, or [`NO_TIMESTAMP`](crate::NO_TIMESTAMP).
    fn timestamp(&mut self, record: T::Ref<'_>, previous: i64) -> i64;
}

impl<T: Record, F> TimestampAssigner<T> for F
where
    F: for<'a> FnMut(T::Ref<'a>) -> i64 + Clone + Send + 'static,
{
    #[inline]
    fn timestamp(&mut self, record: T::Ref<'_>, _previous: i64) -> i64 {
        self(record)
    }
}

/// Keeps the timestamp that the source assigned.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordTimestamp;

impl<T: Record> TimestampAssigner<T> for RecordTimestamp {
    #[inline]
    fn timestamp(&mut self, _record: T::Ref<'_>, previous: i64) -> i64 {
        previous
    }
}

/// Takes the watermarks that a generator emits.
#[derive(Debug)]
pub struct WatermarkOutput {
    pub(crate) emitted: Option<Watermark>,
}

impl WatermarkOutput {
    /// Emits `watermark`. A watermark that does not rise above the last one is ignored.
    #[inline]
    pub fn emit(&mut self, watermark: Watermark) {
        self.emitted = self.emitted.max(Some(watermark));
    }
}

/// Derives the progress of event time from the records seen.
pub trait WatermarkGenerator<T: Record>: Clone + Send + 'static {
    /// Called for every record, after its timestamp is known. A watermark emitted here stands behind the record.
    fn on_event(&mut self, record: T::Ref<'_>, timestamp: i64, output: &mut WatermarkOutput);

    /// Called after every batch of records (Flink: every 200 ms).
    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput);

    /// The state that it needs when its split resumes after a restore, in a form of its own: checkpoints hold it. A generator that saves nothing begins
    /// anew, as in Flink, behind the watermark that it had emitted.
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Restores the bytes that [`snapshot`](Self::snapshot) gave. Bytes of another form, of an older version of the job, are to be ignored.
    fn restore(&mut self, _snapshot: &[u8]) {}
}

/// The highest timestamp seen less a fixed bound, less one (Flink's `BoundedOutOfOrdernessWatermarks`).
#[derive(Clone, Debug)]
pub struct BoundedOutOfOrderness {
    bound_ms: i64,
    highest: i64,
}

impl BoundedOutOfOrderness {
    /// A generator that trusts records to be at most `bound` behind the latest one.
    #[must_use]
    pub fn new(bound: Duration) -> Self {
        Self { bound_ms: i64::try_from(bound.as_millis()).unwrap_or(i64::MAX), highest: i64::MIN }
    }
}

impl<T: Record> WatermarkGenerator<T> for BoundedOutOfOrderness {
    #[inline]
    fn on_event(&mut self, _record: T::Ref<'_>, timestamp: i64, _output: &mut WatermarkOutput) {
        self.highest = self.highest.max(timestamp);
    }

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        output.emit(Watermark(self.highest.saturating_sub(self.bound_ms).saturating_sub(1)));
    }

    fn snapshot(&self) -> Vec<u8> {
        self.highest.to_le_bytes().to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) {
        if let Ok(highest) = snapshot.try_into() {
            self.highest = i64::from_le_bytes(highest);
        }
    }
}

/// Emits nothing: for streams that need no event time before the end of input.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWatermarks;

impl<T: Record> WatermarkGenerator<T> for NoWatermarks {
    #[inline]
    fn on_event(&mut self, _record: T::Ref<'_>, _timestamp: i64, _output: &mut WatermarkOutput) {}

    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}
}

/// Timestamps and watermarks of a stream of `T`; see [`DataStream::assign_timestamps_and_watermarks`](crate::DataStream::assign_timestamps_and_watermarks).
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use std::time::Duration;
/// use thalweg::{Record, WatermarkStrategy};
///
/// #[derive(Clone, Debug, Record)]
/// struct Click { at_ms: i64, page: String }
///
/// let strategy = WatermarkStrategy::<Click>::for_bounded_out_of_orderness(Duration::from_secs(5))
///     .with_timestamp_assigner(|click| click.at_ms)
///     .with_idleness(Duration::from_secs(60));
/// # let _ = strategy;
/// ```
pub struct WatermarkStrategy<T, G = BoundedOutOfOrderness, A = RecordTimestamp> {
    pub(crate) generator: G,
    pub(crate) assigner: A,
    pub(crate) idleness: Option<Duration>,
    record: PhantomData<fn(T)>,
}

impl<T, G: Clone, A: Clone> Clone for WatermarkStrategy<T, G, A> {
    fn clone(&self) -> Self {
        Self { generator: self.generator.clone(), assigner: self.assigner.clone(), idleness: self.idleness, record: PhantomData }
    }
}

impl<T: Record> WatermarkStrategy<T> {
    /// Records are at most `bound` behind the latest one; records behind that are late.
    #[must_use]
    pub fn for_bounded_out_of_orderness(bound: Duration) -> Self {
        Self::for_generator(BoundedOutOfOrderness::new(bound))
    }

    /// Timestamps never decrease within a split.
    #[must_use]
    pub fn for_monotonous_timestamps() -> Self {
        Self::for_bounded_out_of_orderness(Duration::ZERO)
    }
}

impl<T: Record> WatermarkStrategy<T, NoWatermarks> {
    /// No watermarks until the input ends.
    #[must_use]
    pub fn no_watermarks() -> Self {
        Self::for_generator(NoWatermarks)
    }
}

impl<T: Record, G: WatermarkGenerator<T>> WatermarkStrategy<T, G> {
    /// Watermarks from a generator of your own; each split gets a clone.
    #[must_use]
    pub fn for_generator(generator: G) -> Self {
        Self { generator, assigner: RecordTimestamp, idleness: None, record: PhantomData }
    }
}

impl<T: Record, G: WatermarkGenerator<T>, A: TimestampAssigner<T>> WatermarkStrategy<T, G, A> {
    /// Takes each record's event time from the record: a function from its view to milliseconds since 1970. The type of the records has to be known here:
    /// `WatermarkStrategy::<Click>::...`, or in the function, `|click: ClickRef<'_>| click.at_ms`.
    #[must_use]
    pub fn with_timestamp_assigner<B>(self, assigner: B) -> WatermarkStrategy<T, G, B>
    where
        B: for<'a> FnMut(T::Ref<'a>) -> i64 + Clone + Send + 'static,
    {
        WatermarkStrategy { generator: self.generator, assigner, idleness: self.idleness, record: PhantomData }
    }

    /// Declares the stream idle when no record came for `timeout` of processing time, so that it does not hold others back.
    #[must_use]
    pub fn with_idleness(self, timeout: Duration) -> Self {
        Self { idleness: Some(timeout), ..self }
    }
}
