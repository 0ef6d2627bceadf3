//! A generator whose inputs come at times that were fixed beforehand and do not wait for the engine: it emits what is due, at once, however much that is, and
//! sleeps until the next.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use thalweg::connectors::GeneratorSplit;
use thalweg::io::{Io, LocalBoxFuture};
use thalweg::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};

/// When inputs are due.
#[derive(Clone, Copy)]
pub struct Timetable {
    /// When the first is due.
    pub begin: Instant,
    /// How many are due at once, at the beginning.
    pub at_once: u64,
    /// How many of the others come in a second.
    pub per_second: u64,
}

impl Timetable {
    /// When an input is due.
    pub fn due(self, number: u64) -> Instant {
        self.begin
            + Duration::from_nanos((u128::from(number.saturating_sub(self.at_once)) * 1_000_000_000 / u128::from(self.per_second)) as u64)
    }
}

/// A generator whose records are emitted when they are due.
#[derive(Clone)]
pub struct OpenLoop<S> {
    /// When they are.
    pub timetable: Timetable,
    /// What it emits.
    pub generator: S,
}

impl<S: Source<Split = GeneratorSplit>> Source for OpenLoop<S> {
    type Out = S::Out;
    type Split = GeneratorSplit;
    type Reader = OpenLoopReader<S::Reader>;

    fn name(&self) -> &'static str {
        "open-loop"
    }

    fn splits(&self, io: Io, parallelism: usize) -> LocalBoxFuture<Result<Vec<GeneratorSplit>, SourceError>> {
        self.generator.splits(io, parallelism)
    }

    fn reader(&self, context: ReaderContext) -> OpenLoopReader<S::Reader> {
        let io = context.io.clone();
        OpenLoopReader { timetable: self.timetable, generator: self.generator.reader(context), io, sleep: None }
    }
}

/// The reader of an [`OpenLoop`].
pub struct OpenLoopReader<R> {
    timetable: Timetable,
    generator: R,
    io: Io,
    sleep: Option<LocalBoxFuture<()>>,
}

impl<R: SourceReader<Split = GeneratorSplit>> SourceReader for OpenLoopReader<R> {
    type Out = R::Out;
    type Split = GeneratorSplit;

    fn start(&mut self, split: GeneratorSplit) {
        self.generator.start(split);
    }

    fn snapshot(&self) -> GeneratorSplit {
        self.generator.snapshot()
    }

    fn poll_next<O: ReaderOutput<R::Out>>(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            let GeneratorSplit { next, step, end } = self.generator.snapshot();
            let (now, timetable) = (Instant::now(), self.timetable);
            let due = (0..limit as u64).take_while(|ahead| timetable.due(next + ahead * step) <= now).count();
            if due > 0 || next >= end {
                return self.generator.poll_next(cx, output, due);
            }
            let clock = self.io.clock();
            self.sleep = Some(clock.sleep_until(clock.now().after(timetable.due(next).saturating_duration_since(now))));
        }
    }
}
