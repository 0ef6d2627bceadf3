//! A worker's share of the newest attempt that it was given, as both ends of its connection know it.
//!
//! With it the coordinator's end checks the worker's messages: for which subtasks it may speak, and which messages each may still send. A subtask
//! acknowledges one checkpoint after the other and finishes once; it ends when it was told to close; only the subtasks of a source ask for splits and have
//! some, only those of a sink prepare transactions, and stored state lies in the file that is named for its subtask. The coordinator asserts what follows
//! from that.
//!
//! Pure.

use std::collections::BTreeMap;
use std::rc::Rc;
use thalweg_kernel::checkpoint::{Attempt, CheckpointId};
use thalweg_kernel::worker::PreparedEpoch;
use thalweg_kernel::worker::TaskShape;
use thalweg_kernel::worker::{Deployment, FromSubtask, ToSubtask, ToWorker};
use thalweg_storage::checkpoint::{FILES_MAX, Image, StateFile, checkpoint_of_state_file};

/// The state of a subtask that has not ended.
struct Part {
    task: usize,
    /// Its number within the task; `parallelism` is the number of the task's subtasks.
    number: usize,
    parallelism: usize,
    /// The latest checkpoint that it has acknowledged.
    acknowledged: Option<CheckpointId>,
    has_finished: bool,
    is_closing: bool,
}

/// The subtasks of a worker that have not ended.
pub(super) struct Share {
    shape: Rc<[TaskShape]>,
    attempt: Attempt,
    parts: BTreeMap<usize, Part>,
}

impl Share {
    /// The share of a worker that was given no attempt yet, in a job of this shape.
    pub(super) fn new(shape: Rc<[TaskShape]>) -> Self {
        Self { shape, attempt: Attempt(0), parts: BTreeMap::new() }
    }

    /// The newest attempt in which the worker was given a share.
    pub(super) fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Notes an order to the worker.
    pub(super) fn told(&mut self, order: &ToWorker) {
        match order {
            ToWorker::Deploy(deployment) => self.deployed(deployment),
            ToWorker::ToSubtask { attempt, subtask, message: ToSubtask::Close } if *attempt == self.attempt => {
                self.parts.get_mut(subtask).into_iter().for_each(|part| part.is_closing = true);
            }
            ToWorker::ToSubtask { .. } | ToWorker::End { .. } => {}
        }
    }

    /// Notes that all its subtasks are told to close.
    pub(super) fn closed(&mut self) {
        self.parts.values_mut().for_each(|part| part.is_closing = true);
    }

    fn deployed(&mut self, deployment: &Deployment) {
        let Deployment { plan, layout, seat, .. } = deployment;
        self.attempt = plan.attempt;
        let of_all = layout.parallelism.iter().enumerate().flat_map(|(task, parallelism)| {
            (0..*parallelism).map(move |number| Part {
                task,
                number,
                parallelism: *parallelism,
                acknowledged: None,
                has_finished: false,
                is_closing: false,
            })
        });
        self.parts = of_all.enumerate().filter(|(_, part)| layout.place(part.task, part.number).seat == *seat).collect();
    }

    /// Notes a subtask's last message; returns whether it was the last subtask of the attempt here.
    pub(super) fn ended(&mut self, attempt: Attempt, subtask: usize) -> bool {
        attempt == self.attempt && self.parts.remove(&subtask).is_some() && self.parts.is_empty()
    }

    /// The names of subtasks that were told to close and have not ended.
    pub(super) fn closing(&self) -> impl Iterator<Item = String> {
        let name = |part: &Part| {
            let task = self.shape.get(part.task).map_or("a task", |task| task.name.as_str());
            format!("{task}({}/{})", part.number + 1, part.parallelism)
        };
        self.parts.values().filter(|part| part.is_closing).map(name)
    }

    /// Checks a message of the worker about `attempt` that is not a subtask's.
    ///
    /// # Errors
    /// See [`hear`](Self::hear).
    pub(super) fn knows(&self, attempt: Attempt) -> Result<(), String> {
        if attempt > self.attempt { Err(format!("it speaks of attempt {attempt} and was given {}", self.attempt)) } else { Ok(()) }
    }

