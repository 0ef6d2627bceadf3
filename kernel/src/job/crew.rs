//! The workers of a job, as its coordinator knows them.

use crate::graph_ids::WorkerId;
use crate::messages::Member;

/// The workers that are there, in the order in which they joined.
#[derive(Default)]
pub(crate) struct Crew {
    members: Vec<Member>,
}

impl Crew {
    pub(crate) fn join(&mut self, member: Member) {
        assert!(self.members.iter().all(|known| known.id != member.id), "worker {} has joined twice", member.id);
        self.members.push(member);
    }

    /// Removes a worker that is gone; `None` if it was not there.
    pub(crate) fn lose(&mut self, worker: WorkerId) -> Option<Member> {
        let place = self.members.iter().position(|member| member.id == worker)?;
        Some(self.members.remove(place))
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }
}
