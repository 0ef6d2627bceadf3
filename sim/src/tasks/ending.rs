//! How a run comes to its end: regularly, by a failure, by its plan to kill it, or because nothing can happen any more.
//!
//! The first end counts. From then on nothing is polled, and the trace takes no more notes.

use super::{Failure, REST_NS_MIN, Tasks};
use crate::kill::Killed;
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

    /// Kills the run as its plan says, at `window` if the plan aims at one. The task that runs now runs on until it waits, and does no more harm.
    pub(crate) fn kill(&self, window: Option<&'static str>) {
        let Some(killed) = self.kill_switch.death(self.now_ns(), window).filter(|_| !self.is_stopped()) else { return };
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

    /// Passes as long as the run is not over, and never afterwards: what a destructor asks for then remains unanswered.
    pub(crate) async fn unless_stopped(&self) {
        if self.is_stopped() {
            std::future::pending::<()>().await;
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
        let mut death = self.kill_switch.time_ns().map(|ns| Box::pin(self.time.sleep(Duration::from_nanos(ns))));
        poll_fn(|cx| {
            if self.stopped.get() {
                return Poll::Ready(());
            }
            *self.root.borrow_mut() = Some(cx.waker().clone());
            if death.as_mut().is_some_and(|death| death.as_mut().poll(cx).is_ready()) {
                self.die_of_time();
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
    fn die_of_time(&self) {
        if self.timers.get() == 0 && self.now_ns() > self.expected_ns.get() + REST_NS_MIN {
            self.fail(Failure::Deadlock { tasks: self.reports() });
        }
        self.kill(None);
    }
}
