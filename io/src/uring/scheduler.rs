//! A core's tasks: which of them runs next, and how each is woken.
//!
//! Every task has a [`TaskWaker`], shared with all that may wake it, on any thread. Woken on its own core it goes to the end of its class's queue. Woken
//! from elsewhere it goes into the core's [`Doorbell`], and if the core sleeps the bell is rung: a write to an eventfd that the core's ring watches. A flag
//! in the waker keeps a task from being queued twice.
//!
//! Futures never leave the core. A waker that outlives its task, or its core, wakes nothing and costs only its memory.
//!
//! The scheduler also stops panics: the task that panicked is dropped, its channels close, the panic is logged, and the core goes on.

use crate::doorbell::Doorbell;
use crate::{LocalBoxFuture, Spawner, TaskClass};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// Polls of throughput tasks between two looks at outside events (timers, completions, other cores). A poll takes 0.2 ms at most (docs: the laws), so
/// outside events wait no longer than 2 ms.
const THROUGHPUT_POLLS_PER_TURN: usize = 8;

/// Polls of latency tasks in a turn, before the other classes get theirs: enough for all tasks that can be waiting, but a bound for a task that spins.
const LATENCY_POLLS_PER_TURN: usize = 64;

/// Background tasks get a turn's last poll, even if the other classes always have work.
const BACKGROUND_POLLS_PER_TURN: usize = 1;

thread_local! {
    /// The scheduler of this thread while a core runs on it: tells a waker whether it is on its own core.
    static CURRENT: RefCell<Option<Rc<Scheduler>>> = const { RefCell::new(None) };
}

/// Where other threads leave the tasks they wake, and the bell that then wakes the core.
pub(super) struct Outside {
    /// A task in here keeps this alive; it is emptied and closed when the core ends.
    doorbell: Doorbell<Arc<TaskWaker>>,
    bell: OwnedFd,
}

impl Outside {
    fn new() -> io::Result<Arc<Self>> {
        // SAFETY: the call takes no pointers.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else knows.
        let bell = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Arc::new(Self { doorbell: Doorbell::new(), bell }))
    }

    fn deliver(&self, task: Arc<TaskWaker>) {
        if self.doorbell.deliver(task) {
            let one = 1u64;
            // SAFETY: the pointer and the length are those of a live number. If it fails, the count is at its limit, and the bell rings already.
            unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        }
    }
}

/// The waker of a task. Shared with other threads, unlike the task.
pub(super) struct TaskWaker {
    outside: Arc<Outside>,
    class: TaskClass,
    slot: usize,
    /// Identifies the task: slots are reused, numbers are not.
    number: u64,
    /// Whether the task is in a queue or an inbox, and will be polled.
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        // AcqRel, here and where it is lowered: a thread that raises the flag has published what the task will find, even if the flag was already up.
        // Wakers with marks of their own (the links of the exchange) rely on it.
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut task = Some(self);
        // No scheduler on this thread, or another core's: a foreign thread. So is the thread itself while it ends.
        let _ = CURRENT.try_with(|current| {
            if let (Ok(current), Some(waker)) = (current.try_borrow(), &task)
                && let Some(scheduler) = &*current
                && Arc::ptr_eq(&scheduler.outside, &waker.outside)
            {
                scheduler.enqueue(task.take());
            }
        });
        if let Some(task) = task {
            let outside = Arc::clone(&task.outside);
            outside.deliver(task);
        }
    }
}

struct Task {
    number: u64,
    name: String,
    /// `None` while it is being polled.
    future: Option<LocalBoxFuture<()>>,
}

#[derive(Default)]
struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
    next_number: u64,
}

#[derive(Default)]
struct Queues {
    latency: VecDeque<Arc<TaskWaker>>,
    throughput: VecDeque<Arc<TaskWaker>>,
    background: VecDeque<Arc<TaskWaker>>,
}

impl Queues {
    fn of(&mut self, class: TaskClass) -> &mut VecDeque<Arc<TaskWaker>> {
        match class {
            TaskClass::Latency => &mut self.latency,
            TaskClass::Throughput => &mut self.throughput,
            TaskClass::Background => &mut self.background,
        }
    }
}

/// The tasks of one core.
pub(super) struct Scheduler {
    outside: Arc<Outside>,
    queues: RefCell<Queues>,
    tasks: RefCell<Tasks>,
    closed: Cell<bool>,
}

/// Removes the scheduler from its thread when dropped.
pub(super) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.take());
    }
}

