//! The plan of a job of generated elements: sources, operators on their records, and the final computation.
//!
//! Plain data: job and reference are both made from it, independently of each other.

use super::elements::{Element, id_of};
use super::interference::SILENCE_MS;
use crate::reference::elements as interpreter;
use thalweg_io::{Rng, SplitMix};
use thalweg_world::Draw;

/// A job on generated elements.
#[derive(Clone, Debug)]
pub struct ElementsPlan {
    /// Its sources, whose streams are united.
    pub sources: Vec<SourcePlan>,
    /// The segments of the united stream.
    pub segments: Vec<Segment>,
    /// If given, timestamps and watermarks are assigned behind those segments, and not at the sources.
    pub late_strategy: Option<Strategy>,
    /// The final computation.
    pub terminal: Terminal,
    /// The parallelism of the final computation, if it has its own.
    pub terminal_parallelism: Option<usize>,
}

/// A source and the operators chained to it.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// Its records.
    pub splits: Vec<Vec<Element>>,
    /// The source's watermark strategy.
    pub strategy: Strategy,
    /// The parallelism of the source, if it has its own.
    pub parallelism: Option<usize>,
    /// Records per second and subtask, if limited.
    pub rate: Option<u64>,
    /// The segment behind the source.
    pub segment: Segment,
}

/// The source of watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// The bound of out-of-orderness in milliseconds; `None` for punctuated watermarks.
    pub bound_ms: Option<u64>,
    /// The silence after which the stream is idle, in milliseconds.
    pub idleness_ms: Option<u64>,
}

/// Operators in one chain, and the exchange behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The operators.
    pub work: Work,
    /// The parallelism of the last operator, if it has its own.
    pub parallelism: Option<usize>,
    /// The exchange behind the segment.
    pub exit: Exit,
}

/// The operators of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// A map.
    Map,
    /// A filter.
    Filter,
    /// A flat map.
    FlatMap,
    /// A map, a flat map and a filter, chained.
    MapFlatMapFilter,
}

/// An exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// To one subtask, the one of the same index.
    Forward,
    /// To the subtasks in turn.
    Rebalance,
    /// To each of the given number of subtasks.
    Broadcast(usize),
    /// Through a shared stream with a second consumer that only counts.
    Shared,
    /// Through two branches of a shared stream that are united again: each record arrives twice.
    Diamond,
    /// The same, with another type of record in one of the branches, and an operator with two inputs where they meet.
    Connected,
}

/// The final computation of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// The records themselves.
    Collect,
    /// Windows.
    Window(WindowPlan),
    /// Tumbling windows, and windows over their results.
    Cascade {
        /// The size of the first windows, in milliseconds.
        first_ms: i64,
        /// The size of the second windows, in milliseconds.
        second_ms: i64,
    },
    /// A process function with every kind of state, and timers at the ends of equal spans.
    Process {
        /// The length of a span, in milliseconds.
        span_ms: i64,
        /// Whether the stream is split in two, which are the function's two inputs.
        is_connected: bool,
    },
    /// A running aggregate.
    Running,
}

/// Windows of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPlan {
    /// Their length in milliseconds.
    pub size_ms: i64,
    /// The distance between starts in milliseconds, if the windows slide.
    pub slide_ms: Option<i64>,
    /// The start of one of the windows, in milliseconds.
    pub offset_ms: i64,
    /// The allowed lateness, in milliseconds.
    pub lateness_ms: i64,
}

/// The order of the timestamps of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimeOrder {
    /// Rising through all splits.
    Rising,
    /// Rising in each split, all splits over the same span.
    RisingInSplits,
    /// Nearly rising.
    Jittered,
    /// In no order.
    Random,
    /// All the same.
    Same,
}

impl ElementsPlan {
    /// Draws a job.
    pub(crate) fn draw(stream: &mut SplitMix) -> Self {
        let terminal = Terminal::draw(stream);
        // Some jobs are about time, with regular sources; others are about everything.
        let orderly = stream.chance(400);
        let sources: Vec<_> = (0..stream.pick(&[1, 1, 1, 2, 3])).map(|source| SourcePlan::draw(stream, source, orderly)).collect();
        let segments: Vec<_> = (0..stream.pick(&[0, 0, 1, 2])).map(|_| Segment::draw(stream)).collect();
        let late_strategy = (!orderly && stream.chance(200)).then(|| Strategy::draw(stream, 500, false));
        let terminal_parallelism = own_parallelism(stream);
        let mut plan = Self { sources, segments, late_strategy, terminal, terminal_parallelism };
        if plan.late_strategy.is_some_and(|strategy| strategy.bound_ms.is_none()) {
            plan.sources.iter_mut().for_each(|source| punctuate(stream, &mut source.splits, false));
        }
        plan
    }

