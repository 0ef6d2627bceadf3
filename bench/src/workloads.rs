//! W1, W2 and W3 as a user would write them.

use crate::check::{Share, Totals};
use crate::event::{Bid, BidRef, bid, h_a, h_f, h_w};
use crate::table;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    AggregateFunction, Chain, CheckpointConfig, DataStream, JobError, JobHandle, Record, Restore, StreamExecutionEnvironment,
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
        "table" => Some(|spec| Ok(table::change(&spec))),
        _ => None,
    }
}

fn bids(spec: &Spec) -> GeneratorSource<impl FnMut(u64) -> Bid + Clone + Send + 'static, Bid> {
    let Spec { skewed, keys, .. } = *spec;
    GeneratorSource::new(spec.events, move |i| bid(i, skewed, keys))
}

/// Starts the job with the checkpoints of `spec`.
pub fn start(env: StreamExecutionEnvironment, name: &str, spec: &Spec) -> Result<JobHandle, JobError> {
    if let Some((dir, interval)) = &spec.checkpoints {
        env.enable_checkpointing(CheckpointConfig::new(dir).interval(*interval).restore(Restore::None));
    }
    env.execute(name, spec.parallelism)
}

fn execute(env: StreamExecutionEnvironment, name: &str, spec: &Spec, totals: Arc<Totals>) -> Result<Arc<Totals>, String> {
    let report = start(env, name, spec).and_then(JobHandle::wait).map_err(|error| error.to_string())?;
    let slices = report.metrics.durations("sliceDuration");
    eprintln!("slices: {:?} in 99.99 % of them, {:?} at most", slices.quantile(0.9999), slices.max());
    if spec.checkpoints.is_some() {
        let times = ["checkpointSyncDuration", "checkpointAsyncDuration", "checkpointCommitDuration"].map(|name| {
            let durations = report.metrics.durations(name);
            format!("{:?} in half of them, {:?} at most", durations.quantile(0.5), durations.max())
        });
        let [sync, durable, commit] = times;
        eprintln!(
            "{} checkpoints; a subtask stood still for {sync}; its state was durable {durable} later; committed in {commit}",
            report.checkpoints
        );
    }
    Ok(totals)
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
    let share = Share::of(&totals);
    let env = StreamExecutionEnvironment::new();
    aggregate_per_key(env.source(bids(&spec)), share);
    execute(env, "w2", &spec, totals)
}

fn aggregate_per_key(bids: DataStream<impl Chain<Out = Bid>>, mut share: Share) {
    bids.key_by::<u64>(|bid| bid.auction)
        .aggregate(CountSumOfPrice, |auction, total| (auction, total.count, total.sum))
        .for_each(move |(auction, count, sum)| share.add(h_a(auction, count), h_f(auction, count, sum)));
}

/// W2 until it is stopped.
pub fn without_an_end(spec: &Spec) -> Result<JobHandle, JobError> {
    let Spec { skewed, keys, .. } = *spec;
    let env = StreamExecutionEnvironment::new();
    aggregate_per_key(env.source(GeneratorSource::unbounded(move |i| bid(i, skewed, keys))), Share::of(&Arc::new(Totals::default())));
    start(env, "stall", spec)
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
