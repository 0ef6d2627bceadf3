//! A source of generated elements that falls silent now and then.
//!
//! The engine's own sources are always ready; this one waits on the clock where its elements say so, which makes inputs idle, leaves open frames behind and
//! lets other splits overtake.

use super::elements::{Element, ElementRef};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg::io::{Io, LocalBoxFuture};
use thalweg::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use thalweg::{BoundedOutOfOrderness, NO_TIMESTAMP, Watermark, WatermarkGenerator, WatermarkOutput};

/// A source that emits given splits.
#[derive(Clone)]
pub struct ElementSource {
    /// The splits, in the order in which they are given out.
    pub splits: Vec<Vec<Element>>,
}

impl Source for ElementSource {
    type Out = Element;
    type Split = Vec<Element>;
    type Reader = ElementReader;

    fn name(&self) -> &'static str {
        "elements"
    }

    fn splits(&self, _io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<Vec<Element>>, SourceError>> {
        let splits = self.splits.clone();
        Box::pin(async move { Ok(splits) })
    }

    fn reader(&self, context: ReaderContext) -> ElementReader {
        ElementReader { io: context.io, rest: Vec::new().into_iter().peekable(), pause: None }
    }
}

/// Reads one split after the other.
pub struct ElementReader {
    io: Io,
    rest: std::iter::Peekable<std::vec::IntoIter<Element>>,
    /// The silence before the next element, once it has begun.
    pause: Option<LocalBoxFuture<()>>,
}

impl SourceReader for ElementReader {
    type Out = Element;
    type Split = Vec<Element>;

    fn start(&mut self, split: Vec<Element>) {
        self.rest = split.into_iter().peekable();
        self.pause = None;
    }

    fn snapshot(&self) -> Vec<Element> {
        self.rest.clone().collect()
    }

    fn poll_next<O: ReaderOutput<Element>>(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        for _ in 0..limit {
            if !output.is_ready() {
                break;
            }
            let Some(next) = self.rest.peek() else { return Poll::Ready(Ok(ReaderStatus::EndOfSplit)) };
            if next.pause_ms > 0 {
                let clock = self.io.clock();
                let until = clock.now().after(Duration::from_millis(next.pause_ms));
                let pause = self.pause.get_or_insert_with(|| clock.sleep_until(until));
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            if let Some(element) = self.rest.next() {
                output.collect(element, NO_TIMESTAMP);
            }
        }
        Poll::Ready(Ok(ReaderStatus::MoreAvailable))
    }
}

/// How a source generates its watermarks.
#[derive(Clone, Debug)]
pub enum Generator {
    /// With the engine's own generator.
    Bounded(BoundedOutOfOrderness),
    /// As its elements say.
    Punctuated,
}

impl WatermarkGenerator<Element> for Generator {
    fn on_event(&mut self, element: ElementRef<'_>, timestamp: i64, output: &mut WatermarkOutput) {
        match self {
            Self::Bounded(bounded) => WatermarkGenerator::<Element>::on_event(bounded, element, timestamp, output),
            Self::Punctuated => {
                if let Some(watermark) = element.watermark {
                    output.emit(Watermark(watermark));
                }
            }
        }
    }

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        match self {
            Self::Bounded(bounded) => WatermarkGenerator::<Element>::on_periodic_emit(bounded, output),
            Self::Punctuated => {}
        }
    }
    fn snapshot(&self) -> Vec<u8> {
        match self {
            Self::Bounded(bounded) => WatermarkGenerator::<Element>::snapshot(bounded),
            Self::Punctuated => vec![],
        }
    }

    fn restore(&mut self, snapshot: &[u8]) {
        if let Self::Bounded(bounded) = self {
            WatermarkGenerator::<Element>::restore(bounded, snapshot);
        }
    }
}
