//! A generated job, written against the public API as a user would write it.
//!
//! The type of a stream is its chain, but a plan is data: so each segment ends in an exchange, behind which the type is the same again.

use super::element_source::{ElementSource, Generator};
use super::elements::{
    Element, ElementRef, Running, Signal, Tally, TallyRef, TimersInWindow, WindowResult, copies, group_of, is_signal, kept, mapped,
};
use super::elements_plan::{ElementsPlan, Exit, Segment, SourcePlan, Strategy, Terminal, WindowPlan, Work};
use super::hold::Hold;
use super::lines::Line;
use super::rejoin::Rejoin;
use super::tally::{ConnectedTally, TallyFunction};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use thalweg::connectors::FileSink;
use thalweg::{
    AggregateFunction, BoundedOutOfOrderness, Chain, Collected, DataStream, Exchanged, OutputTag, Record, SlidingEventTimeWindows,
    StreamExecutionEnvironment, TimeWindow, TumblingEventTimeWindows, WatermarkStrategy, WindowAssigner,
};

/// The name of the user's map that a scenario can make panic.
pub const GUARDED: &str = "guarded";
/// The first, or only, window of a job.
pub const FIRST_WINDOW: &str = "first-window";
/// The window over another window's results.
pub const SECOND_WINDOW: &str = "second-window";

/// The uid of the keyed operator, or of the first of two.
pub(crate) const KEYED_UID: &str = "keyed";
/// The uid of the window over another keyed operator's results.
pub(crate) const SECOND_UID: &str = "second";
/// The uid of the assignment of event time, if it is not at the sources.
const TIMES_UID: &str = "times";

/// The uid of a source.
pub(crate) fn source_uid(source: usize) -> String {
    format!("source-{source}")
}

/// The uid of the assignment of event time behind a source.
pub(crate) fn times_uid(source: usize) -> String {
    format!("times-{source}")
}

const LATE: OutputTag<Element> = OutputTag::new("late");
const LATE_TALLIES: OutputTag<Tally> = OutputTag::new("late");

/// The folder of the results that are written to files, with a folder for each sink.
pub(crate) const RESULTS: &str = "/results";

/// A record at which the user's map panics a limited number of times.
#[derive(Clone)]
pub(crate) struct Poison {
    pub(crate) id: u64,
    pub(crate) times: Arc<AtomicU32>,
}

impl Poison {
    /// Panics at `id` if it is still poisoned.
    fn taste(&self, id: u64) {
        let is_poisoned =
            id == self.id && self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |times| times.checked_sub(1)).is_ok();
        assert!(!is_poisoned, "a planned panic");
    }
}

/// The destination of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Memory, from where they are taken when the job has ended.
    Memory,
    /// Files of about `roll_at_bytes`, which outlive the process.
    Files { roll_at_bytes: u64 },
}

impl Place {
    /// Connects a stream to the sink `name`.
    fn put<C: Chain<Out: Line>>(self, stream: DataStream<C>, name: &str) -> Option<Collected<C::Out>> {
        match self {
            Self::Memory => Some(stream.collect()),
            Self::Files { roll_at_bytes } => {
                let sink =
                    FileSink::<C::Out>::lines(format!("{RESULTS}/{name}"), |view, line| line.push_str(&C::Out::from_view(view).line()));
                stream.sink(sink.suffix(".csv").roll_at_bytes(roll_at_bytes)).name(name).uid(name);
                None
            }
        }
    }
}

/// The results of a job that collects them in memory.
#[derive(Default)]
pub(crate) struct ElementsOutputs {
    pub(crate) elements: Option<Collected<Element>>,
    pub(crate) windows: Option<Collected<WindowResult>>,
    pub(crate) late: Option<Collected<Element>>,
    pub(crate) second_late: Option<Collected<Element>>,
    pub(crate) tallies: Option<Collected<Tally>>,
    pub(crate) late_tallies: Option<Collected<Tally>>,
    pub(crate) timers: Option<Collected<TimersInWindow>>,
    pub(crate) running: Option<Collected<Running>>,
    /// The ids that the second consumers of shared streams saw.
    pub(crate) shared: Vec<Collected<u64>>,
}

