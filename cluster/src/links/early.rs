//! Callers that arrive before the attempt that they call for.
//!
//! A worker learns of an attempt from its coordinator, and other workers may have learnt of it before. Callers of an attempt that was *announced* here wait
//! for it however long it takes to read its state: there is a place for each link that can lead here, and no more. Any other caller may be a stranger. A
//! few of those wait, for a few seconds: until then the announcement of an attempt of our own will have arrived, and a caller that was hung up on too early
//! calls again. A caller that hangs up is removed at once.

use super::caller::{Caller, Opening};
use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;
use thalweg_io::{Io, LocalBoxFuture};
use thalweg_kernel::checkpoint::{Attempt, JobId};
use thalweg_kernel::worker::Announced;

/// Callers of unannounced attempts that may wait at a time; when one more arrives, the caller that has waited longest has to go.
pub(super) const UNKNOWN_MAX: usize = 64;

/// How long they may wait. An announcement takes as long as a message.
pub(super) const UNKNOWN_TIME: Duration = Duration::from_secs(5);

/// Whether a link of the announced attempt may open a connection with `opening`.
fn may_call(announced: &Announced, opening: &Opening) -> bool {
    let Announced { job, owner, attempt, to, cores } = announced;
    let is_of_it = (&opening.job, &opening.owner, &opening.attempt) == (job, owner, attempt);
    let from = opening.from;
    is_of_it && opening.to == *to && from.seat != to.seat && cores.get(from.seat).is_some_and(|cores| from.core < *cores)
}

/// A caller, and the end of its time limit if it has one.
struct Waiting {
    opening: Opening,
    caller: Caller,
    limit: Option<LocalBoxFuture<()>>,
}

/// The waiting callers, one per link: the latest.
#[derive(Default)]
pub(super) struct Early {
    announced: Option<Announced>,
    waiting: VecDeque<Waiting>,
}

impl Early {
    /// Lets callers of this attempt wait without limit; those of the attempt that was announced before have nothing to wait for.
    pub(super) fn announce(&mut self, announced: Announced) {
        self.waiting.retain_mut(|waiting| {
            let may_stay = may_call(&announced, &waiting.opening);
            let had_no_limit = waiting.limit.is_none();
            if may_stay {
                waiting.limit = None;
            }
            may_stay || !had_no_limit
        });
        self.announced = Some(announced);
    }

    /// An attempt begins: only its callers, and those of an attempt that may still follow, keep waiting.
    pub(super) fn begin(&mut self, job: JobId, owner: u64, attempt: Attempt) {
        self.waiting.retain(|Waiting { opening, .. }| (opening.job, opening.owner) == (job, owner) && opening.attempt >= attempt);
    }

    /// Lets a caller wait.
    pub(super) fn keep(&mut self, io: &Io, opening: Opening, caller: Caller) {
        // A second call for the same link means that the first connection was given up.
        self.waiting.retain(|waiting| waiting.opening != opening);
        let is_known = self.announced.as_ref().is_some_and(|announced| may_call(announced, &opening));
        let limit = (!is_known).then(|| io.clock().sleep_until(io.clock().now().after(UNKNOWN_TIME)));
        let is_unknown = |waiting: &Waiting| waiting.limit.is_some();
        if !is_known && self.waiting.iter().filter(|waiting| is_unknown(waiting)).count() == UNKNOWN_MAX {
            let longest = self.waiting.iter().position(is_unknown);
            longest.and_then(|longest| self.waiting.remove(longest));
        }
        self.waiting.push_back(Waiting { opening, caller, limit });
    }

    /// The caller of a link, if it has already arrived.
    pub(super) fn take(&mut self, opening: &Opening) -> Option<Caller> {
        let place = self.waiting.iter().position(|waiting| waiting.opening == *opening)?;
        self.waiting.remove(place).map(|waiting| waiting.caller)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Hangs up on callers whose time is over, and forgets those that have hung up; registers for both.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        self.waiting.retain_mut(|Waiting { caller, limit, .. }| {
            let is_over = limit.as_mut().is_some_and(|limit| limit.as_mut().poll(cx).is_ready());
            !is_over && caller.reader.poll_gone(cx).is_pending()
        });
    }
}