    /// The ids of all input records.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.sources.iter().flat_map(|source| &source.splits).flatten().map(|element| element.id).collect()
    }

    /// The number of shared streams, each with a second consumer.
    #[must_use]
    pub fn shared_streams(&self) -> usize {
        let segments = self.sources.iter().map(|source| &source.segment).chain(&self.segments);
        segments.filter(|segment| segment.exit == Exit::Shared).count()
    }

    /// The least duration of the job, from its pauses and limited rates, in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        let of_source = |source: &SourcePlan| {
            let pauses: u64 = source.splits.iter().flatten().map(|element| element.pause_ms).sum();
            let records = source.splits.iter().map(Vec::len).sum::<usize>() as u64;
            pauses + source.rate.map_or(0, |rate| records * 1000 / rate)
        };
        self.sources.iter().map(of_source).max().unwrap_or(0)
    }

    /// Whether an input may be declared idle, and overtaken.
    #[must_use]
    pub fn has_idleness(&self) -> bool {
        let strategies = self.sources.iter().map(|source| source.strategy).chain(self.late_strategy);
        strategies.into_iter().any(|strategy| strategy.idleness_ms.is_some())
    }

    /// The shape under which such jobs are counted.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match self.terminal {
            Terminal::Collect => "collect",
            Terminal::Window(WindowPlan { slide_ms: Some(_), .. }) => "sliding windows",
            Terminal::Window(_) => "tumbling windows",
            Terminal::Cascade { .. } => "windows of windows",
            Terminal::Process { is_connected: true, .. } => "process function on two streams",
            Terminal::Process { .. } => "process function",
            Terminal::Running => "running aggregate",
        }
    }

    /// The same job with a long silence before one more record, and the number of records that its sinks get before that.
    pub(crate) fn with_silence(mut self) -> (Self, u64) {
        let whole = interpreter::whole(&self);
        let shared: usize = interpreter::shared(&self, &whole).iter().map(Vec::len).sum();
        let records = interpreter::records(&self, &whole).len() + shared;
        if let Some(source) = self.sources.first_mut() {
            if source.splits.is_empty() {
                source.splits.push(vec![]);
            }
            let number = source.splits.len() - 1;
            if let Some(last) = source.splits.last_mut() {
                let at = last.last().map_or(0, |element| element.at);
                let id = id_of(0, number, last.len());
                last.push(Element { id, key: "last".to_owned(), at, value: 0, watermark: None, pause_ms: SILENCE_MS });
            }
        }
        (self, records as u64)
    }

    /// The same job, which more often has state that a restart can get wrong: tables that change with every record, and windows that are kept after they
    /// have fired. In that case it takes long enough for checkpoints in the middle of its work, and windows fire before the end.
    pub(crate) fn with_state(mut self, stream: &mut SplitMix) -> Self {
        let size_ms = stream.pick(&[1, 2, 10, 60]);
        let lateness_ms = stream.pick(&[size_ms * 3, 1_000_000, 1_000_000]);
        self.terminal = match stream.below(10) {
            0 | 1 => Terminal::Running,
            2..=5 => Terminal::Window(WindowPlan { size_ms, slide_ms: None, offset_ms: 0, lateness_ms }),
            _ => return self,
        };
        for source in &mut self.sources {
            source.rate = source.rate.or(Some(stream.pick(&[100, 300, 1_000])));
            source.strategy.bound_ms = source.strategy.bound_ms.map(|bound_ms| bound_ms.min(size_ms.unsigned_abs()));
        }
        self
    }

    /// Windows are over soon after they have ended, so that the state of the job shrinks as well as grows.
    pub(crate) fn forget_soon(&mut self) {
        if let Terminal::Window(window) = &mut self.terminal {
            window.lateness_ms = window.lateness_ms.min(window.size_ms);
        }
    }

    /// The same job with a user function at its head that can be made to panic.
    pub(crate) fn with_map_first(mut self) -> Self {
        self.sources.iter_mut().for_each(|source| source.segment.work = Work::Map);
        self
    }
}

fn own_parallelism(stream: &mut SplitMix) -> Option<usize> {
    stream.chance(300).then(|| stream.between(1, 5) as usize)
}

impl SourcePlan {
    /// Whether each subtask that generates watermarks sees the records of one reader, in order. `disable_chaining` right behind
    /// `assign_timestamps_and_watermarks` makes that operator a task of its own, with the usual parallelism, which may differ from the source's.
    #[must_use]
    pub fn reads_in_order(&self) -> bool {
        self.parallelism.is_none() || self.segment.work != Work::Nothing || self.segment.exit != Exit::Forward
    }

