//! A single asynchronous errand, for commands that run no job.

use crate::runtime::JobError;
use thalweg_io::uring::UringCores;
use thalweg_io::{CoreMain, Cores, Io, LocalBoxFuture, block_on, mailbox};

/// Runs `errand` on a core of its own and waits for its result.
pub(super) fn on_core<T: Send + 'static>(errand: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> Result<T, JobError> {
    let (sender, mut receiver) = mailbox();
    let main: CoreMain = Box::new(move |_, io| Box::pin(async move { drop(sender.send(errand(io).await)) }));
    let group = UringCores::new().on_cpus([]).start(vec![main])?;
    let result = block_on(receiver.recv());
    group.join();
    result.ok_or_else(|| JobError::Internal { place: "a core".to_owned(), message: "it has ended without a result".to_owned() })
}