    /// Checks a message of the worker. Late messages of an older attempt are the coordinator's to refuse.
    ///
    /// # Errors
    /// If no correct worker can send the message. The worker must not be believed any more.
    pub(super) fn hear(&mut self, attempt: Attempt, message: &FromSubtask) -> Result<(), String> {
        self.knows(attempt)?;
        if attempt < self.attempt {
            return Ok(());
        }
        match message {
            FromSubtask::SplitRequested { source, subtask } => {
                let (_, task) = self.part(*subtask)?;
                if task.source != Some(*source) {
                    return Err(format!("subtask {subtask} asks for splits of operator {}, which is not its source", source.0));
                }
            }
            FromSubtask::Acknowledged { subtask, acknowledgement } => {
                let checkpoint = acknowledgement.checkpoint;
                let (part, task) = self.part(*subtask)?;
                if part.acknowledged.is_some_and(|before| before >= checkpoint) {
                    return Err(format!("subtask {subtask} acknowledges checkpoint {checkpoint} after it, or a later one, was"));
                }
                part.acknowledged = Some(checkpoint);
                if task.source.is_none() && !acknowledgement.splits.is_empty() {
                    return Err(format!("subtask {subtask} has splits, and its task has no source"));
                }
                are_files_of(&acknowledgement.state, (attempt, checkpoint), &task.uid, part.number)
                    .map_err(|wrong| format!("subtask {subtask} {wrong}"))?;
                prepared_by(task, acknowledgement.prepared.as_ref(), Some(checkpoint))?;
            }
            FromSubtask::WaitsForRoom { subtask, .. } => {
                let (_, task) = self.part(*subtask)?;
                if task.sinks.is_empty() {
                    return Err(format!("subtask {subtask} waits for room for results, and its task has no sink"));
                }
            }
            FromSubtask::Declined { subtask, checkpoint, prepared, .. } => {
                let (_, task) = self.part(*subtask)?;
                prepared_by(task, prepared.as_ref(), Some(*checkpoint))?;
            }
            FromSubtask::Finished { subtask, prepared } => {
                let (part, task) = self.part(*subtask)?;
                if std::mem::replace(&mut part.has_finished, true) {
                    return Err(format!("subtask {subtask} has finished twice"));
                }
                prepared_by(task, prepared.as_ref(), None)?;
            }
            // A failure ends the attempt for all subtasks: none of them has to be told.
            FromSubtask::Failed { subtask, .. } => {
                if let Some(subtask) = subtask {
                    self.part(*subtask)?;
                }
                self.closed();
            }
            FromSubtask::Ended { subtask, .. } => {
                if !self.part(*subtask)?.0.is_closing {
                    return Err(format!("subtask {subtask} has ended before it was told to close"));
                }
                self.ended(attempt, *subtask);
            }
        }
        Ok(())
    }

    fn part(&mut self, subtask: usize) -> Result<(&mut Part, &TaskShape), String> {
        let part = self.parts.get_mut(&subtask);
        let found = part.and_then(|part| self.shape.get(part.task).map(|task| (part, task)));
        found.ok_or_else(|| format!("it speaks for subtask {subtask}, which is not its own or has ended"))
    }
}

/// Checks that the acknowledged state of a subtask of `task` is one image, or lies in files that are its own: one of the checkpoint at last, and of earlier ones
/// of the attempt before.
fn are_files_of(state: &[StateFile], (attempt, checkpoint): (Attempt, CheckpointId), task: &str, subtask: usize) -> Result<(), String> {
    if state.is_empty() || state.len() > FILES_MAX {
        return Err(format!("acknowledges {} files", state.len()));
    }
    let number = u32::try_from(subtask).map_err(|_| format!("has the number {subtask}"))?;
    let mut last = None;
    for StateFile { image, .. } in state {
        match image {
            Image::Inline(_) if state.len() == 1 => return Ok(()),
            Image::Inline(_) => return Err("acknowledges files and an image that is in none".to_owned()),
            Image::File(file) => {
                let of = checkpoint_of_state_file(&file.name, attempt, task, number);
                if of.is_none() || of > Some(checkpoint) {
                    return Err(format!("names the file {:?}, which is not its own", file.name));
                }
                if of <= last {
                    return Err(format!("names the file {:?} out of turn", file.name));
                }
                last = of;
            }
        }
    }
    if last == Some(checkpoint) { Ok(()) } else { Err(format!("names no file of checkpoint {checkpoint}")) }
}

/// Checks that a prepared transaction is of the sink of `task`, and of the epoch that `checkpoint` ends, if one does.
fn prepared_by(task: &TaskShape, prepared: Option<&PreparedEpoch>, checkpoint: Option<CheckpointId>) -> Result<(), String> {
    let Some(PreparedEpoch { checkpoint: epoch, sink, .. }) = prepared else { return Ok(()) };
    if !task.sinks.contains(sink) {
        return Err(format!("something is prepared by operator {}, which is not a sink of its task", sink.0));
    }
    match checkpoint.filter(|checkpoint| checkpoint != epoch) {
        Some(checkpoint) => Err(format!("what is prepared of epoch {epoch} comes with checkpoint {checkpoint}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