/// Describes the job; its map panics at the poisoned record.
pub(crate) fn build(env: &StreamExecutionEnvironment, plan: &ElementsPlan, poison: Option<Poison>, place: Place) -> ElementsOutputs {
    let mut builder = Builder { poison, place, shared_streams: 0, shared: vec![] };
    let at_source = plan.late_strategy.is_none();
    let mut streams =
        plan.sources.iter().enumerate().map(|(n, source)| builder.source(env, n, source, at_source)).collect::<Vec<_>>().into_iter();
    let first = streams.next().expect("invariant: a plan has a source");
    let mut stream = streams.fold(first, |all, one| all.union(one));
    for segment in &plan.segments {
        stream = builder.segment(stream, segment);
    }
    let outputs = match plan.late_strategy {
        Some(late) => finish(stream.assign_timestamps_and_watermarks(strategy(late)).uid(TIMES_UID), plan, place),
        None => finish(stream, plan, place),
    };
    ElementsOutputs { shared: builder.shared, ..outputs }
}

fn strategy(plan: Strategy) -> WatermarkStrategy<Element, Generator, impl thalweg::TimestampAssigner<Element>> {
    let generator = match plan.bound_ms {
        Some(bound_ms) => Generator::Bounded(BoundedOutOfOrderness::new(Duration::from_millis(bound_ms))),
        None => Generator::Punctuated,
    };
    let strategy = WatermarkStrategy::for_generator(generator).with_timestamp_assigner(|element: ElementRef<'_>| element.at);
    match plan.idleness_ms {
        Some(idleness_ms) => strategy.with_idleness(Duration::from_millis(idleness_ms)),
        None => strategy,
    }
}

struct Builder {
    poison: Option<Poison>,
    place: Place,
    shared_streams: usize,
    shared: Vec<Collected<u64>>,
}

impl Builder {
    fn source(
        &mut self,
        env: &StreamExecutionEnvironment,
        number: usize,
        plan: &SourcePlan,
        with_time: bool,
    ) -> DataStream<Exchanged<Element>> {
        env.set_source_rate(plan.rate);
        let stream = env.source(ElementSource { splits: plan.splits.clone() }).uid(&source_uid(number));
        let stream = match plan.parallelism {
            Some(parallelism) => stream.set_parallelism(parallelism),
            None => stream,
        };
        if with_time {
            let timed = stream.assign_timestamps_and_watermarks(strategy(plan.strategy)).uid(&times_uid(number));
            self.segment(timed, &plan.segment)
        } else {
            self.segment(stream, &plan.segment)
        }
    }

    fn segment<C: Chain<Out = Element>>(&mut self, stream: DataStream<C>, segment: &Segment) -> DataStream<Exchanged<Element>> {
        let poison = self.poison.clone();
        let map = move |element: ElementRef<'_>| {
            poison.iter().for_each(|poison| poison.taste(element.id));
            mapped(Element::from_view(element))
        };
        let flat_map = |element: ElementRef<'_>| copies(Element::from_view(element));
        let filter = |element: ElementRef<'_>| kept(element.id, element.value);
        match segment.work {
            Work::Nothing => self.exit(stream, segment.exit),
            Work::Map => self.place(stream.map(map).name(GUARDED), segment),
            Work::Filter => self.place(stream.filter(filter), segment),
            // A user-defined operator, one element at a time or by runs.
            Work::FlatMap if segment.parallelism.is_some() => self.place(stream.transform("hold-runs", Hold::<true>::default()), segment),
            Work::FlatMap => self.place(stream.transform("hold", Hold::<false>::default()), segment),
            // With a joint behind the flat map, and one where a chain may be cut.
            Work::MapFlatMapFilter => self.place(stream.map(map).name(GUARDED).flat_map(flat_map).boxed().filter(filter).boxed(), segment),
        }
    }

    fn place<C: Chain<Out = Element>>(&mut self, stream: DataStream<C>, segment: &Segment) -> DataStream<Exchanged<Element>> {
        match segment.parallelism {
            Some(parallelism) => self.exit(stream.set_parallelism(parallelism), segment.exit),
            None => self.exit(stream, segment.exit),
        }
    }

    fn exit<C: Chain<Out = Element>>(&mut self, stream: DataStream<C>, exit: Exit) -> DataStream<Exchanged<Element>> {
        match exit {
            Exit::Forward => stream.disable_chaining(),
            Exit::Rebalance => stream.rebalance(),
            // The reference can count the copies only if their number is known; later operators have the usual parallelism again.
            Exit::Broadcast(copies) => stream.broadcast().set_parallelism(copies).rebalance(),
            Exit::Shared => {
                let shared = stream.shared();
                let name = format!("shared-{}", self.shared_streams);
                self.shared_streams += 1;
                self.shared.extend(self.place.put(shared.stream().map(|element| element.id), &name));
                shared.stream()
            }
            Exit::Diamond => {
                let shared = stream.shared();
                shared.stream().union(shared.stream().filter(|_| true))
            }
            Exit::Connected => {
                let shared = stream.shared();
                shared.stream().connect(shared.stream().map(as_signal)).process(Rejoin).disable_chaining()
            }
        }
    }
}

