//! One watermark out of several: the minimum over the active inputs.
//!
//! An input that is *idle* or has *ended* holds nobody back. A forwarded watermark is never taken back: an input that wakes up with a lower one makes the
//! output wait, not go back (docs/src/semantics.md#w-4, #w-5).
//!
//! Pure: `step(input) -> outputs`, no clock, no I/O. A step costs one pass over the inputs.

use crate::time::{Control, Watermark};

#[derive(Clone, Copy)]
struct ValveInput {
    watermark: Watermark,
    idle: bool,
    ended: bool,
}

/// Merges the in-band elements of `n` inputs.
pub(crate) struct WatermarkValve {
    inputs: Vec<ValveInput>,
    forwarded: Watermark,
    forwarded_idle: bool,
}

/// The elements that a step forwards: at most a change of idleness and a watermark, in this order.
pub(crate) type Forward = [Option<Control>; 2];

impl WatermarkValve {
    /// A valve of `inputs` inputs whose downstream operators already know the watermark `forwarded`: that of a restored checkpoint, or [`Watermark::MIN`].
    pub(crate) fn new(inputs: usize, forwarded: Watermark) -> Self {
        let input = ValveInput { watermark: Watermark::MIN, idle: false, ended: false };
        Self { inputs: vec![input; inputs], forwarded, forwarded_idle: false }
    }

    /// Takes the in-band element `control` of `input`.
    pub(crate) fn step(&mut self, input: usize, control: Control) -> Forward {
        let state = &mut self.inputs[input];
        assert!(!state.ended, "input {input} went on after its end");
        match control {
            Control::Watermark(watermark) => {
                assert!(watermark >= state.watermark, "the watermark of input {input} went back from {} to {watermark}", state.watermark);
                state.watermark = watermark;
                // A watermark ends idleness.
                state.idle = false;
            }
            Control::Idle => state.idle = true,
            Control::Active => state.idle = false,
            Control::EndOfInput => state.ended = true,
            Control::Barrier(_) | Control::SplitStarted(_) | Control::SplitFinished(_) => return [None, None],
        }
        let live = self.inputs.iter().filter(|input| !input.ended);
        let minimum = live.clone().filter(|input| !input.idle).map(|input| input.watermark).min();
        let all_idle = minimum.is_none() && live.clone().next().is_some();
        let status = (all_idle != self.forwarded_idle).then_some(if all_idle { Control::Idle } else { Control::Active });
        self.forwarded_idle = all_idle;
        // No input is left to wait for: the input as a whole has ended.
        let minimum = if self.is_ended() { Some(Watermark::MAX) } else { minimum };
        let advanced = minimum.filter(|watermark| *watermark > self.forwarded);
        if let Some(watermark) = advanced {
            self.forwarded = watermark;
        }
        [status, advanced.map(Control::Watermark)]
    }

    /// The watermark that was forwarded last.
    pub(crate) fn forwarded(&self) -> Watermark {
        self.forwarded
    }

    /// Whether every input has ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.inputs.iter().all(|input| input.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watermark(millis: i64) -> Control {
        Control::Watermark(Watermark(millis))
    }

    /// Feeds `(input, element)` pairs and returns what is forwarded.
    fn run(inputs: usize, elements: &[(usize, Control)]) -> Vec<Control> {
        let mut valve = WatermarkValve::new(inputs, Watermark::MIN);
        elements.iter().flat_map(|(input, control)| valve.step(*input, *control)).flatten().collect()
    }

    #[test]
    fn the_slowest_input_decides() {
        assert_eq!(run(2, &[(0, watermark(5)), (1, watermark(3)), (1, watermark(9))]), [watermark(3), watermark(5)]);
    }

    #[test]
    fn an_idle_input_holds_nobody_back_and_waking_up_takes_nothing_back() {
        let elements = [(0, watermark(5)), (1, Control::Idle), (0, watermark(7)), (1, watermark(6)), (0, watermark(9)), (1, watermark(8))];
        assert_eq!(run(2, &elements), [watermark(5), watermark(7), watermark(8)]);
    }

    #[test]
    fn idleness_is_forwarded_when_all_that_speak_are_idle() {
        let elements = [(0, Control::Idle), (1, Control::EndOfInput), (0, Control::Active), (0, watermark(1))];
        assert_eq!(run(2, &elements), [Control::Idle, Control::Active, watermark(1)]);
    }

    #[test]
    fn a_restored_valve_waits_until_its_inputs_pass_what_was_forwarded() {
        let mut valve = WatermarkValve::new(1, Watermark(5));
        assert_eq!(valve.step(0, watermark(4)), [None, None]);
        assert_eq!(valve.step(0, watermark(6)), [None, Some(watermark(6))]);
    }

    #[test]
    fn the_end_of_all_inputs_is_the_last_watermark() {
        let elements = [(0, watermark(4)), (1, watermark(2)), (1, Control::EndOfInput), (0, Control::EndOfInput)];
        assert_eq!(run(2, &elements), [watermark(2), watermark(4), watermark(i64::MAX)]);
    }

    proptest! {
        #[test]
        fn what_is_forwarded_rises_and_never_passes_an_active_input(elements in prop::collection::vec((0..3usize, 0..4u8, 0..20i64), 0..60)) {
            let mut valve = WatermarkValve::new(3, Watermark::MIN);
            let mut latest = [i64::MIN; 3];
            let mut idle = [false; 3];
            let mut forwarded = i64::MIN;
            for (input, kind, step) in elements {
                let control = match kind {
                    0 => Control::Idle,
                    1 => Control::Active,
                    _ => {
                        latest[input] = latest[input].max(0) + step;
                        watermark(latest[input])
                    }
                };
                idle[input] = control == Control::Idle;
                for out in valve.step(input, control).into_iter().flatten() {
                    if let Control::Watermark(Watermark(millis)) = out {
                        prop_assert!(millis > forwarded);
                        forwarded = millis;
                        prop_assert!((0..3).all(|i| idle[i] || latest[i] >= millis));
                    }
                }
            }
        }
    }
}