    fn draw(stream: &mut SplitMix, source: usize, orderly: bool) -> Self {
        let order = match stream.below(5) {
            0 => TimeOrder::RisingInSplits,
            1 => TimeOrder::Jittered,
            2 if !orderly => TimeOrder::Random,
            3 => TimeOrder::Same,
            _ => TimeOrder::Rising,
        };
        let magnitude = stream.between(0, 7);
        let count = stream.between(0, 1 << magnitude) as usize;
        let split_count = stream.pick(&[0, 1, 1, 2, 3, 4, 9]);
        let step_ms = stream.pick(&[0, 1, 3, 10, 1_000]);
        let base_ms = stream.pick(&[0, -500, 1_700_000_000_000]);
        let jitter_ms = stream.pick(&[1, 20, 2_000]);
        let keys = stream.pick(&[1, 2, 8, 50]);
        let pauses = stream.pick(&[0, 0, 0, 20, 200]);
        let mut splits: Vec<Vec<Element>> = vec![vec![]; split_count];
        let mut clock = 0;
        for n in 0..if split_count == 0 { 0 } else { count } {
            // Sizes differ: now and then the first split gets half of the remaining elements.
            let split = match order {
                TimeOrder::RisingInSplits | TimeOrder::Random | TimeOrder::Same => stream.below(split_count as u64) as usize,
                TimeOrder::Rising | TimeOrder::Jittered => n * split_count / count,
            };
            clock += stream.between(0, step_ms);
            let at = base_ms
                + match order {
                    TimeOrder::Rising | TimeOrder::RisingInSplits => clock as i64,
                    TimeOrder::Jittered => clock as i64 - stream.between(0, jitter_ms) as i64,
                    TimeOrder::Random => stream.between(0, step_ms * 40) as i64,
                    TimeOrder::Same => 0,
                };
            let pause_ms = if stream.chance(pauses) { stream.between(1, 60) } else { 0 };
            let id = id_of(source, split, splits[split].len());
            let key = "k".repeat(1 + stream.below(keys) as usize % 3) + &stream.below(keys).to_string();
            let value = stream.between(0, 200) as i64 - 100;
            splits[split].push(Element { id, key, at, value, watermark: None, pause_ms });
        }
        let strategy = Strategy::draw(stream, if order == TimeOrder::Jittered { jitter_ms } else { step_ms * 40 }, orderly);
        if strategy.bound_ms.is_none() {
            punctuate(stream, &mut splits, orderly);
        }
        Self {
            splits,
            strategy,
            parallelism: own_parallelism(stream),
            rate: stream.chance(200).then(|| stream.pick(&[300, 5_000, 100_000])),
            segment: Segment::draw(stream),
        }
    }
}

/// Gives some elements a watermark: an honest one, or any.
fn punctuate(stream: &mut SplitMix, splits: &mut [Vec<Element>], honest: bool) {
    let per_mille = stream.pick(&[30, 300, 1000]);
    let mut lowest_to_come = i64::MAX;
    for element in splits.iter_mut().rev().flat_map(|split| split.iter_mut().rev()) {
        if stream.chance(per_mille) {
            element.watermark = Some(if honest || stream.chance(600) {
                lowest_to_come.saturating_sub(1)
            } else {
                element.at + stream.between(0, 40) as i64 - 20
            });
        }
        lowest_to_come = lowest_to_come.min(element.at);
    }
}

impl Strategy {
    fn draw(stream: &mut SplitMix, disorder_ms: u64, orderly: bool) -> Self {
        let bound_ms = match stream.below(5) {
            0 => None,
            1 if !orderly => Some(0),
            2 if !orderly => Some(disorder_ms / 2),
            3 => Some(10_000_000),
            _ => Some(disorder_ms),
        };
        let idleness_ms = (!orderly && stream.chance(250)).then(|| stream.pick(&[1, 10, 50]));
        Self { bound_ms, idleness_ms }
    }
}

impl Segment {
    fn draw(stream: &mut SplitMix) -> Self {
        let work = match stream.below(7) {
            0 => Work::Map,
            1 => Work::Filter,
            2 => Work::FlatMap,
            3 => Work::MapFlatMapFilter,
            _ => Work::Nothing,
        };
        let exit = match stream.below(9) {
            0 | 1 => Exit::Rebalance,
            2 => Exit::Broadcast(stream.between(1, 3) as usize),
            3 => Exit::Shared,
            4 if stream.chance(500) => Exit::Connected,
            4 => Exit::Diamond,
            _ => Exit::Forward,
        };
        Self { work, parallelism: own_parallelism(stream), exit }
    }
}

impl Terminal {
    fn draw(stream: &mut SplitMix) -> Self {
        match stream.below(10) {
            0 => Self::Collect,
            1 => Self::Running,
            2 => {
                let first_ms = stream.pick(&[1, 7, 100]);
                Self::Cascade { first_ms, second_ms: first_ms * stream.pick(&[1, 3, 10]) }
            }
            3 | 4 => Self::Process { span_ms: stream.pick(&[2, 10, 250]), is_connected: stream.chance(500) },
            5 | 6 => {
                let size_ms = stream.pick(&[2, 10, 60, 500]);
                let slide_ms = Some((size_ms * stream.pick(&[1, 1, 2, 5, 10, 14]) / 10).max(1));
                Self::Window(WindowPlan { slide_ms, ..WindowPlan::draw(stream, size_ms) })
            }
            _ => {
                let size_ms = stream.pick(&[1, 10, 60, 500, 100_000]);
                Self::Window(WindowPlan::draw(stream, size_ms))
            }
        }
    }
}

impl WindowPlan {
    fn draw(stream: &mut SplitMix, size_ms: i64) -> Self {
        let lateness_ms = if stream.chance(500) { 0 } else { stream.pick(&[1, size_ms, size_ms * 3, 1_000_000]) };
        Self { size_ms, slide_ms: None, offset_ms: stream.pick(&[0, 0, 3, -4]), lateness_ms }
    }
}
