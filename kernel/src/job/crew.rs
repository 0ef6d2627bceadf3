//! The workers of a job, as its coordinator knows them.

use crate::ids::WorkerId;
use crate::messages::ToWorker;
use core::net::SocketAddr;
use thalweg_io::Mailbox;

/// A worker that is there.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub id: WorkerId,
    /// What people know it by.
    pub name: String,
    /// How many cores it has.
    pub cores: usize,
    /// Where each of its cores listens for the frames of others; empty if there are no others.
    pub doors: Vec<SocketAddr>,
    /// The way to it.
    pub orders: Mailbox<ToWorker>,
}

/// The workers that are there, in the order in which they came.
#[derive(Default)]
pub(crate) struct Crew {
    members: Vec<Member>,
}

impl Crew {
    pub(crate) fn join(&mut self, member: Member) {
        assert!(self.members.iter().all(|known| known.id != member.id), "worker {} has joined twice", member.id);
        self.members.push(member);
    }

    /// The worker that is gone; `None` if it was not there.
    pub(crate) fn lose(&mut self, worker: WorkerId) -> Option<Member> {
        let place = self.members.iter().position(|member| member.id == worker)?;
        Some(self.members.remove(place))
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }
}
