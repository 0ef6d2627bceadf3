//! Tasks that take turns on one thread, which sleeps when no task is ready and no timer is due.

use crate::uring::{monotonic::now, timers::Timers};
use crate::{LocalBoxFuture, Spawner, TaskClass};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// The number of a task. The errand's is 0.
type TaskId = u64;

/// Tasks that have been woken, in the order of their wakes, each at most once. Any thread may wake.
struct Ready {
    tasks: Mutex<VecDeque<TaskId>>,
    thread: Thread,
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut tasks = self.ready.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !tasks.contains(&self.id) {
            tasks.push_back(self.id);
        }
        self.ready.thread.unpark();
    }
}

/// Tasks that were started and have not been polled yet.
#[derive(Default)]
struct Fresh(RefCell<Vec<LocalBoxFuture<()>>>);

impl Spawner for Fresh {
    /// All classes are treated alike here.
    fn spawn(&self, _class: TaskClass, _name: &str, future: LocalBoxFuture<()>) {
        self.0.borrow_mut().push(future);
    }
}

/// See the module's documentation.
pub(super) struct Executor {
    fresh: Rc<Fresh>,
    ready: Arc<Ready>,
    timers: Rc<Timers>,
}

impl Executor {
    /// An executor for this thread.
    pub(super) fn new(timers: Rc<Timers>) -> Self {
        let ready = Arc::new(Ready { tasks: Mutex::default(), thread: std::thread::current() });
        Self { fresh: Rc::default(), ready, timers }
    }

    /// Starts tasks on the executor.
    pub(super) fn spawner(&self) -> Rc<dyn Spawner> {
        Rc::clone(&self.fresh) as Rc<dyn Spawner>
    }

    /// Polls `errand` and the tasks that it starts until `errand` has ended.
    pub(super) fn run<T>(self, mut errand: LocalBoxFuture<T>) -> T {
        const ERRAND: TaskId = 0;
        let waker = |id| Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
        let errand_waker = waker(ERRAND);
        errand_waker.wake_by_ref();
        let mut tasks: BTreeMap<TaskId, (LocalBoxFuture<()>, Waker)> = BTreeMap::new();
        let mut next_id = ERRAND + 1;
        loop {
            self.timers.fire(now());
            let next = self.ready.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(ERRAND) => {
                    if let Poll::Ready(output) = errand.as_mut().poll(&mut Context::from_waker(&errand_waker)) {
                        return output;
                    }
                }
                Some(id) => {
                    let is_over =
                        tasks.get_mut(&id).is_some_and(|(task, waker)| task.as_mut().poll(&mut Context::from_waker(waker)).is_ready());
                    if is_over {
                        tasks.remove(&id);
                    }
                }
                // A wake from now on unparks this thread, even if it comes before the thread parks.
                None => match self.timers.next() {
                    Some(deadline) => std::thread::park_timeout(deadline.since(now())),
                    None => std::thread::park(),
                },
            }
            for future in self.fresh.0.take() {
                let waker = waker(next_id);
                waker.wake_by_ref();
                tasks.insert(next_id, (future, waker));
                next_id += 1;
            }
        }
    }
}
