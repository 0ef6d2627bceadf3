//! Tasks that stay on their core.

use crate::LocalBoxFuture;
use std::future::poll_fn;
use std::task::Poll;

/// Scheduling classes, by which a core divides its time among its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskClass {
    /// Short work that another party waits for: control messages, timers, heartbeats.
    Latency,
    /// The dataflow itself.
    Throughput,
    /// Work that must not delay the others: clean-up, compaction, statistics.
    Background,
}

/// Starts tasks on the current core.
pub trait Spawner {
    /// Runs `future` on this core until it completes or the core ends. There is no handle: a task reports through a channel of its own. `name` appears in
    /// traces.
    fn spawn(&self, class: TaskClass, name: &str, future: LocalBoxFuture<()>);
}

/// Lets every other runnable task of the core run before the caller continues.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
