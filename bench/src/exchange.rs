//! W8: W2 with source and aggregate in different processes, beside a bare TCP stream of as many bytes in the same run.
//!
//! The program starts itself twice as a worker, each on a CPU of its own: the source runs in the first and the aggregate in the second. It coordinates.
//! `w8s` is the same with a string of 22 characters in every bid.

use crate::event::{bid, h_a, h_f};
use crate::measure::{Usage, children_cpu_seconds};
use crate::workloads::{CountSum, CountSumOfPrice, Spec};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;
use thalweg::checkpoint::CheckpointId;
use thalweg::cluster::{ClusterConfig, WorkerConfig, start_worker};
use thalweg::connectors::GeneratorSource;
use thalweg::io::uring::UringCores;
use thalweg::io::{Io, IoError, LocalBoxFuture};
use thalweg::sink::{Sink, SinkContext, SinkError, SinkWriter};
use thalweg::{AggregateFunction, Job, JobError, Record, StreamExecutionEnvironment};

/// What the bare stream writes and reads at a time, as the engine does.
const BLOCK_BYTES: usize = 128 << 10;

/// A bid with a string.
#[derive(Clone, Debug, Record)]
pub struct NamedBid {
    auction: u64,
    bidder: u64,
    price: u64,
    channel: String,
    ts: i64,
}

impl AggregateFunction<NamedBid> for CountSumOfPrice {
    type Accumulator = CountSum;
    type Output = CountSum;

    fn create_accumulator(&self) -> CountSum {
        CountSum::default()
    }

    fn add(&self, bid: NamedBidRef<'_>, total: &mut CountSum) {
        // The string is looked at, as a filter would: one byte of it.
        total.add(bid.price + u64::from(bid.channel.is_empty()));
    }

    fn merge(&self, other: CountSum, total: &mut CountSum) {
        total.merge(&other);
    }

    fn get_result(&self, total: &CountSum) -> CountSum {
        total.clone()
    }
}

/// What an epoch of a subtask comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct Sums {
    epoch: u64,
    subtask: u64,
    outputs: u64,
    a: u64,
    f: u64,
}

/// Adds check values up where they arise and brings the sums together where they are committed.
#[derive(Clone, Default)]
struct SumSink {
    committed: Arc<Mutex<BTreeSet<Sums>>>,
}

impl SumSink {
    fn total(&self) -> (u64, u64, u64) {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed
            .iter()
            .fold((0, 0, 0), |(outputs, a, f), sums| (outputs + sums.outputs, u64::wrapping_add(a, sums.a), u64::wrapping_add(f, sums.f)))
    }
}

impl Sink for SumSink {
    type In = (u64, u64, u64);
    type Transaction = Sums;
    type Writer = SumWriter;

    fn name(&self) -> &'static str {
        "sums"
    }

    fn commit(&self, _io: Io, transactions: Vec<Sums>) -> LocalBoxFuture<Result<(), SinkError>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).extend(transactions);
        Box::pin(std::future::ready(Ok(())))
    }

    fn writer(&self, context: SinkContext) -> SumWriter {
        let empty = Sums { epoch: 0, subtask: context.subtask as u64, outputs: 0, a: 0, f: 0 };
        SumWriter { empty, sums: empty, sealed: Vec::new() }
    }
}

struct SumWriter {
    empty: Sums,
    sums: Sums,
    sealed: Vec<Sums>,
}

impl SinkWriter for SumWriter {
    type In = (u64, u64, u64);
    type Transaction = Sums;

    #[inline]
    fn write(&mut self, _timestamp: i64, (auction, count, sum): (u64, u64, u64)) {
        self.sums.outputs += 1;
        self.sums.a = self.sums.a.wrapping_add(h_a(auction, count));
        self.sums.f = self.sums.f.wrapping_add(h_f(auction, count, sum));
    }

    fn seal(&mut self, checkpoint: CheckpointId) {
        self.sealed.push(Sums { epoch: checkpoint.0, ..self.sums });
        self.sums = self.empty;
    }

    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<Sums>, IoError>> {
        Poll::Ready(Ok(Some(self.sealed.remove(0))))
    }
}

/// The job, in each of its processes: the options are `w8` or `w8s`, events, skewed keys, keys.
fn job(options: &[String], sink: SumSink) -> Result<Job, JobError> {
    let number = |i: usize| options.get(i).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (events, skewed, keys) = (number(1), number(2) == 1, number(3));
    let env = StreamExecutionEnvironment::new();
    // The source is the first task and the aggregate the second: one goes to each worker.
    env.set_parallelism(1);
    if options.first().is_some_and(|name| name == "w8s") {
        let named = move |i| {
            let crate::event::Bid { auction, bidder, price, channel, ts } = bid(i, skewed, keys);
            NamedBid { auction, bidder, price, channel: format!("channel/{channel:014}"), ts }
        };
        env.source(GeneratorSource::new(events, named))
            .key_by::<u64>(|bid| bid.auction)
            .aggregate(CountSumOfPrice, |auction, total| (auction, total.count(), total.sum()))
            .sink(sink);
    } else {
        env.source(GeneratorSource::new(events, move |i| bid(i, skewed, keys)))
            .key_by::<u64>(|bid| bid.auction)
            .aggregate(CountSumOfPrice, |auction, total| (auction, total.count(), total.sum()))
            .sink(sink);
    }
    env.build("w8")
}