/// Windows of either kind.
#[derive(Clone, Copy)]
enum AnyWindows {
    Tumbling(TumblingEventTimeWindows),
    Sliding(SlidingEventTimeWindows),
}

impl AnyWindows {
    fn of(plan: WindowPlan) -> Self {
        let millis = |millis: i64| Duration::from_millis(millis.unsigned_abs());
        match plan.slide_ms {
            None => Self::Tumbling(TumblingEventTimeWindows::of(millis(plan.size_ms)).with_offset(plan.offset_ms)),
            Some(slide_ms) => {
                Self::Sliding(SlidingEventTimeWindows::of(millis(plan.size_ms), millis(slide_ms)).with_offset(plan.offset_ms))
            }
        }
    }
}

impl<In: Record> WindowAssigner<In> for AnyWindows {
    type Windows = Vec<TimeWindow>;

    fn assign_windows(&self, record: In::Ref<'_>, timestamp: i64) -> Vec<TimeWindow> {
        match self {
            Self::Tumbling(tumbling) => WindowAssigner::<In>::assign_windows(tumbling, record, timestamp).to_vec(),
            Self::Sliding(sliding) => WindowAssigner::<In>::assign_windows(sliding, record, timestamp).collect(),
        }
    }
}

/// The accumulator of a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub(crate) struct Gathered {
    /// The sum of the values.
    pub(crate) sum: i64,
    /// The ids of the records, in the order of their arrival.
    pub(crate) ids: Vec<u64>,
}

/// Sums values and collects their ids.
#[derive(Clone)]
struct Gather;

impl AggregateFunction<Element> for Gather {
    type Accumulator = Gathered;
    type Output = (i64, Vec<u64>);

    fn create_accumulator(&self) -> Gathered {
        Gathered { sum: 0, ids: vec![] }
    }

    fn add(&self, element: ElementRef<'_>, gathered: &mut Gathered) {
        gathered.sum = gathered.sum.wrapping_add(element.value);
        gathered.ids.push(element.id);
    }

    fn merge(&self, other: Gathered, gathered: &mut Gathered) {
        gathered.sum = gathered.sum.wrapping_add(other.sum);
        gathered.ids.extend(other.ids);
    }

    fn get_result(&self, gathered: &Gathered) -> (i64, Vec<u64>) {
        let mut ids = gathered.ids.clone();
        ids.sort_unstable();
        (gathered.sum, ids)
    }
}

/// Collects the timers of reports.
#[derive(Clone)]
struct GatherTimers;

impl AggregateFunction<Tally> for GatherTimers {
    type Accumulator = Vec<i64>;
    type Output = Vec<i64>;

    fn create_accumulator(&self) -> Vec<i64> {
        vec![]
    }

    fn add(&self, tally: TallyRef<'_>, timers: &mut Vec<i64>) {
        timers.push(tally.timer);
    }

    fn merge(&self, other: Vec<i64>, timers: &mut Vec<i64>) {
        timers.extend(other);
    }

    fn get_result(&self, timers: &Vec<i64>) -> Vec<i64> {
        timers.clone()
    }
}

fn result(key: &str, window: TimeWindow, (sum, ids): (i64, Vec<u64>)) -> WindowResult {
    WindowResult { key: key.to_owned(), start: window.start, end: window.end, sum, ids }
}

fn as_signal(element: ElementRef<'_>) -> Signal {
    let ElementRef { id, key, at, value, watermark, pause_ms } = element;
    Signal { of: key.to_owned(), id, at, value, marks: (watermark, pause_ms) }
}

