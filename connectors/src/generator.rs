//! A source that computes its records: the same number always gives the same record, so that a restored job computes lost records again. A function that
//! counts its calls or reads anything else breaks that promise.

use std::marker::PhantomData;
use std::task::{Context, Poll};
use thalweg_io::{Io, LocalBoxFuture};
use thalweg_kernel::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use thalweg_record::NO_TIMESTAMP;
use thalweg_record::record::Record;

/// Emits `make(i)` for `i` in `0..count`, or without end. With parallelism `p` there are `p` splits; split `s` is `i = s, s + p, s + 2p, ...`, in order.
pub struct GeneratorSource<F, T> {
    make: F,
    count: u64,
    record: PhantomData<fn() -> T>,
}

impl<F: Clone, T> Clone for GeneratorSource<F, T> {
    fn clone(&self) -> Self {
        Self { make: self.make.clone(), count: self.count, record: PhantomData }
    }
}

impl<T: Record, F: FnMut(u64) -> T + Clone + Send + 'static> GeneratorSource<F, T> {
    /// A bounded source of `count` records.
    pub fn new(count: u64, make: F) -> Self {
        Self { make, count, record: PhantomData }
    }

    /// An unbounded source: the job runs until it is stopped or cancelled.
    pub fn unbounded(make: F) -> Self {
        Self::new(u64::MAX, make)
    }
}

/// The numbers `next, next + step, ...` below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Record)]
pub struct GeneratorSplit {
    /// The number of the next record.
    pub next: u64,
    /// The distance from one number to the next.
    pub step: u64,
    /// The exclusive upper bound of the numbers.
    pub end: u64,
}

impl<T: Record, F: FnMut(u64) -> T + Clone + Send + 'static> Source for GeneratorSource<F, T> {
    type Out = T;
    type Split = GeneratorSplit;
    type Reader = GeneratorReader<F, T>;

    fn name(&self) -> &'static str {
        "generator"
    }

    fn splits(&self, _io: Io, parallelism: usize) -> LocalBoxFuture<Result<Vec<GeneratorSplit>, SourceError>> {
        let (step, end) = (parallelism as u64, self.count);
        Box::pin(async move { Ok((0..step).map(|next| GeneratorSplit { next, step, end }).collect()) })
    }

    fn reader(&self, _context: ReaderContext) -> GeneratorReader<F, T> {
        GeneratorReader { make: self.make.clone(), split: GeneratorSplit { next: 0, step: 1, end: 0 }, record: PhantomData }
    }
}

/// Emits one split after the other.
pub struct GeneratorReader<F, T> {
    make: F,
    split: GeneratorSplit,
    record: PhantomData<fn() -> T>,
}

impl<T: Record, F: FnMut(u64) -> T + 'static> SourceReader for GeneratorReader<F, T> {
    type Out = T;
    type Split = GeneratorSplit;

    fn start(&mut self, split: GeneratorSplit) {
        self.split = split;
    }

    fn snapshot(&self) -> GeneratorSplit {
        self.split
    }

    #[inline]
    fn poll_next<O: ReaderOutput<T>>(
        &mut self,
        _cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        let GeneratorSplit { mut next, step, end } = self.split;
        let mut left = limit;
        while left > 0 && next < end && output.is_ready() {
            output.collect((self.make)(next), NO_TIMESTAMP);
            next = next.saturating_add(step);
            left -= 1;
        }
        self.split.next = next;
        Poll::Ready(Ok(if next < end { ReaderStatus::MoreAvailable } else { ReaderStatus::EndOfSplit }))
    }
}
