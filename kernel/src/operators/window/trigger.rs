//! When a window fires for a key (docs/src/semantics.md#win-2, #l-3).
//!
//! A trigger is called twice: for each record that is added, and when event time has reached the window's last millisecond. It knows one key and window at
//! a time. Its memory of them (a number of records, say) is kept beside the accumulator, so that it is stored, saved, restored and merged with it; that is
//! what [`Kept`](Trigger::Kept) is for. It does not say when contents are dropped: that is lateness.

use crate::record::Record;
use crate::time::{TimeWindow, Watermark};

/// The decision of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing.
    Continue,
    /// Emit the result of the key and window so far. Its contents stay.
    Fire,
}

/// Decides when the result of a key and window is emitted.
pub trait Trigger: Clone + Send + 'static {
    /// An accumulator, and the trigger's memory of its key and window.
    type Kept<Acc: Record>: Record;

    /// The initial state, before the first record.
    fn keep<Acc: Record>(&self, accumulator: Acc) -> Self::Kept<Acc>;

    /// The accumulator in `kept`.
    fn accumulator<Acc: Record>(kept: &Self::Kept<Acc>) -> &Acc;

    /// The accumulator in `kept`, to be changed.
    fn accumulator_mut<Acc: Record>(kept: &mut Self::Kept<Acc>) -> &mut Acc;

    /// Two windows of a key become one: joins their states, the accumulators by `merge`.
    fn merge<Acc: Record>(&self, other: Self::Kept<Acc>, kept: &mut Self::Kept<Acc>, merge: impl FnOnce(Acc, &mut Acc));

    /// A record has been added to `window`, at the operator's watermark `watermark`.
    fn on_element<Acc: Record>(&self, window: TimeWindow, watermark: Watermark, kept: &mut Self::Kept<Acc>) -> TriggerResult;

    /// The watermark has reached the last millisecond of `window`. Called once per key and window; not for a window whose first record came later.
    fn on_event_time<Acc: Record>(&self, window: TimeWindow, kept: &Self::Kept<Acc>) -> TriggerResult;
}

/// Fires a window when the watermark reaches its last millisecond, and again for each record that arrives later (Flink's `EventTimeTrigger`).
#[derive(Clone, Copy)]
pub struct EventTimeTrigger;

impl Trigger for EventTimeTrigger {
    type Kept<Acc: Record> = Acc;

    fn keep<Acc: Record>(&self, accumulator: Acc) -> Acc {
        accumulator
    }

    #[inline]
    fn accumulator<Acc: Record>(kept: &Acc) -> &Acc {
        kept
    }

    #[inline]
    fn accumulator_mut<Acc: Record>(kept: &mut Acc) -> &mut Acc {
        kept
    }

    fn merge<Acc: Record>(&self, other: Acc, kept: &mut Acc, merge: impl FnOnce(Acc, &mut Acc)) {
        merge(other, kept);
    }

    // docs/src/semantics.md#l-3
    #[inline]
    fn on_element<Acc: Record>(&self, window: TimeWindow, watermark: Watermark, _kept: &mut Acc) -> TriggerResult {
        if window.max_timestamp() <= watermark.0 { TriggerResult::Fire } else { TriggerResult::Continue }
    }

    #[inline]
    fn on_event_time<Acc: Record>(&self, _window: TimeWindow, _kept: &Acc) -> TriggerResult {
        TriggerResult::Fire
    }
}