/// A worker of the measured job, on the CPU `cpu`. Ends with the job.
pub fn work(coordinator: &str, cpu: usize) -> Result<(), String> {
    let coordinator = coordinator.parse().map_err(|error| format!("coordinator={coordinator}: {error}"))?;
    let cores = UringCores::new().on_cpus([cpu]);
    let worker = start_worker(&cores, WorkerConfig::new(coordinator, 1), |options| job(options, SumSink::default()));
    worker.and_then(|worker| worker.wait()).map(drop).map_err(|error| error.to_string())
}

/// Runs W8 and a bare stream; the line says how one compares to the other.
pub fn measure(name: &str, spec: &Spec) -> Result<String, String> {
    let options = [name.to_owned(), spec.events.to_string(), u8::from(spec.skewed).to_string(), spec.keys.to_string()];
    let sink = SumSink::default();
    let describe = |error: JobError| error.to_string();
    let listen: SocketAddr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(|error| error.to_string())?;
    let config = ClusterConfig::new(listen, 2).options(options.to_vec());
    let (wall, usage, children) = (Instant::now(), Usage::now(), children_cpu_seconds());
    let handle =
        job(&options, sink.clone()).and_then(|job| job.start_coordinator(&UringCores::new().on_cpus([]), config)).map_err(describe)?;
    let workers = [0, 1].map(|cpu| start_process(listen, cpu));
    let report = handle.wait().map_err(describe)?;
    let wall_s = wall.elapsed().as_secs_f64();
    for worker in workers {
        let ended = worker.and_then(|mut worker| worker.wait()).map_err(|error| format!("a worker: {error}"))?;
        if !ended.success() {
            return Err(format!("a worker ended with {ended}"));
        }
    }
    let cpu_s = usage.cpu_seconds() + children_cpu_seconds() - children;
    let bytes = report.metrics.total("numBytesInRemote").unsigned_abs();
    let rebuilt = report.metrics.total("numRecordsRebuilt");
    let (bare_s, bare_cpu_s) = bare_stream(bytes)?;
    let (outputs, a, f) = sink.total();
    let (rate, bare_rate) = (bytes as f64 / wall_s / 1e9, bytes as f64 / bare_s / 1e9);
    let gigabytes = bytes as f64 / 1e9;
    Ok(format!(
        "{{\"peer\":\"thalweg\",\"w\":\"{name}\",\"n\":{},\"wall_s\":{wall_s:.3},\"cpu_s\":{cpu_s:.3},\"evps\":{:.0},\"wire_gb\":{gigabytes:.3},\
         \"gb_per_s\":{rate:.3},\"cpu_s_per_gb\":{:.3},\"bare_gb_per_s\":{bare_rate:.3},\"bare_cpu_s_per_gb\":{:.3},\"of_bare\":{:.2},\
         \"rebuilt\":{rebuilt},\"out\":{outputs},\"a\":\"{a:016x}\",\"f\":\"{f:016x}\"}}",
        spec.events,
        spec.events as f64 / wall_s,
        cpu_s / gigabytes,
        bare_cpu_s / gigabytes,
        rate / bare_rate,
    ))
}

fn start_process(coordinator: SocketAddr, cpu: usize) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).args([format!("worker={coordinator}"), format!("cpu={cpu}")]).spawn()
}

/// Wall and CPU seconds of sending `bytes` from one process to another: to a thread that is in nothing else's way, which costs the kernel the same.
fn bare_stream(bytes: u64) -> Result<(f64, f64), String> {
    let fail = |error: std::io::Error| format!("the bare stream: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let (wall, usage) = (Instant::now(), Usage::now());
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        crate::measure::pin_to(0);
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let block = vec![7u8; BLOCK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(BLOCK_BYTES as u64) as usize;
            stream.write_all(&block[..part])?;
            left -= part as u64;
        }
        Ok(())
    });
    let receiver = std::thread::spawn(move || -> std::io::Result<u64> {
        crate::measure::pin_to(1);
        let (mut stream, _) = listener.accept()?;
        let (mut block, mut received) = (vec![0u8; BLOCK_BYTES], 0);
        loop {
            match stream.read(&mut block)? {
                0 => return Ok(received),
                part => received += part as u64,
            }
        }
    });
    let panicked = |_| "the bare stream: a thread panicked".to_owned();
    sender.join().map_err(panicked)?.map_err(fail)?;
    let received = receiver.join().map_err(panicked)?.map_err(fail)?;
    if received != bytes {
        return Err(format!("the bare stream: {received} of {bytes} bytes arrived"));
    }
    Ok((wall.elapsed().as_secs_f64(), usage.cpu_seconds()))
}
