//! How a run comes to its end: regularly, by a failure, by its plan to kill it, or because nothing can happen any more.
//!
//! The first end counts. From then on nothing is polled, and the trace takes no more notes.

use super::{Failure, REST_NS_MIN, Tasks};
use crate::kill_plan::{KillKind, Killed};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

impl Tasks {
    /// Ends the run with `failure`, unless it has ended: the first counts.
    pub(crate) fn fail(&self, failure: Failure) {
        if !self.is_stopped() {
            *self.failure.borrow_mut() = Some(failure);
            self.stop();
        }
    }

    /// Kills the whole run, at `window` if that was aimed at. The task that runs now runs on until it waits, and does no more harm.
    pub(crate) fn kill(&self, kind: KillKind, window: Option<&'static str>) {
        if self.is_stopped() {
            return;
        }
        let killed = Killed { at_ns: self.now_ns(), at_operation: self.kill_switch.operations(), window, kind };
        self.note("world.kill", window.unwrap_or_default(), [killed.at_operation as i64, 0, 0]);
        self.killed.set(Some(killed));
        self.stop();
    }

    /// How the run was killed, if it was.
    pub(crate) fn killed(&self) -> Option<Killed> {
        self.killed.get()
    }

    /// Ends the run: nothing is polled, and nothing that happens at the door has an effect from now on.
    pub(crate) fn stop(&self) {
        if !self.stopped.replace(true) {
            self.trace.close();
            self.wake_root();
        }
    }

    fn wake_root(&self) {
        if let Some(waker) = self.root.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the run is over: nothing is polled any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Waits until the run is over, because it was ended or because nothing can happen any more.
    pub(crate) async fn until_stopped(&self) {
        let mut end_of_time = std::pin::pin!(self.time.sleep(Duration::from_nanos(self.virtual_time_ns_max)));
        let mut death = self.kill_switch.death_by_time().map(|(ns, kind)| (Box::pin(self.time.sleep(Duration::from_nanos(ns))), kind));
        poll_fn(|cx| {
            if self.stopped.get() {
                return Poll::Ready(());
            }
            *self.root.borrow_mut() = Some(cx.waker().clone());
            if let Some((death, kind)) = &mut death
                && death.as_mut().poll(cx).is_ready()
            {
                self.die_of_time(*kind);
                return Poll::Ready(());
            }
            end_of_time.as_mut().poll(cx)
        })
        .await;
        if self.timers.get() == 0 {
            self.fail(Failure::Deadlock { tasks: self.reports() });
        } else {
            self.fail(Failure::LimitExceeded { limit: "virtual_time_ms_max", tasks: self.reports() });
        }
    }

    /// The planned time has come. Who had waited for nothing but that was in a deadlock.
    fn die_of_time(&self, kind: KillKind) {
        if self.timers.get() == 0 && self.now_ns() > self.expected_ns.get() + REST_NS_MIN {
            self.fail(Failure::Deadlock { tasks: self.reports() });
        }
        self.kill(kind, None);
    }
}
