//! A single asynchronous errand, for commands that run no job.

use thalweg_io::uring::UringCores;
use thalweg_io::{CoreMain, Cores, Io, LocalBoxFuture, StartError, block_on, blocking, mailbox};
use thalweg_kernel::JobError;

/// Runs `errand` on a core of its own and waits for its result. If io_uring is not available the errand runs on this thread, with blocking system calls: it
/// only works with files, and no job is kept waiting.
pub(super) fn on_core<T, F>(errand: F) -> Result<T, JobError>
where
    T: Send + 'static,
    F: FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static,
{
    // The errand is handed over once its core runs.
    let (give, mut take) = mailbox::<F>();
    let (sender, mut receiver) = mailbox();
    let main: CoreMain = Box::new(move |_, io| {
        Box::pin(async move {
            if let Some(errand) = take.recv().await {
                drop(sender.send(errand(io).await));
            }
        })
    });
    match UringCores::new().on_cpus([]).start(vec![main]) {
        Ok(group) => {
            drop(give.send(errand));
            let result = block_on(receiver.recv());
            group.join();
            result.ok_or_else(|| JobError::Internal { place: "a core".to_owned(), message: "it has ended without a result".to_owned() })
        }
        Err(StartError::IoUringForbidden { .. } | StartError::NoRing { .. } | StartError::MemlockTooLow { .. }) => {
            Ok(blocking::run(errand)?)
        }
        Err(error) => Err(error.into()),
    }
}