impl Scheduler {
    pub(super) fn new() -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self { outside: Outside::new()?, queues: RefCell::default(), tasks: RefCell::default(), closed: Cell::new(false) }))
    }

    /// Makes this thread the home of its tasks until the guard goes.
    pub(super) fn enter(self: &Rc<Self>) -> Entered {
        CURRENT.with(|current| current.replace(Some(Rc::clone(self))));
        Entered
    }

    /// The descriptor that becomes readable when the bell rings.
    pub(super) fn bell(&self) -> RawFd {
        self.outside.bell.as_raw_fd()
    }

    fn enqueue(&self, task: Option<Arc<TaskWaker>>) {
        if let Some(task) = task {
            self.queues.borrow_mut().of(task.class).push_back(task);
        }
    }

    /// Takes in the tasks that other threads have woken.
    pub(super) fn open_mail(&self) {
        for task in self.outside.doorbell.take() {
            self.enqueue(Some(task));
        }
    }

    /// Whether a task waits for its turn.
    pub(super) fn has_work(&self) -> bool {
        let queues = self.queues.borrow();
        !(queues.latency.is_empty() && queues.throughput.is_empty() && queues.background.is_empty())
    }

    /// Announces that the core goes to sleep. `false` if it must not: a task has been woken.
    pub(super) fn doze(&self) -> bool {
        self.outside.doorbell.doze()
    }

    /// Announces that the core is awake.
    pub(super) fn awake(&self) {
        self.outside.doorbell.awake();
    }

    /// Gives each class its share of one turn.
    pub(super) fn run_turn(&self) {
        let mut latency_left = LATENCY_POLLS_PER_TURN;
        for _ in 0..THROUGHPUT_POLLS_PER_TURN {
            while latency_left > 0 && self.run_one(TaskClass::Latency) {
                latency_left -= 1;
            }
            if !self.run_one(TaskClass::Throughput) {
                break;
            }
        }
        for _ in 0..BACKGROUND_POLLS_PER_TURN {
            self.run_one(TaskClass::Background);
        }
    }

    fn run_one(&self, class: TaskClass) -> bool {
        let Some(waker) = self.queues.borrow_mut().of(class).pop_front() else { return false };
        // Before the poll: a wake during it queues the task again.
        waker.queued.swap(false, Ordering::AcqRel);
        let future = {
            let mut tasks = self.tasks.borrow_mut();
            match tasks.slots.get_mut(waker.slot) {
                Some(Some(task)) if task.number == waker.number => task.future.take(),
                // The task has ended since it was woken.
                _ => None,
            }
        };
        let Some(mut future) = future else { return true };
        let (slot, number) = (waker.slot, waker.number);
        let waker = Waker::from(waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        if let Ok(std::task::Poll::Pending) = polled {
            let mut tasks = self.tasks.borrow_mut();
            if let Some(Some(task)) = tasks.slots.get_mut(slot)
                && task.number == number
            {
                task.future = Some(future);
            }
            return true;
        }
        let task = {
            let mut tasks = self.tasks.borrow_mut();
            let task = tasks.slots.get_mut(slot).and_then(Option::take);
            tasks.free.push(slot);
            task
        };
        let name = task.as_ref().map_or("", |task| &task.name);
        if let Err(payload) = polled {
            let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            tracing::error!(task = name, panic = text.unwrap_or("(not a text)"), "a task panicked and was dropped");
            // The payload may be anything, even a value whose destructor panics.
            std::mem::forget(payload);
        }
        drop_quietly(name, future);
        true
    }

    /// Drops every task that is under way; tasks spawned later are dropped at once.
    pub(super) fn close(&self) {
        self.closed.set(true);
        // One at a time, and not while the list is borrowed: a destructor may wake and spawn.
        let count = self.tasks.borrow().slots.len();
        for slot in 0..count {
            let task = self.tasks.borrow_mut().slots.get_mut(slot).and_then(Option::take);
            if let Some(Task { name, future: Some(future), .. }) = task {
                drop_quietly(&name, future);
            }
        }
        drop(self.queues.take());
        let undelivered = self.outside.doorbell.close();
        drop(undelivered);
    }
}

impl Spawner for Scheduler {
    fn spawn(&self, class: TaskClass, name: &str, future: LocalBoxFuture<()>) {
        if self.closed.get() {
            drop_quietly(name, future);
            return;
        }
        let waker = {
            let mut tasks = self.tasks.borrow_mut();
            let slot = tasks.free.pop().unwrap_or_else(|| {
                tasks.slots.push(None);
                tasks.slots.len() - 1
            });
            let number = tasks.next_number;
            tasks.next_number += 1;
            let outside = Arc::clone(&self.outside);
            let waker = Arc::new(TaskWaker { outside, class, slot, number, queued: AtomicBool::new(true) });
            if let Some(place) = tasks.slots.get_mut(slot) {
                *place = Some(Task { number, name: name.to_owned(), future: Some(future) });
            }
            waker
        };
        self.enqueue(Some(waker));
    }
}

fn drop_quietly(name: &str, future: LocalBoxFuture<()>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
        std::mem::forget(payload);
        tracing::error!(task = name, "a task panicked while it was dropped");
    }
}
