//! The tasks of a run: each future wrapped so that its polls are counted, hashed, held back by the schedule, and its panics caught.
//!
//! The registry owns the futures; what madsim's executor sees is a shell that asks the registry to poll task `n`. So a core's tasks can be
//! dropped at any moment and in a fixed order, a failure stops every task between two polls, and nothing is left behind in the executor when
//! the run is over.
//!
//! Rest and spinning: the world *rests* when nothing is ready and time jumps to the next timer. Each poll costs some virtual time as well, so a
//! busy world still reaches its deadlines, but such creeping is not rest: too many polls without rest is spinning.

mod ending;

use crate::config::WorldConfig;
use crate::kill_plan::{KillPlan, KillSwitch, Killed};
use crate::outcome::{Ending, RunStats, TaskReport};
use crate::panics::{self, CaughtPanic};
use crate::rng::Draw;
use crate::schedule::Schedule;
use crate::trace::Trace;
use madsim::time::TimeHandle;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use thalweg_io::{LocalBoxFuture, SplitMix};

/// A core of a run: those of all groups and processes are numbered through, from 0.
pub(crate) type CoreKey = usize;

/// The world's own tasks belong to no core.
pub(crate) const NO_CORE: CoreKey = usize::MAX;

/// The main future of the run stands beside the cores and never ends before the run.
pub(crate) const HOST: CoreKey = usize::MAX - 1;

/// A jump of virtual time between two polls that only a timer explains: the executor itself adds at most 100 ns per poll.
const REST_NS_MIN: u64 = 1_000;

/// Why a run fails; a `Done` it cannot be.
pub(crate) type Failure = Ending<Infallible>;

/// What a core is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CoreState {
    Running,
    /// Its process is stopped: none of its tasks is polled until it goes on.
    Paused,
    /// Its main future has ended.
    Ended,
    /// Its process was killed: nothing that its tasks still do, their destructors included, is anybody's fault.
    Killed,
}

struct Slot {
    name: Box<str>,
    core: CoreKey,
    /// `None` while it is being polled, and when it has ended or was dropped.
    future: Option<LocalBoxFuture<()>>,
    ended: bool,
    /// It was ready while its process was paused.
    missed: bool,
    waker: Option<Waker>,
    polls: u64,
    last_polled_ns: Option<u64>,
    last_operation: &'static str,
    last_object: Box<str>,
    /// Polls since the rest with the number `rest`.
    polls_since_rest: u64,
    rest: u64,
}

/// Budgets and costs, from the configuration.
struct Limits {
    polls_without_rest_max: u64,
    polls_max: u64,
    poll_cost_ns_max: u64,
}

/// The registry.
pub(crate) struct Tasks {
    pub(crate) trace: Rc<Trace>,
    time: TimeHandle,
    virtual_time_ns_max: u64,
    limits: Limits,
    slots: RefCell<Vec<Slot>>,
    cores: RefCell<Vec<CoreState>>,
    /// Cores that were killed and whose tasks have not been dropped yet.
    condemned: RefCell<Vec<CoreKey>>,
    schedule: RefCell<Schedule>,
    cost_stream: RefCell<SplitMix>,
    failure: RefCell<Option<Failure>>,
    pub(crate) kill_switch: KillSwitch,
    killed: Cell<Option<Killed>>,
    stopped: Cell<bool>,
    root: RefCell<Option<Waker>>,
    current: Cell<usize>,
    shells: Cell<usize>,
    timers: Cell<usize>,
    stats: Cell<RunStats>,
    expected_ns: Cell<u64>,
    rest: Cell<u64>,
    polls_since_rest: Cell<u64>,
}

