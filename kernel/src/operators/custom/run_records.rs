//! A run of records, as an operator gets it.

use crate::exchange::Run;
use crate::record::Record;
use crate::time::NO_TIMESTAMP;

/// Consecutive records with their timestamps, in order of arrival: at least one, at most as many as a frame holds
/// ([`EngineSettings::frame_records`](crate::EngineSettings::frame_records)), and never on both sides of a watermark, of a barrier or of the end of a batch.
pub struct RunRecords<'a, T> {
    run: &'a mut Run<T>,
}

fn given(timestamp: i64) -> Option<i64> {
    (timestamp != NO_TIMESTAMP).then_some(timestamp)
}

impl<'a, T: Record> RunRecords<'a, T> {
    pub(super) fn new(run: &'a mut Run<T>) -> Self {
        Self { run }
    }

    /// Number of records.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a run is never empty")]
    pub fn len(&self) -> usize {
        self.run.len()
    }

    /// Views of the records, as pairs of timestamp and view: `for (timestamp, view) in run.views()`. A timestamp is `None` where a record has none.
    pub fn views(&self) -> impl ExactSizeIterator<Item = (Option<i64>, T::Ref<'_>)> {
        self.run.entries().map(|(timestamp, record)| (given(timestamp), record.view()))
    }

    /// Takes the records, as pairs of timestamp and record.
    pub fn into_records(self) -> impl Iterator<Item = (Option<i64>, T)> + use<'a, T> {
        std::iter::from_fn(move || self.run.pop()).map(|(timestamp, record)| (given(timestamp), record))
    }
}
