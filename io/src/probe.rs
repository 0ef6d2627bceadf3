//! A window for observers of the engine: the simulator's oracles and traces, never the engine itself.
//!
//! In production no probe is installed and an event costs one branch. Events are reported once per frame, watermark or control step, not per record.

/// An event, in the words of the component that reports it. Its numbers are documented where it is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeEvent<'a> {
    /// What happened, for instance `watermark.out`.
    pub name: &'static str,
    /// Where it happened: a subtask's name, for instance `window(2/3)`.
    pub place: &'a str,
    /// Numbers that belong to the event.
    pub values: [i64; 3],
}

/// Receives events. Must not influence the engine: it draws no randomness, wakes no task and returns nothing.
pub trait Probe {
    /// Takes note of `event`.
    fn observe(&self, event: ProbeEvent<'_>);
}
