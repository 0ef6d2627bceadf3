//! Who runs next: the policies that bend the executor's choice.
//!
//! madsim already picks a ready task at random. A policy adds what uniform choice hardly ever does: it *postpones* the poll of a task that is
//! ready (the task wakes itself and waits for its next turn), so that others overtake it by far. Every policy postpones a bounded number of
//! times in a row: a schedule may be unfair for long, never for ever.
//!
//! Pure: numbers in, decision out. It draws from a stream of its own.

use crate::rng::Draw;
use thalweg_io::{Rng, SplitMix};

/// How ready tasks are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulePolicy {
    /// Not at all: a uniformly random ready task runs.
    Uniform,
    /// Each poll is postponed with this probability.
    Postpone {
        /// Of 1000 polls, how many; at most 900.
        per_mille: u32,
    },
    /// One task after another is starved for a number of turns.
    Starve {
        /// Turns that the victim is passed over before another victim is chosen.
        turns: u32,
    },
    /// Each task has a random priority; at random points one task's priority is drawn anew (after Burckhardt et al., *A Randomized Scheduler
    /// with Probabilistic Guarantees of Finding Bugs*, ASPLOS 2010).
    Priorities {
        /// Number of priorities. A task of priority `n` is passed over `4 n` times before each poll.
        levels: u32,
        /// Polls between two change points, on average.
        change_every_polls: u32,
    },
}

/// Turns that each level of priority costs a task before a poll.
const TURNS_PER_LEVEL: u32 = 4;

/// What the schedule remembers about one task.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    level: u32,
    passed_over: u32,
}

/// The policy at work in one run.
pub(crate) struct Schedule {
    policy: SchedulePolicy,
    stream: SplitMix,
    standings: Vec<Standing>,
    victim: usize,
    victim_turns_left: u32,
}

impl Schedule {
    pub(crate) fn new(policy: SchedulePolicy, seed: u64) -> Self {
        Self { policy, stream: SplitMix::stream(seed, "schedule"), standings: vec![], victim: 0, victim_turns_left: 0 }
    }

    /// A task was created; tasks are numbered from 0 in the order of these calls.
    pub(crate) fn task_created(&mut self) {
        let level = match self.policy {
            SchedulePolicy::Priorities { levels, .. } => self.stream.below(u64::from(levels.max(1))) as u32,
            _ => 0,
        };
        self.standings.push(Standing { level, passed_over: 0 });
    }

    /// Whether `task`, which is ready and was picked, is passed over this time.
    pub(crate) fn postpones(&mut self, task: usize) -> bool {
        match self.policy {
            SchedulePolicy::Uniform => false,
            SchedulePolicy::Postpone { per_mille } => self.stream.chance(per_mille.min(900)),
            SchedulePolicy::Starve { turns } => self.starves(task, turns),
            SchedulePolicy::Priorities { levels, change_every_polls } => self.is_outranked(task, levels, change_every_polls),
        }
    }

    fn starves(&mut self, task: usize, turns: u32) -> bool {
        if self.victim_turns_left == 0 {
            self.victim = self.stream.below(self.standings.len() as u64) as usize;
            self.victim_turns_left = turns;
            // The new victim, if it is the one that asks, runs once first: otherwise two rounds in a row could fall on one task for ever.
            return false;
        }
        if task != self.victim {
            // A victim that sleeps or has ended must not be starved for ever: each round ends by itself.
            if self.stream.chance(2) {
                self.victim_turns_left = 0;
            }
            return false;
        }
        self.victim_turns_left -= 1;
        true
    }

    fn is_outranked(&mut self, task: usize, levels: u32, change_every_polls: u32) -> bool {
        if self.stream.below(u64::from(change_every_polls.max(1))) == 0 {
            let changed = self.stream.below(self.standings.len() as u64) as usize;
            self.standings[changed].level = self.stream.below(u64::from(levels.max(1))) as u32;
        }
        let standing = &mut self.standings[task];
        if standing.passed_over < standing.level * TURNS_PER_LEVEL {
            standing.passed_over += 1;
            return true;
        }
        standing.passed_over = 0;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: [SchedulePolicy; 4] = [
        SchedulePolicy::Uniform,
        SchedulePolicy::Postpone { per_mille: 900 },
        SchedulePolicy::Starve { turns: 50 },
        SchedulePolicy::Priorities { levels: 4, change_every_polls: 10 },
    ];

    #[test]
    fn a_task_alone_is_never_held_back_for_ever() {
        for policy in POLICIES {
            let mut schedule = Schedule::new(policy, 1);
            schedule.task_created();
            let mut in_a_row = 0;
            for _ in 0..10_000 {
                in_a_row = if schedule.postpones(0) { in_a_row + 1 } else { 0 };
                assert!(in_a_row <= 500, "{policy:?}");
            }
        }
    }

    #[test]
    fn starving_passes_one_task_over_while_others_run() {
        let mut schedule = Schedule::new(SchedulePolicy::Starve { turns: 20 }, 3);
        for _ in 0..3 {
            schedule.task_created();
        }
        let mut longest = [0; 3];
        let mut in_a_row = [0; 3];
        for turn in 0..3000 {
            let task = turn % 3;
            in_a_row[task] = if schedule.postpones(task) { in_a_row[task] + 1 } else { 0 };
            longest[task] = longest[task].max(in_a_row[task]);
        }
        assert!(longest.iter().all(|&turns| turns >= 15), "{longest:?}");
    }
}