fn finish<C: Chain<Out = Element>>(stream: DataStream<C>, plan: &ElementsPlan, place: Place) -> ElementsOutputs {
    let mut outputs = ElementsOutputs::default();
    let parallelism = plan.terminal_parallelism;
    match plan.terminal {
        Terminal::Collect => {
            outputs.elements = match parallelism {
                Some(parallelism) => place.put(stream.rebalance().set_parallelism(parallelism), "elements"),
                None => place.put(stream, "elements"),
            };
        }
        Terminal::Running => {
            let running = stream.key_by::<String>(|element| element.key).aggregate(Gather, |key, (sum, ids)| Running {
                key: key.to_owned(),
                count: ids.len() as u64,
                sum,
            });
            let running = running.uid(KEYED_UID);
            outputs.running = place.put(placed(running, parallelism), "running");
        }
        Terminal::Process { span_ms, is_connected } => {
            // A timer also fires in an idle subtask, which stays idle (docs/src/semantics.md#w-5): where that can happen, records of idle inputs would no
            // longer show a fault.
            let function = TallyFunction::new(span_ms, !plan.has_idleness());
            let tallies = if is_connected {
                let shared = stream.shared();
                let signals = shared.stream().filter(|element| is_signal(element.id)).map(as_signal);
                let elements = shared.stream().filter(|element| !is_signal(element.id)).key_by::<String>(|element| element.key);
                let connected = elements.connect(signals.key_by::<String>(|signal| signal.of));
                placed(connected.process(ConnectedTally(function)).uid(KEYED_UID), parallelism).shared()
            } else {
                placed(stream.key_by::<String>(|element| element.key).process(function).uid(KEYED_UID), parallelism).shared()
            };
            outputs.tallies = place.put(tallies.stream(), "tallies");
            // A record emitted by a timer carries the timer's time and precedes the watermark that fired it: a window behind it receives the record on
            // time, and in its span.
            let timers = tallies
                .stream()
                .key_by::<String>(|tally| tally.key)
                .window(tumbling(span_ms))
                .side_output_late_data(&LATE_TALLIES)
                .aggregate(GatherTimers, |key, window, timers| TimersInWindow {
                    key: key.to_owned(),
                    start: window.start,
                    end: window.end,
                    timers,
                })
                .name(SECOND_WINDOW)
                .uid(SECOND_UID);
            outputs.late_tallies = place.put(timers.side_output(&LATE_TALLIES), "late-tallies");
            outputs.timers = place.put(timers, "timers");
        }
        Terminal::Window(window) => {
            let results = stream
                .key_by::<String>(|element| element.key)
                .window(AnyWindows::of(window))
                .allowed_lateness(Duration::from_millis(window.lateness_ms.unsigned_abs()))
                .side_output_late_data(&LATE)
                .aggregate(Gather, result)
                .name(FIRST_WINDOW)
                .uid(KEYED_UID);
            let results = placed(results, parallelism);
            outputs.late = place.put(results.side_output(&LATE), "late");
            outputs.windows = place.put(results, "windows");
        }
        Terminal::Cascade { first_ms, second_ms } => {
            let firsts = stream
                .key_by::<String>(|element| element.key)
                .window(tumbling(first_ms))
                .side_output_late_data(&LATE)
                .aggregate(Gather, |key, window, (sum, ids)| Element {
                    id: ids.len() as u64,
                    key: key.to_owned(),
                    at: window.start,
                    value: sum,
                    watermark: None,
                    pause_ms: 0,
                })
                .name(FIRST_WINDOW)
                .uid(KEYED_UID);
            let firsts = placed(firsts, parallelism);
            outputs.late = place.put(firsts.side_output(&LATE), "late");
            let seconds = firsts
                .map(|element| Element { key: group_of(element.key), ..Element::from_view(element) })
                .key_by::<String>(|element| element.key)
                .window(tumbling(second_ms))
                .side_output_late_data(&LATE)
                .aggregate(Gather, result)
                .name(SECOND_WINDOW)
                .uid(SECOND_UID);
            outputs.second_late = place.put(seconds.side_output(&LATE), "second-late");
            outputs.windows = place.put(seconds, "windows");
        }
    }
    outputs
}

fn tumbling(millis: i64) -> TumblingEventTimeWindows {
    TumblingEventTimeWindows::of(Duration::from_millis(millis.unsigned_abs()))
}

/// Keyed operators begin a chain of their own, so their type does not change with their parallelism.
fn placed<C: Chain<Detached = C>>(stream: DataStream<C>, parallelism: Option<usize>) -> DataStream<C> {
    match parallelism {
        Some(parallelism) => stream.set_parallelism(parallelism),
        None => stream,
    }
}
