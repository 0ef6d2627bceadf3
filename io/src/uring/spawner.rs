//! Tasks as glommio's, one queue per class, held in a list of our own.
//!
//! glommio drops a task that is parked only when its last waker goes, which may be never. The list makes true what [`Spawner`] promises: when the
//! core ends, what is under way is dropped, on the core. It is also where a panic stops: the task that panicked is dropped, its channels close, the
//! panic is logged, and the core goes on.

use crate::{LocalBoxFuture, Spawner, TaskClass};
use glommio::{Latency, Shares, TaskQueueHandle};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How soon other queues get a turn while one of the latency class waits.
const LATENCY_PREEMPTS_WITHIN: Duration = Duration::from_millis(1);

/// Shares of the core when every class has work: 10 to 10 to 1. Latency tasks are short, so in practice the rest is the dataflow's.
const LATENCY_SHARES: usize = 1000;
const THROUGHPUT_SHARES: usize = 1000;
const BACKGROUND_SHARES: usize = 100;

struct Queues {
    latency: TaskQueueHandle,
    throughput: TaskQueueHandle,
    background: TaskQueueHandle,
}

struct TaskState {
    name: String,
    /// `None` while it is being polled, and for good once it is done.
    future: Cell<Option<LocalBoxFuture<()>>>,
}

struct Shared {
    queues: Queues,
    tasks: RefCell<BTreeMap<u64, Rc<TaskState>>>,
    next_id: Cell<u64>,
    closed: Cell<bool>,
}

/// Starts tasks on the executor of this thread.
#[derive(Clone)]
pub(super) struct UringSpawner {
    shared: Rc<Shared>,
}

impl UringSpawner {
    /// Sets the queues up. To be called inside the running executor.
    pub(super) fn new() -> Self {
        let executor = glommio::executor();
        let queues = Queues {
            latency: executor.create_task_queue(Shares::Static(LATENCY_SHARES), Latency::Matters(LATENCY_PREEMPTS_WITHIN), "latency"),
            throughput: executor.create_task_queue(Shares::Static(THROUGHPUT_SHARES), Latency::NotImportant, "throughput"),
            background: executor.create_task_queue(Shares::Static(BACKGROUND_SHARES), Latency::NotImportant, "background"),
        };
        Self { shared: Rc::new(Shared { queues, tasks: RefCell::default(), next_id: Cell::new(0), closed: Cell::new(false) }) }
    }

    /// Drops every task that is under way; later ones are dropped as they come.
    pub(super) fn close(&self) {
        self.shared.closed.set(true);
        loop {
            // One at a time, and not while the list is borrowed: a destructor may spawn.
            let Some((_, task)) = self.shared.tasks.borrow_mut().pop_first() else { return };
            drop_quietly(&task.name, task.future.take());
        }
    }
}

impl Spawner for UringSpawner {
    fn spawn(&self, class: TaskClass, name: &str, future: LocalBoxFuture<()>) {
        if self.shared.closed.get() {
            drop_quietly(name, Some(future));
            return;
        }
        let id = self.shared.next_id.get();
        self.shared.next_id.set(id + 1);
        let task = Rc::new(TaskState { name: name.to_owned(), future: Cell::new(Some(future)) });
        self.shared.tasks.borrow_mut().insert(id, Rc::clone(&task));
        let shared = Rc::clone(&self.shared);
        let queue = match class {
            TaskClass::Latency => self.shared.queues.latency,
            TaskClass::Throughput => self.shared.queues.throughput,
            TaskClass::Background => self.shared.queues.background,
        };
        let run = async move {
            poll_fn(|cx| poll_task(&task, cx)).await;
            shared.tasks.borrow_mut().remove(&id);
        };
        match glommio::spawn_local_into(run, queue) {
            Ok(handle) => drop(handle.detach()),
            // The queues live as long as the executor, so this is not reached; the task would be dropped like one that comes after the end.
            Err(error) => tracing::error!(task = name, %error, "a task could not be started"),
        }
    }
}

fn poll_task(task: &TaskState, cx: &mut Context<'_>) -> Poll<()> {
    // Closed, then.
    let Some(mut future) = task.future.take() else { return Poll::Ready(()) };
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => {
            task.future.set(Some(future));
            return Poll::Pending;
        }
        Ok(Poll::Ready(())) => {}
        Err(_) => tracing::error!(task = task.name, "a task panicked and was dropped"),
    }
    drop_quietly(&task.name, Some(future));
    Poll::Ready(())
}

/// glommio aborts the process when a destructor panics.
fn drop_quietly(name: &str, future: Option<LocalBoxFuture<()>>) {
    if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
        tracing::error!(task = name, "a task panicked while it was dropped");
    }
}
