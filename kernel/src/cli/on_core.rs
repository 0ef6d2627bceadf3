//! A single asynchronous errand, for commands that run no job.

use super::fail;
use thalweg_io::uring::UringCores;
use thalweg_io::{CoreMain, Cores, Io, LocalBoxFuture, block_on, mailbox};

/// Runs `errand` on a core of its own and waits for its result. `Err` is the exit code of a failure that has been told.
pub(super) fn on_core<T: Send + 'static>(errand: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> Result<T, u8> {
    let (sender, mut receiver) = mailbox();
    let main: CoreMain = Box::new(move |_, io| Box::pin(async move { drop(sender.send(errand(io).await)) }));
    let group = UringCores::new().start(vec![main]).map_err(|error| fail(error, super::FAILED))?;
    let result = block_on(receiver.recv());
    group.join();
    result.ok_or_else(|| fail("internal error: the core has ended without a result; please report it", super::FAILED))
}
