//! The settings of a scenario's engine: every constant, the parallelism, the chaining. None of them may change a job's results.

use thalweg::{EngineSettings, StreamExecutionEnvironment};
use thalweg_io::SplitMix;
use thalweg_world::Draw;

/// All settings of the engine on which a job's result must not depend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnginePlan {
    /// The number of simulated cores.
    pub cores: usize,
    /// The engine's constants.
    pub settings: EngineSettings,
    /// The default parallelism.
    pub parallelism: usize,
    /// The number of key groups.
    pub key_groups: u32,
    /// Whether operators are chained.
    pub chaining: bool,
}

impl EnginePlan {
    /// Draws a plan for a job that reads about `input_bytes` from files.
    pub(crate) fn draw(stream: &mut SplitMix, input_bytes: usize) -> Self {
        let parallelism = stream.between(1, 7) as usize;
        // Blocks of one byte are for small files; a large file in such blocks would cost seconds and show nothing new.
        let read_block_min = (input_bytes / 300).max(1);
        let settings = EngineSettings::default()
            .frame_records(size(stream))
            .channel_frames(stream.pick(&[1, 1, 2, 3, 8, 64]))
            // Small windows make small frames, which are common enough already.
            .buffer_debloat_target_ms(stream.pick(&[1, 1000, 1000, 1000]))
            .initial_window_records(stream.pick(&[1, 64, 1 << 16, 1 << 16]))
            .flush_after_frames(u32::try_from(size(stream)).unwrap_or(u32::MAX))
            .slice_records(size(stream))
            .slice_timers(size(stream))
            .source_batch_records(size(stream))
            .read_block_bytes(size(stream).max(read_block_min))
            .write_block_bytes(size(stream))
            .metrics_interval_ms(stream.pick(&[20, 200, 10_000]));
        let key_groups = stream.pick(&[7, 8, 128, 128, 1000]);
        let (cores, chaining) = (stream.between(1, 4) as usize, stream.chance(700));
        // Tables of a few keys never split with the usual parts, and in few parts less than half would change.
        let (part_slots, changes_percent_max) = stream.pick(&[(4, 50), (4, 1_000), (8, 1_000), (4096, 1_000)]);
        let settings = settings.state_part_slots(part_slots).state_changes_percent_max(changes_percent_max);
        Self { cores, settings, parallelism, key_groups, chaining }
    }

    /// Prepares an environment.
    pub(crate) fn apply(&self, env: &StreamExecutionEnvironment) {
        env.set_engine_settings(self.settings.clone()).set_parallelism(self.parallelism).set_max_parallelism(self.key_groups);
        if !self.chaining {
            env.disable_operator_chaining();
        }
    }
}

/// A size: one, tiny, usual or huge.
fn size(stream: &mut SplitMix) -> usize {
    match stream.between(0, 3) {
        0 => 1,
        1 => stream.between(2, 5) as usize,
        2 => stream.between(6, 200) as usize,
        _ => 1 << 16,
    }
}
