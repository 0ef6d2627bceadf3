//! A thread for the few system calls for which io_uring has no operation. Each core that needs one starts its own; it ends with the core.

use crate::mailbox;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::mpsc;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one after the other, away from the core. Clones share the thread.
#[derive(Clone, Default)]
pub(super) struct Helper {
    /// `None` if the thread could not be created.
    jobs: Rc<OnceCell<Option<mpsc::Sender<Job>>>>,
}

impl Helper {
    /// Runs `job` on the thread and returns its result.
    pub(super) async fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (answer, mut answers) = mailbox();
        let job: Job = Box::new(move || {
            // The caller may have gone.
            let _ = answer.send(job());
        });
        let unsent = match self.jobs.get_or_init(start) {
            Some(jobs) => jobs.send(job).err().map(|mpsc::SendError(job)| job),
            None => Some(job),
        };
        if let Some(job) = unsent {
            // Without a thread, run it here: late is better than never.
            job();
        }
        match answers.recv().await {
            Some(answer) => answer,
            None => unreachable!("invariant: a job answers before it is dropped, and none of them panics"),
        }
    }
}

fn start() -> Option<mpsc::Sender<Job>> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new().name("thalweg-helper".to_owned()).spawn(move || inbox.into_iter().for_each(|job| job()));
    match thread {
        Ok(_) => Some(jobs),
        Err(error) => {
            tracing::warn!(%error, "no helper thread: directories are listed on the core itself");
            None
        }
    }
}
