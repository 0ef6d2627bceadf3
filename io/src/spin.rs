//! How long an idle task keeps looking before it goes to sleep.
//!
//! Waking a parked core costs tens of microseconds; looking at a few ring heads costs tens of nanoseconds. A task whose last waits were short therefore
//! polls again for a while (letting the core's other tasks run in between), and a task whose waits are long parks at once. The limit doubles when spinning
//! paid off and halves when it did not.

/// The spinning budget of one waiting task.
#[derive(Debug)]
pub struct AdaptiveSpin {
    max: u32,
    limit: u32,
    spent: u32,
}

impl AdaptiveSpin {
    /// Polls at most `max` times in a row before parking; 0 never spins.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { max, limit: max, spent: 0 }
    }

    /// The poll found nothing: returns whether to look again at once (`true`) or to park (`false`).
    pub fn missed(&mut self) -> bool {
        if self.spent < self.limit {
            self.spent += 1;
            return true;
        }
        // Spun in vain: spin less next time, but never quite forget how.
        self.limit = (self.limit / 2).max(self.max.min(1));
        self.spent = 0;
        false
    }

    /// The poll found something: if that was while spinning, spin longer next time.
    pub fn found(&mut self) {
        if self.spent > 0 {
            self.limit = (self.limit * 2).clamp(self.max.min(1), self.max);
            self.spent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_in_vain_gives_up_sooner_each_time() {
        let mut spin = AdaptiveSpin::new(8);
        let mut rounds = vec![];
        for _ in 0..5 {
            let mut n = 0;
            while spin.missed() {
                n += 1;
            }
            rounds.push(n);
        }
        assert_eq!(rounds, [8, 4, 2, 1, 1]);
    }

    #[test]
    fn a_find_while_spinning_restores_the_budget() {
        let mut spin = AdaptiveSpin::new(8);
        for _ in 0..4 {
            while spin.missed() {}
        }
        for _ in 0..3 {
            assert!(spin.missed());
            spin.found();
        }
        assert_eq!((0..).take_while(|_| spin.missed()).count(), 8);
    }

    #[test]
    fn zero_never_spins() {
        assert!(!AdaptiveSpin::new(0).missed());
    }
}
