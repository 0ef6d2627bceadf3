//! Waiting for workers before an attempt.
//!
//! The first attempt waits for as many workers as were asked for, however long that takes. One that follows a failure waits so long and goes on with those
//! that are there; but never with none. A coordinator that has no worker left looks into the log from time to time: they may all have gone to another one.

use super::error::JobError;
use super::inbox::Inbox;
use super::logbook::Logbook;
use crate::checkpoint::CheckpointConfig;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{Io, MonotonicNs};

/// Without a worker the log is looked into no more often than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many workers an attempt waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Muster {
    pub(crate) workers: usize,
    /// After an attempt that has failed it goes on with those that are there after so long, one at least.
    pub(crate) patience: Duration,
}

impl Muster {
    /// Waits until there are enough workers. `failed_at` is when the last attempt failed, if one has.
    pub(super) async fn wait(
        self,
        io: &Io,
        config: Option<&CheckpointConfig>,
        failed_at: Option<MonotonicNs>,
        inbox: &mut Inbox,
        logbook: &mut Logbook,
    ) -> Result<(), JobError> {
        // The delay before a restart is part of it.
        let mut patience = failed_at.map(|failed| io.clock().sleep_until(failed.after(self.patience)));
        let mut told = None;
        loop {
            while let Some(message) = inbox.messages.try_recv() {
                inbox.hear(message)?;
            }
            let present = inbox.crew.members().len();
            if present >= self.workers || (present > 0 && patience.is_none() && !logbook.is_blank()) {
                return Ok(());
            }
            if told != Some(present) {
                tracing::info!(target: "thalweg::cli", "waiting for workers: {present} of {} are there", self.workers);
                told = Some(present);
            }
            let messages = &mut inbox.messages;
            let message = poll_fn(|cx| {
                if let Poll::Ready(message) = messages.poll_recv(cx) {
                    return Poll::Ready(message);
                }
                if let Some(sleep) = &mut patience
                    && sleep.as_mut().poll(cx).is_ready()
                {
                    patience = None;
                    return Poll::Ready(None);
                }
                Poll::Pending
            })
            .await;
            match message {
                Some(message) => inbox.hear(message)?,
                None if inbox.crew.members().is_empty() => {
                    // They may all have gone to another coordinator. If not, the first to be back is not to begin alone.
                    logbook.look(io, config, inbox).await?;
                    patience = Some(io.clock().sleep_until(io.clock().now().after(self.patience.max(LOOK_AGAIN))));
                }
                None => {}
            }
        }
    }
}
