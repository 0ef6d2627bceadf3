//! The subtasks of an attempt, the workers that run them, and the way to each.
//!
//! A lost worker takes its subtasks along for the rest of the attempt; a worker that joins meanwhile takes part in the next (docs/src/semantics.md#r-2).

use crate::attempt::deployment::Placement;
use crate::attempt::placement::SubtaskInfo;
use crate::checkpoint::Attempt;
use crate::graph_ids::{SubtaskId, WorkerId};
use crate::job::crew::Crew;
use crate::job::history::FailurePlace;
use crate::messages::{Member, ToSubtask, ToWorker};

/// The workers of an attempt and their subtasks.
pub(crate) struct Roster<'a> {
    attempt: Attempt,
    infos: Vec<SubtaskInfo>,
    layout: Placement,
    crew: &'a mut Crew,
}

impl<'a> Roster<'a> {
    pub(crate) fn new(attempt: Attempt, infos: Vec<SubtaskInfo>, layout: Placement, crew: &'a mut Crew) -> Self {
        Self { attempt, infos, layout, crew }
    }

    /// All subtasks, by their number.
    pub(crate) fn infos(&self) -> &[SubtaskInfo] {
        &self.infos
    }

    /// The task, subtask and worker that a failure of the subtask names.
    pub(crate) fn place_of(&self, subtask: SubtaskId) -> FailurePlace {
        let Some(info) = self.infos.get(subtask) else { return FailurePlace::default() };
        let worker = self.layout.seats.get(info.seat).map(|seat| seat.name.clone());
        FailurePlace { task_uid: Some(info.task_uid.clone()), subtask: Some(info.subtask), worker }
    }

    /// A worker has come. It takes part in the next attempt.
    pub(crate) fn join(&mut self, member: Member) {
        self.crew.join(member);
    }

    /// A worker is gone, and with it its subtasks; `None` if it has no part in the attempt.
    pub(crate) fn lose(&mut self, worker: WorkerId) -> Option<(Member, Vec<SubtaskId>)> {
        let member = self.crew.lose(worker)?;
        let seat = self.layout.seats.iter().position(|seat| seat.worker == worker)?;
        Some((member, (0..self.infos.len()).filter(|subtask| self.infos[*subtask].seat == seat).collect()))
    }

    /// Whether the attempt runs on fewer than `wanted` workers, and could run on more: workers have joined since it began.
    pub(crate) fn could_grow(&self, wanted: usize) -> bool {
        let (seats, present) = (self.layout.seats.len(), self.crew.members().len());
        seats < wanted && present > seats
    }

    /// Sends a message to a subtask. A subtask that has ended, or whose worker is gone, has no use for it.
    pub(crate) fn tell(&self, subtask: SubtaskId, message: ToSubtask) {
        let seat = &self.layout.seats[self.infos[subtask].seat];
        if let Some(member) = self.crew.members().iter().find(|member| member.id == seat.worker) {
            drop(member.orders.send(ToWorker::ToSubtask { attempt: self.attempt, subtask, message }));
        }
    }

    pub(crate) fn tell_all(&self, message: impl Fn() -> ToSubtask) {
        (0..self.infos.len()).for_each(|subtask| self.tell(subtask, message()));
    }

    /// Sends a message to the subtasks that begin with a source.
    pub(crate) fn tell_sources(&self, message: impl Fn() -> ToSubtask) {
        let sources = (0..self.infos.len()).filter(|subtask| self.infos[*subtask].source.is_some());
        sources.for_each(|subtask| self.tell(subtask, message()));
    }
}
