//! A thread for the few system calls for which io_uring has no operation, and for freeing the ring's workers. Each core that needs one starts its own; it
//! ends with the core.

use super::placement::Placement;
use crate::mailbox;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// How long the kernel's workers are taken to be those that were there before: looking for them costs about 0.2 ms, away from the core.
const SAME_WORKERS_FOR: Duration = Duration::from_millis(200);

/// Runs jobs one after the other, away from the core. Clones share the thread.
#[derive(Clone)]
pub(super) struct Helper {
    shared: Rc<Shared>,
}

struct Shared {
    /// `None` if the thread could not be created.
    jobs: OnceCell<Option<mpsc::Sender<Job>>>,
    /// `None` if the core's thread is not pinned: no thread beside it is, either.
    placement: Option<Placement>,
    /// When the ring's workers were last freed.
    freed: Cell<Option<Instant>>,
}

impl Helper {
    /// A helper whose thread is not started yet.
    pub(super) fn new(placement: Option<Placement>) -> Self {
        Self { shared: Rc::new(Shared { jobs: OnceCell::new(), placement, freed: Cell::new(None) }) }
    }

    /// Frees the kernel's workers from the core's CPU, soon: to be called after an operation was submitted that one of them will carry out.
    pub(super) fn free_workers(&self) {
        let Some(placement) = self.shared.placement else { return };
        let now = Instant::now();
        if self.shared.freed.get().is_some_and(|freed| now.duration_since(freed) < SAME_WORKERS_FOR) {
            return;
        }
        self.shared.freed.set(Some(now));
        // Without a thread they stay where they are.
        let _ = self.send(Box::new(move || {
            if let Err(error) = placement.free_workers() {
                tracing::debug!(%error, "the kernel's workers stay on the core's CPU");
            }
        }));
    }

    /// Gives a job to the thread; the job comes back if there is none.
    fn send(&self, job: Job) -> Result<(), Job> {
        match self.shared.jobs.get_or_init(|| start(self.shared.placement)) {
            Some(jobs) => jobs.send(job).map_err(|mpsc::SendError(job)| job),
            None => Err(job),
        }
    }

    /// Runs `job` on the thread and returns its result.
    pub(super) async fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (answer, mut answers) = mailbox();
        let job: Job = Box::new(move || {
            // The caller may have gone.
            let _ = answer.send(job());
        });
        if let Err(job) = self.send(job) {
            // Without a thread, run it here: late is better than never.
            job();
        }
        match answers.recv().await {
            Some(answer) => answer,
            None => unreachable!("invariant: a job answers before it is dropped, and none of them panics"),
        }
    }
}

fn start(placement: Option<Placement>) -> Option<mpsc::Sender<Job>> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new().name("thalweg-helper".to_owned()).spawn(move || {
        if let Some(Err(error)) = placement.map(|placement| placement.free_this_thread()) {
            tracing::debug!(%error, "the helper stays on the core's CPU");
        }
        inbox.into_iter().for_each(|job| job());
    });
    match thread {
        Ok(_) => Some(jobs),
        Err(error) => {
            tracing::warn!(%error, "no helper thread: directories are listed on the core itself");
            None
        }
    }
}
