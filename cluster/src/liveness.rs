//! Decides whether the peer is still alive.
//!
//! Each side sends something at least every *interval*; a side that has been silent for the *timeout* counts as dead, whatever it is doing. So a death is
//! noticed at most `timeout` after the last heartbeat, which is itself at most an interval (and the time on the wire) older than the death.
//!
//! A process that has itself stood still, stopped or starved, does not blame its peer for a silence that it slept through: once per silence it waits for
//! one interval more.
//!
//! Pure: no clock, no I/O.

use std::time::Duration;
use thalweg_io::MonotonicNs;

/// An input to the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LivenessInput {
    /// Bytes have arrived, be it a part of a message.
    Heard,
    /// Time has passed.
    Tick,
}

/// The reaction to an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether to send a heartbeat now.
    pub(crate) send_heartbeat: bool,
    /// Whether the peer is dead. Once set, it stays set.
    pub(crate) dead: bool,
    /// When to tick next.
    pub(crate) next: MonotonicNs,
}

/// Watches one peer.
#[derive(Clone, Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    timeout: Duration,
    next_heartbeat: MonotonicNs,
    /// The deadline for the next sign of life.
    silent_until: MonotonicNs,
    /// When the next tick is expected.
    expected: MonotonicNs,
    /// Whether one interval of this silence has been waived already.
    has_waived: bool,
    dead: bool,
}

impl Liveness {
    /// Begins to watch a peer that was heard at `now`.
    pub(crate) fn new(interval: Duration, timeout: Duration, now: MonotonicNs) -> Self {
        assert!(interval > Duration::ZERO && timeout > interval, "heartbeats come more often than they are waited for");
        let silent_until = now.after(timeout);
        Self { interval, timeout, next_heartbeat: now, silent_until, expected: now, has_waived: false, dead: false }
    }

    /// The silence after which the peer is declared dead.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Handles `input`.
    pub(crate) fn step(&mut self, now: MonotonicNs, input: LivenessInput) -> Verdict {
        if input == LivenessInput::Heard && !self.dead {
            self.silent_until = now.after(self.timeout);
            self.has_waived = false;
        }
        if now >= self.silent_until && !self.dead {
            let slept = now.since(self.expected) >= self.interval;
            if slept && !self.has_waived {
                self.has_waived = true;
                self.silent_until = now.after(self.interval);
            } else {
                self.dead = true;
            }
        }
        let send_heartbeat = now >= self.next_heartbeat && !self.dead;
        if send_heartbeat {
            self.next_heartbeat = now.after(self.interval);
        }
        self.expected = self.next_heartbeat.min(self.silent_until);
        Verdict { send_heartbeat, dead: self.dead, next: self.expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> MonotonicNs {
        MonotonicNs(ms * 1_000_000)
    }

    fn liveness() -> Liveness {
        Liveness::new(Duration::from_millis(500), Duration::from_millis(2500), ms(0))
    }

    /// Ticks when asked to, until `until` or until the peer is dead; returns when heartbeats were sent, and when the peer died.
    fn run(liveness: &mut Liveness, from: MonotonicNs, until: MonotonicNs) -> (Vec<u64>, Option<MonotonicNs>) {
        let (mut now, mut beats) = (from, Vec::new());
        loop {
            let verdict = liveness.step(now, LivenessInput::Tick);
            if verdict.send_heartbeat {
                beats.push(now.0 / 1_000_000);
            }
            if verdict.dead {
                return (beats, Some(now));
            }
            assert!(verdict.next > now, "a tick leads on");
            if verdict.next > until {
                return (beats, None);
            }
            now = verdict.next;
        }
    }

    #[test]
    fn heartbeats_go_out_at_once_and_then_every_interval() {
        let mut liveness = liveness();
        assert_eq!(run(&mut liveness, ms(0), ms(1600)), (vec![0, 500, 1000, 1500], None));
    }

    #[test]
    fn silence_is_death_after_exactly_the_timeout_and_for_good() {
        let mut liveness = liveness();
        assert_eq!(run(&mut liveness, ms(0), ms(99_999)).1, Some(ms(2500)));
        let after = liveness.step(ms(2600), LivenessInput::Heard);
        assert!(after.dead && !after.send_heartbeat);
    }

    #[test]
    fn a_sign_of_life_counts_from_when_it_came() {
        let mut liveness = liveness();
        assert_eq!(run(&mut liveness, ms(0), ms(2400)).1, None);
        assert!(!liveness.step(ms(2400), LivenessInput::Heard).dead);
        assert_eq!(run(&mut liveness, ms(2500), ms(99_999)).1, Some(ms(4900)));
    }

    #[test]
    fn who_has_slept_waits_for_one_interval_more_and_only_once() {
        let mut liveness = liveness();
        assert!(!liveness.step(ms(0), LivenessInput::Tick).dead);
        assert!(!liveness.step(ms(10_000), LivenessInput::Tick).dead, "it was this process that stood still");
        assert_eq!(run(&mut liveness, ms(10_000), ms(99_999)).1, Some(ms(10_500)));
        let mut again = self::liveness();
        again.step(ms(10_000), LivenessInput::Tick);
        assert!(again.step(ms(20_000), LivenessInput::Tick).dead, "once a silence");
        let mut heard = self::liveness();
        heard.step(ms(10_000), LivenessInput::Tick);
        heard.step(ms(10_001), LivenessInput::Heard);
        assert!(!heard.step(ms(20_000), LivenessInput::Tick).dead, "another silence");
    }

    proptest! {
        #[test]
        fn a_peer_that_speaks_in_time_lives_and_one_that_is_silent_dies_within_timeout_and_interval(
            gaps in prop::collection::vec(1u64..2499, 0..20), delays in prop::collection::vec(0u64..499, 200)
        ) {
            let mut liveness = liveness();
            let (mut now, mut delays) = (ms(0), delays.into_iter().cycle());
            let mut next = ms(0);
            for gap in gaps {
                let heard = now.after(Duration::from_millis(gap));
                while next < heard {
                    let at = next.after(Duration::from_millis(delays.next().unwrap()));
                    if at >= heard { break }
                    let verdict = liveness.step(at, LivenessInput::Tick);
                    prop_assert!(!verdict.dead);
                    next = verdict.next;
                }
                now = heard;
                let verdict = liveness.step(now, LivenessInput::Heard);
                prop_assert!(!verdict.dead);
                next = verdict.next;
            }
            let mut at = now;
            for _ in 0..20 {
                at = next.max(at).after(Duration::from_millis(delays.next().unwrap()));
                let verdict = liveness.step(at, LivenessInput::Tick);
                if verdict.dead {
                    prop_assert!(at.since(now) >= Duration::from_millis(2500));
                    prop_assert!(at.since(now) < Duration::from_millis(3500));
                    return Ok(());
                }
                next = verdict.next;
            }
            prop_assert!(false, "it was never found dead");
        }
    }
}
