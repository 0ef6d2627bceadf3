//! W1, W2 and W3 as a user would write them.

use crate::check::{Share, Totals};
use crate::event::{Bid, BidRef, bid, h_a, h_f, h_w};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    AggregateFunction, CheckpointConfig, CheckpointRecord, JobControl, Record, Restore, SnapshotTimes, StreamExecutionEnvironment,
    TumblingEventTimeWindows, WatermarkStrategy,
};

/// What is to be run.
#[derive(Clone)]
pub struct Spec {
    /// Cores, and parallelism.
    pub parallelism: usize,
    /// Number of events.
    pub events: u64,
    /// Skewed keys instead of uniform ones.
    pub skewed: bool,
    /// Number of uniform keys.
    pub keys: u64,
    /// Checkpoints: their folder, and the time between them.
    pub checkpoints: Option<(PathBuf, Duration)>,
}

/// A workload: runs to its end and returns the sums.
pub type Workload = fn(Spec) -> Result<Arc<Totals>, String>;

/// The workload called `name`.
pub fn by_name(name: &str) -> Option<Workload> {
    match name {
        "w1" => Some(stateless),
        "w2" => Some(keyed_aggregate),
        "w3" => Some(tumbling_window),
        _ => None,
    }
}

fn bids(spec: &Spec) -> GeneratorSource<impl FnMut(u64) -> Bid + Clone + Send + 'static, Bid> {
    let Spec { skewed, keys, .. } = *spec;
    GeneratorSource::new(spec.events, move |i| bid(i, skewed, keys))
}

fn execute(env: StreamExecutionEnvironment, name: &str, spec: &Spec, totals: Arc<Totals>) -> Result<Arc<Totals>, String> {
    if let Some((dir, interval)) = &spec.checkpoints {
        env.enable_checkpointing(CheckpointConfig::new(dir).interval(*interval).restore(Restore::None));
    }
    let handle = env.execute(name, spec.parallelism).map_err(|error| error.to_string())?;
    let control = handle.control();
    let report = handle.wait().map_err(|error| error.to_string())?;
    if spec.checkpoints.is_some() {
        eprintln!("{} checkpoints; {}", report.checkpoints, longest_times(&control));
    }
    Ok(totals)
}

/// How long a subtask stood still for one of the latest checkpoints, and how long its state took to be durable, at most.
fn longest_times(control: &JobControl) -> String {
    let history = control.history();
    let parts = || history.checkpoints().flat_map(CheckpointRecord::parts);
    let longest = |time: fn(&SnapshotTimes) -> Duration| parts().map(|part| time(&part.times)).max().unwrap_or_default();
    format!(
        "of the latest {}: a subtask stood still for {:?} at most, and its state was durable {:?} later at most",
        history.checkpoints().count(),
        longest(|times| times.saving),
        longest(|times| times.storing)
    )
}

/// W1: changes and filters.
fn stateless(spec: Spec) -> Result<Arc<Totals>, String> {
    let totals = Arc::new(Totals::default());
    let mut share = Share::of(&totals);
    let env = StreamExecutionEnvironment::new();
    env.source(bids(&spec))
        .map(|bid| Bid { auction: bid.auction, bidder: bid.bidder, price: bid.price * 908 / 1000, channel: bid.channel, ts: bid.ts })
        .filter(|bid| bid.auction % 123 == 0)
        .for_each(move |bid| share.add(h_a(bid.auction, bid.price), 0));
    execute(env, "w1", &spec, totals)
}

/// Count and sum of prices.
#[derive(Clone, Debug, Default, Record)]
pub struct CountSum {
    count: u64,
    sum: u64,
}

impl CountSum {
    /// Counts a price.
    pub fn add(&mut self, price: u64) {
        self.count += 1;
        self.sum += price;
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// Counts bids, and adds their prices up.
#[derive(Clone)]
pub struct CountSumOfPrice;

impl AggregateFunction<Bid> for CountSumOfPrice {
    type Accumulator = CountSum;
    type Output = CountSum;

    fn create_accumulator(&self) -> CountSum {
        CountSum::default()
    }

    fn add(&self, bid: BidRef<'_>, total: &mut CountSum) {
        total.add(bid.price);
    }

    fn merge(&self, other: CountSum, total: &mut CountSum) {
        total.merge(&other);
    }

    fn get_result(&self, total: &CountSum) -> CountSum {
        total.clone()
    }
}

/// W2: a running count and sum per key, one output for each input.
fn keyed_aggregate(spec: Spec) -> Result<Arc<Totals>, String> {
    let totals = Arc::new(Totals::default());
    let mut share = Share::of(&totals);
    let env = StreamExecutionEnvironment::new();
    env.source(bids(&spec))
        .key_by::<u64>(|bid| bid.auction)
        .aggregate(CountSumOfPrice, |auction, total| (auction, total.count, total.sum))
        .for_each(move |(auction, count, sum)| share.add(h_a(auction, count), h_f(auction, count, sum)));
    execute(env, "w2", &spec, totals)
}

/// W3: count and sum per key and window of ten seconds.
fn tumbling_window(spec: Spec) -> Result<Arc<Totals>, String> {
    let totals = Arc::new(Totals::default());
    let mut share = Share::of(&totals);
    let env = StreamExecutionEnvironment::new();
    let watermarks =
        WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(2)).with_timestamp_assigner(|bid: BidRef<'_>| bid.ts);
    env.source(bids(&spec))
        .assign_timestamps_and_watermarks(watermarks)
        .key_by::<u64>(|bid| bid.auction % 100_000)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
        .aggregate(CountSumOfPrice, |key, window, total| (key, window.end as u64, total.count, total.sum))
        .for_each(move |(key, end, count, sum)| share.add(h_w(key, end, count, sum), 0));
    execute(env, "w3", &spec, totals)
}