impl Tasks {
    /// A registry for a run with `seed` that dies by `kill`. Must be called inside madsim's runtime.
    pub(crate) fn new(seed: u64, config: &WorldConfig, trace: Rc<Trace>, kill: Option<KillPlan>) -> Rc<Self> {
        Rc::new(Self {
            trace,
            time: TimeHandle::current(),
            virtual_time_ns_max: config.virtual_time_ms_max.saturating_mul(1_000_000),
            limits: Limits {
                polls_without_rest_max: config.polls_without_rest_max,
                polls_max: config.polls_max,
                poll_cost_ns_max: config.poll_cost_ns_max,
            },
            slots: RefCell::default(),
            cores: RefCell::default(),
            condemned: RefCell::default(),
            schedule: RefCell::new(Schedule::new(config.schedule, seed)),
            cost_stream: RefCell::new(SplitMix::stream(seed, "poll-cost")),
            failure: RefCell::default(),
            kill_switch: KillSwitch::new(kill),
            killed: Cell::new(None),
            stopped: Cell::new(false),
            root: RefCell::default(),
            current: Cell::new(usize::MAX),
            shells: Cell::new(0),
            timers: Cell::new(0),
            stats: Cell::default(),
            expected_ns: Cell::new(0),
            rest: Cell::new(0),
            polls_since_rest: Cell::new(0),
        })
    }

    /// Virtual time since the start of the run, in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.time.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// madsim's clock.
    pub(crate) fn time(&self) -> &TimeHandle {
        &self.time
    }

    /// Virtual time that a run may take.
    pub(crate) fn virtual_time_ns_max(&self) -> u64 {
        self.virtual_time_ns_max
    }

    /// Registers a new core and returns its key.
    pub(crate) fn new_core(&self) -> CoreKey {
        let mut cores = self.cores.borrow_mut();
        cores.push(CoreState::Running);
        cores.len() - 1
    }

    /// Starts `future` as a task of `core`. On a core that has ended, or after the run has, the future is dropped.
    pub(crate) fn spawn(self: &Rc<Self>, core: CoreKey, name: &str, future: LocalBoxFuture<()>) {
        if self.stopped.get() || matches!(self.core_state(core), CoreState::Ended | CoreState::Killed) {
            return;
        }
        let id = {
            let mut slots = self.slots.borrow_mut();
            slots.push(Slot {
                name: name.into(),
                core,
                future: Some(future),
                ended: false,
                missed: false,
                waker: None,
                polls: 0,
                last_polled_ns: None,
                last_operation: "",
                last_object: Box::default(),
                polls_since_rest: 0,
                rest: 0,
            });
            slots.len() - 1
        };
        self.schedule.borrow_mut().task_created();
        self.count(|stats| stats.tasks += 1);
        self.trace.note(self.now_ns(), "task.spawn", name, [id as i64, 0, 0]);
        self.shells.set(self.shells.get() + 1);
        let tasks = Rc::clone(self);
        madsim::task::spawn_local(async move {
            poll_fn(|cx| tasks.poll(id, cx)).await;
            tasks.shells.set(tasks.shells.get() - 1);
        });
    }

