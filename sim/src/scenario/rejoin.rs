//! A function with two inputs and no key that unites two streams.

use super::elements::{Element, ElementRef, Signal, SignalRef};
use thalweg::{CoProcessContext, CoProcessFunction, Output, Record};

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct Rejoin;

impl CoProcessFunction for Rejoin {
    type In1 = Element;
    type In2 = Signal;
    type Out = Element;

    fn process_element1(&mut self, element: ElementRef<'_>, _ctx: &mut CoProcessContext<'_>, out: &mut Output<Element>) {
        out.collect(Element::from_view(element));
    }

    fn process_element2(&mut self, signal: SignalRef<'_>, _ctx: &mut CoProcessContext<'_>, out: &mut Output<Element>) {
        let SignalRef { of, id, at, value, marks: (watermark, pause_ms) } = signal;
        out.collect(Element { id, key: of.to_owned(), at, value, watermark, pause_ms });
    }
}
