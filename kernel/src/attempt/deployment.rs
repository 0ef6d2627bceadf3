//! The description of an attempt that each worker is sent.
//!
//! Every process of a job builds the same graph, so a [`Deployment`] names only numbers: how many subtasks each task has, and which cores there are. From
//! these each worker derives which subtasks and which ends of channels are its own (`placement.rs`, `wiring.rs`).

use crate::checkpoint::{Attempt, CheckpointId, JobId, Restored, SnapshotPlace};
use crate::exchange::Place;
use crate::graph_ids::WorkerId;
use core::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The part that every subtask of an attempt is told.
#[derive(Clone)]
pub struct AttemptPlan {
    /// The job, over all its attempts.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Identifies the coordinator's process in the log: attempts of two folders can have one number.
    pub owner: u64,
    /// The first checkpoint that the attempt can take.
    pub epoch: CheckpointId,
    /// Where state is saved, if it is.
    pub snapshots: Option<SnapshotPlace>,
}

/// The checkpoint that an attempt resumes from.
#[derive(Clone)]
pub struct RestorePlan {
    /// Its metadata file, in a folder that every worker sees.
    pub path: PathBuf,
    /// Length and CRC-32 of that file: a worker that finds another one sees another folder.
    pub metadata: (u64, u32),
    /// Whether state that no operator asks for is left behind instead of refused.
    pub allow_non_restored_state: bool,
    /// The checkpoint as the coordinator has read it; for a worker in its own process.
    pub(crate) loaded: Option<Arc<Restored>>,
}

impl RestorePlan {
    /// For a worker in another process than the coordinator's: it reads the checkpoint itself. The arguments are the fields of the same names.
    #[must_use]
    pub fn to_be_read(path: PathBuf, metadata: (u64, u32), allow_non_restored_state: bool) -> Self {
        Self { path, metadata, allow_non_restored_state, loaded: None }
    }
}

/// A worker's part in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The worker in this seat.
    pub worker: WorkerId,
    /// The worker's name.
    pub name: String,
    /// Number of its cores.
    pub cores: usize,
    /// The addresses where its cores listen for frames, by core; empty if it is the only worker.
    pub doors: Vec<SocketAddr>,
}

/// All that a worker has to know for its part in an attempt.
#[derive(Clone)]
pub struct Deployment {
    /// The part that every subtask is told.
    pub plan: AttemptPlan,
    /// The checkpoint that the attempt resumes from, if any.
    pub restore: Option<RestorePlan>,
    /// Which worker runs which subtask.
    pub layout: Placement,
    /// The seat of the worker that receives this.
    pub seat: usize,
}

/// How many subtasks each task has, and where they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Number of subtasks, by task.
    pub parallelism: Vec<usize>,
    /// All workers of the attempt.
    pub seats: Vec<Seat>,
}

impl Placement {
    fn cores(&self) -> usize {
        self.seats.iter().map(|seat| seat.cores).sum()
    }

    /// The core that runs subtask `subtask` of `task`. The cores of all workers are numbered consecutively.
    pub fn place(&self, task: usize, subtask: usize) -> Place {
        let mut core = place(task, subtask, self.parallelism[task], self.cores());
        for (seat, of) in self.seats.iter().enumerate() {
            if core < of.cores {
                return Place { seat, core };
            }
            core -= of.cores;
        }
        unreachable!("a core beyond those of all seats")
    }
}

/// Subtask `s` of every task with at least as many subtasks as cores lives on core `s % cores`, so that forward edges stay on their core; smaller
/// tasks begin at a core of their own each, so that they do not all meet on core 0.
fn place(task: usize, subtask: usize, parallelism: usize, cores: usize) -> usize {
    if parallelism >= cores { subtask % cores } else { (task + subtask) % cores }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_neighbours_share_a_core_and_small_tasks_spread() {
        assert_eq!((0..4).map(|s| place(5, s, 4, 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!((0..3).map(|task| place(task, 0, 1, 2)).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn the_cores_of_all_workers_are_counted_through() {
        let seat = |cores| Seat { worker: WorkerId(0), name: String::new(), cores, doors: vec![] };
        let layout = Placement { parallelism: vec![5], seats: vec![seat(2), seat(1)] };
        let places: Vec<_> = (0..5).map(|s| layout.place(0, s)).map(|place| (place.seat, place.core)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (0, 0), (0, 1)]);
    }
}
