//! What `python/` will do: run functions of which no type knows what they take and give.

use std::task::{Context, Poll};
use thalweg::io::{Io, LocalBoxFuture};
use thalweg::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use thalweg::{Collected, NO_TIMESTAMP, StreamExecutionEnvironment};

/// An object, pickled.
type Object = Vec<u8>;

/// Yields so many objects, each longer than the one before.
#[derive(Clone)]
struct Yields(u64);

/// The next one.
struct Generator(u64, u64);

impl Source for Yields {
    type Out = Object;
    type Split = (u64, u64);
    type Reader = Generator;

    fn name(&self) -> &'static str {
        "generator function"
    }

    fn splits(&self, _io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<(u64, u64)>, SourceError>> {
        Box::pin(std::future::ready(Ok(vec![(0, self.0)])))
    }

    fn reader(&self, _context: ReaderContext) -> Generator {
        Generator(0, 0)
    }
}

impl SourceReader for Generator {
    type Out = Object;
    type Split = (u64, u64);

    fn start(&mut self, (next, end): (u64, u64)) {
        *self = Self(next, end);
    }

    fn snapshot(&self) -> (u64, u64) {
        (self.0, self.1)
    }

    fn poll_next<O: ReaderOutput<Object>>(
        &mut self,
        _cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        for _ in 0..limit {
            if self.0 == self.1 {
                return Poll::Ready(Ok(ReaderStatus::EndOfSplit));
            }
            if !output.is_ready() {
                break;
            }
            output.collect(vec![b'o'; self.0 as usize], NO_TIMESTAMP);
            self.0 += 1;
        }
        Poll::Ready(Ok(ReaderStatus::MoreAvailable))
    }
}

/// Maps `count` objects and keeps some of them.
pub fn run(env: &StreamExecutionEnvironment, count: u64, map: fn(&[u8]) -> Object, keeps: fn(&[u8]) -> bool) -> Collected<Object> {
    let bytes = |object: thalweg::record::ListRef<'_, u8>| object.iter().collect::<Object>();
    env.source(Yields(count)).map(move |object| map(&bytes(object))).filter(move |object| keeps(&bytes(object))).collect()
}
