//! The engine's constants. The defaults are right for production; the simulator draws them at random, tiny values included.

use crate::exchange::{Debloater, window_of_channel};
use std::time::Duration;

/// Sizes and intervals inside the engine. None of them changes what a job computes.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{EngineSettings, StreamExecutionEnvironment};
///
/// let env = StreamExecutionEnvironment::new();
/// env.set_engine_settings(EngineSettings::default().frame_records(256).channel_frames(4));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSettings {
    /// Records in a full frame. 1,024 records of 48 bytes fill a quarter of a usual L2 cache or less.
    pub frame_records: usize,
    /// Frames under way in one channel: the receiver's credit. Two would do to keep both sides busy; eight ride out a pause of one of them. With 0 a
    /// sender asks before each frame, at the price of a round trip between processes, and nothing is held for channels that are silent.
    pub channel_frames: usize,
    /// The most that may lie in the channels to one subtask, as the time that it takes to work it off, in milliseconds (Flink's
    /// `taskmanager.network.memory.buffer-debloat.target`): a barrier waits no longer than that before each exchange, and a stop has no more to work off.
    /// For that, frames to a slow receiver are smaller and fewer; one record may always pass.
    pub buffer_debloat_target_ms: u64,
    /// Records that may lie in the channels to one subtask before its pace is known.
    pub initial_window_records: usize,
    /// Input frames after which a busy task hands over its open output frames, so that a cold channel is not stranded.
    pub flush_after_frames: u32,
    /// Records a task works off before it lets the core's other tasks run: about 50 us at 20 ns per record.
    pub slice_records: usize,
    /// Timers or windows fired before a task lets the core's other tasks run.
    pub slice_timers: usize,
    /// Records a source emits at once.
    pub source_batch_records: usize,
    /// Bytes of one read of a file source.
    pub read_block_bytes: usize,
    /// Bytes a file sink gathers for one write; a subtask that saves its state gathers four times as many.
    pub write_block_bytes: usize,
    /// Time between two collections of metrics, in milliseconds.
    pub metrics_interval_ms: u64,
    /// Slots of a part of a table of keyed state at most, rounded down to a power of two, 4 to 4,096: a table grows and is saved part by part.
    pub state_part_slots: usize,
    /// A checkpoint writes a part of a table whole if more than so many per cent of its entries have changed since the last one, and otherwise what has changed.
    pub state_changes_percent_max: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            frame_records: 1024,
            channel_frames: 8,
            buffer_debloat_target_ms: 1000,
            initial_window_records: 32,
            flush_after_frames: 16,
            slice_records: 2048,
            slice_timers: 512,
            source_batch_records: 1024,
            read_block_bytes: 256 << 10,
            write_block_bytes: 256 << 10,
            metrics_interval_ms: 200,
            state_part_slots: 4096,
            state_changes_percent_max: 50,
        }
    }
}

impl EngineSettings {
    /// Sets [`frame_records`](Self#structfield.frame_records).
    #[must_use]
    pub fn frame_records(self, frame_records: usize) -> Self {
        Self { frame_records, ..self }
    }

    /// Sets [`channel_frames`](Self#structfield.channel_frames).
    #[must_use]
    pub fn channel_frames(self, channel_frames: usize) -> Self {
        Self { channel_frames, ..self }
    }

    /// Sets [`buffer_debloat_target_ms`](Self#structfield.buffer_debloat_target_ms).
    #[must_use]
    pub fn buffer_debloat_target_ms(self, buffer_debloat_target_ms: u64) -> Self {
        Self { buffer_debloat_target_ms, ..self }
    }

    /// Sets [`initial_window_records`](Self#structfield.initial_window_records).
    #[must_use]
    pub fn initial_window_records(self, initial_window_records: usize) -> Self {
        Self { initial_window_records, ..self }
    }

    /// Sets [`flush_after_frames`](Self#structfield.flush_after_frames).
    #[must_use]
    pub fn flush_after_frames(self, flush_after_frames: u32) -> Self {
        Self { flush_after_frames, ..self }
    }

    /// Sets [`slice_records`](Self#structfield.slice_records).
    #[must_use]
    pub fn slice_records(self, slice_records: usize) -> Self {
        Self { slice_records, ..self }
    }

    /// Sets [`slice_timers`](Self#structfield.slice_timers).
    #[must_use]
    pub fn slice_timers(self, slice_timers: usize) -> Self {
        Self { slice_timers, ..self }
    }

    /// Sets [`source_batch_records`](Self#structfield.source_batch_records).
    #[must_use]
    pub fn source_batch_records(self, source_batch_records: usize) -> Self {
        Self { source_batch_records, ..self }
    }

    /// Sets [`read_block_bytes`](Self#structfield.read_block_bytes).
    #[must_use]
    pub fn read_block_bytes(self, read_block_bytes: usize) -> Self {
        Self { read_block_bytes, ..self }
    }

    /// Sets [`write_block_bytes`](Self#structfield.write_block_bytes).
    #[must_use]
    pub fn write_block_bytes(self, write_block_bytes: usize) -> Self {
        Self { write_block_bytes, ..self }
    }

    /// Sets [`metrics_interval_ms`](Self#structfield.metrics_interval_ms).
    #[must_use]
    pub fn metrics_interval_ms(self, metrics_interval_ms: u64) -> Self {
        Self { metrics_interval_ms, ..self }
    }

    /// Sets [`state_part_slots`](Self#structfield.state_part_slots).
    #[must_use]
    pub fn state_part_slots(self, state_part_slots: usize) -> Self {
        Self { state_part_slots, ..self }
    }

    /// Sets [`state_changes_percent_max`](Self#structfield.state_changes_percent_max).
    #[must_use]
    pub fn state_changes_percent_max(self, state_changes_percent_max: usize) -> Self {
        Self { state_changes_percent_max, ..self }
    }

    /// Number of frames that the rings of a channel hold.
    pub(crate) fn ring_frames(&self) -> usize {
        self.channel_frames.max(1)
    }

    /// The window of each of `channels` channels to one subtask, until it knows its pace.
    pub(crate) fn initial_window(&self, channels: usize) -> u32 {
        window_of_channel(self.initial_window_records as u64, channels)
    }

    /// A debloater, which measures the pace of a subtask.
    pub(crate) fn debloater(&self) -> Debloater {
        Debloater::new(Duration::from_millis(self.buffer_debloat_target_ms), self.initial_window_records as u64)
    }

    /// Refuses a size of zero, with which nothing would make progress.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            self.frame_records,
            self.initial_window_records,
            self.flush_after_frames as usize,
            self.slice_records,
            self.slice_timers,
            self.source_batch_records,
            self.read_block_bytes,
            self.write_block_bytes,
            self.metrics_interval_ms as usize,
            self.buffer_debloat_target_ms as usize,
            self.state_part_slots,
            self.state_changes_percent_max,
        ];
        if sizes.contains(&0) { Err(format!("every engine setting but channel_frames must be at least 1: {self:?}")) } else { Ok(()) }
    }
}