    /// One turn of task `id`: ready when it is over.
    fn poll(self: &Rc<Self>, id: usize, cx: &mut Context<'_>) -> Poll<()> {
        {
            let slot = &mut self.slots.borrow_mut()[id];
            if slot.ended {
                return Poll::Ready(());
            }
            if slot.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                slot.waker = Some(cx.waker().clone());
            }
        }
        if self.stopped.get() || !self.may_run(id) {
            return Poll::Pending;
        }
        let now_ns = self.spend_time();
        if self.schedule.borrow_mut().postpones(id) {
            self.count(|stats| stats.postponed += 1);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut future) = self.take_for_poll(id, now_ns) else { return Poll::Pending };
        self.current.set(id);
        let result = panics::catch(|| future.as_mut().poll(cx));
        self.current.set(usize::MAX);
        let over = {
            let slot = &mut self.slots.borrow_mut()[id];
            // Its core may have ended while it ran.
            slot.ended |= !matches!(result, Ok(Poll::Pending));
            if slot.ended { Some(future) } else { slot.future.replace(future) }
        };
        self.drop_future(id, over);
        if let Err(caught) = result {
            self.fail_panicked(id, caught);
        }
        self.bury();
        if self.slots.borrow()[id].ended { Poll::Ready(()) } else { Poll::Pending }
    }

    fn core_state(&self, core: CoreKey) -> CoreState {
        self.cores.borrow().get(core).copied().unwrap_or(CoreState::Running)
    }

    /// Whether the process of task `id` lives and is not paused; remembers a turn that was missed.
    fn may_run(&self, id: usize) -> bool {
        let slot = &mut self.slots.borrow_mut()[id];
        let state = self.core_state(slot.core);
        slot.missed |= state == CoreState::Paused;
        state == CoreState::Running
    }

    /// Lets a turn cost some virtual time; finds out whether the world rested before it. Returns the time now.
    fn spend_time(&self) -> u64 {
        let before_ns = self.now_ns();
        if before_ns > self.expected_ns.get() + REST_NS_MIN {
            self.rest.set(self.rest.get() + 1);
            self.polls_since_rest.set(0);
        }
        if self.limits.poll_cost_ns_max > 0 {
            let cost_ns = self.cost_stream.borrow_mut().between(0, self.limits.poll_cost_ns_max);
            self.time.advance(Duration::from_nanos(cost_ns));
        }
        let now_ns = self.now_ns();
        self.expected_ns.set(now_ns);
        now_ns
    }

    /// Counts a poll of task `id` against the budgets and takes its future out; `None` if a budget is exhausted.
    fn take_for_poll(&self, id: usize, now_ns: u64) -> Option<LocalBoxFuture<()>> {
        self.count(|stats| {
            stats.polls += 1;
            stats.elapsed_ns = now_ns;
        });
        self.polls_since_rest.set(self.polls_since_rest.get() + 1);
        if self.polls_since_rest.get() > self.limits.polls_without_rest_max {
            self.fail_spinning();
            return None;
        }
        if self.stats.get().polls > self.limits.polls_max {
            self.fail(Failure::LimitExceeded { limit: "polls_max", tasks: self.reports() });
            return None;
        }
        let slot = &mut self.slots.borrow_mut()[id];
        if slot.rest != self.rest.get() {
            slot.rest = self.rest.get();
            slot.polls_since_rest = 0;
        }
        slot.polls_since_rest += 1;
        slot.polls += 1;
        slot.last_polled_ns = Some(now_ns);
        self.trace.mix(id as u64);
        self.trace.mix(slot.polls);
        self.trace.mix(now_ns);
        slot.future.take()
    }

    fn fail_spinning(&self) {
        let culprit = {
            let slots = self.slots.borrow();
            let since_rest = |slot: &Slot| if slot.rest == self.rest.get() { slot.polls_since_rest } else { 0 };
            slots.iter().enumerate().max_by_key(|(_, slot)| since_rest(slot)).map(|(id, slot)| report(id, slot))
        };
        if let Some(task) = culprit {
            self.fail(Failure::Spinning { task, polls: self.polls_since_rest.get() });
        }
    }

    /// The current task asks a device for `operation` on `object`: shown when the run ends badly.
    pub(crate) fn note_operation(&self, operation: &'static str, object: &str) {
        if self.is_stopped() {
            return;
        }
        if let Some(slot) = self.slots.borrow_mut().get_mut(self.current.get()) {
            slot.last_operation = operation;
            if *slot.last_object != *object {
                slot.last_object = object.into();
            }
        }
    }

    /// Notes an event of a simulated device.
    pub(crate) fn note(&self, name: &'static str, place: &str, values: [i64; 3]) {
        self.trace.note(self.now_ns(), name, place, values);
    }

    /// Changes the statistics.
    pub(crate) fn count(&self, change: impl FnOnce(&mut RunStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// A timer was set (`1`), or has fired or been dropped (`-1`).
    pub(crate) fn count_timer(&self, change: isize) {
        self.timers.set(self.timers.get().checked_add_signed(change).expect("invariant: a timer is counted once and discounted once"));
    }

    /// Ends `core`: its tasks are dropped in the order of their creation.
    pub(crate) fn end_core(&self, core: CoreKey) {
        self.cores.borrow_mut()[core] = CoreState::Ended;
        self.drop_tasks(|slot| slot.core == core);
    }

    /// Kills `cores`: none of their tasks is polled again. They are dropped when the task that runs now waits, because it may be one of them, and has
    /// borrowed what their destructors want.
    pub(crate) fn kill_cores(&self, cores: &[CoreKey]) {
        for &core in cores {
            self.cores.borrow_mut()[core] = CoreState::Killed;
        }
        self.condemned.borrow_mut().extend(cores);
        if self.current.get() == usize::MAX {
            self.bury();
        }
    }

    /// Drops the tasks of cores that were killed.
    fn bury(&self) {
        let condemned = self.condemned.take();
        if !condemned.is_empty() {
            self.drop_tasks(|slot| condemned.contains(&slot.core));
        }
    }

    /// Lets none of the tasks of `cores` run until they are resumed.
    pub(crate) fn pause_cores(&self, cores: &[CoreKey]) {
        self.change_cores(cores, CoreState::Running, CoreState::Paused);
    }

    /// Lets the tasks of `cores` run again; those that were ready meanwhile are woken.
    pub(crate) fn resume_cores(&self, cores: &[CoreKey]) {
        self.change_cores(cores, CoreState::Paused, CoreState::Running);
        let of_cores = |slot: &&mut Slot| slot.missed && cores.contains(&slot.core);
        for slot in self.slots.borrow_mut().iter_mut().filter(of_cores) {
            slot.missed = false;
            slot.waker.iter().for_each(Waker::wake_by_ref);
        }
    }

    fn change_cores(&self, cores: &[CoreKey], from: CoreState, to: CoreState) {
        let mut states = self.cores.borrow_mut();
        for &core in cores.iter().filter(|&&core| states[core] == from).collect::<Vec<_>>() {
            states[core] = to;
        }
    }

    /// Drops everything and lets the executor forget its shells.
    pub(crate) async fn tear_down(&self) {
        self.stop();
        self.drop_tasks(|_| true);
        while self.shells.get() > 0 {
            thalweg_io::yield_now().await;
        }
    }

    fn drop_tasks(&self, which: impl Fn(&Slot) -> bool) {
        let mut dropped = vec![];
        for (id, slot) in self.slots.borrow_mut().iter_mut().enumerate().filter(|(_, slot)| !slot.ended && which(slot)) {
            slot.ended = true;
            dropped.push((id, slot.future.take(), slot.waker.take()));
        }
        // Destructors may wake, spawn or note: nothing is borrowed here.
        for (id, future, waker) in dropped {
            self.drop_future(id, future);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn drop_future(&self, id: usize, future: Option<LocalBoxFuture<()>>) {
        if let Err(caught) = panics::catch(|| drop(future)) {
            self.fail_panicked(id, caught);
        }
    }

    fn fail_panicked(&self, id: usize, caught: CaughtPanic) {
        let (task, core) = {
            let slot = &self.slots.borrow()[id];
            (slot.name.to_string(), slot.core)
        };
        if self.core_state(core) == CoreState::Killed {
            return;
        }
        self.fail(Failure::Panicked { task, message: caught.message, location: caught.location });
    }

    fn reports(&self) -> Vec<TaskReport> {
        let slots = self.slots.borrow();
        slots.iter().enumerate().filter(|(_, slot)| !slot.ended && slot.core != NO_CORE).map(|(id, slot)| report(id, slot)).collect()
    }

    /// What the run ended with, and what it cost.
    pub(crate) fn take_result(&self) -> (Option<Failure>, RunStats) {
        (self.failure.take(), self.stats.get())
    }
}

fn report(id: usize, slot: &Slot) -> TaskReport {
    let last_operation = format!("{} {}", slot.last_operation, slot.last_object).trim().to_owned();
    TaskReport { id, name: slot.name.to_string(), polls: slot.polls, last_polled_ns: slot.last_polled_ns, last_operation }
}
