//! Waiting for workers before an attempt.
//!
//! A job that begins waits for as many workers as were asked for, however long that takes. A job that has begun before, in this process or in another,
//! waits for its patience and goes on with the workers that are there, at least one. A job that has finished needs no worker, and waits only to tell them.
//!
//! A coordinator that has no worker left looks into the log from time to time: all its workers may have gone to another coordinator.

use crate::checkpoint::CheckpointConfig;
use crate::error::JobError;
use crate::job::inbox::Inbox;
use crate::job::logbook::{Logbook, Past};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{Io, MonotonicNs};

/// Without a worker the log is read no more often than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many workers an attempt waits for.
#[derive(Clone, Copy, Debug)]
pub struct Muster {
    /// The number of workers asked for.
    pub workers: usize,
    /// How long a job that resumes waits for them before it goes on with those that are there, at least one.
    pub patience: Duration,
}

impl Muster {
    /// Waits until there are enough workers. `failed_at` is when the last attempt of this process failed, if one has.
    pub(crate) async fn wait(
        self,
        io: &Io,
        config: Option<&CheckpointConfig>,
        failed_at: Option<MonotonicNs>,
        inbox: &mut Inbox,
        logbook: &mut Logbook,
    ) -> Result<(), JobError> {
        // The delay before a restart counts.
        let mut limit = io.clock().sleep_until(failed_at.unwrap_or(io.clock().now()).after(self.patience));
        let (mut past, mut is_over, mut told) = (None, false, None);
        loop {
            while let Some(message) = inbox.messages.try_recv() {
                inbox.hear(message)?;
            }
            let present = inbox.crew.members().len();
            if present >= self.workers {
                return Ok(());
            }
            let Some(Past { has_begun, is_finished }) = past else {
                // The past matters only when a worker is missing. Some may join meanwhile.
                past = Some(logbook.look(io, config, inbox).await?);
                continue;
            };
            let goes_on = has_begun || failed_at.is_some();
            if is_over && (present > 0 && goes_on || is_finished) {
                return Ok(());
            }
            if told != Some(present) {
                tracing::info!(target: "thalweg::job", "waiting for workers: {present} of {} are there", self.workers);
                told = Some(present);
            }
            let messages = &mut inbox.messages;
            let message = poll_fn(|cx| {
                if let Poll::Ready(message) = messages.poll_recv(cx) {
                    return Poll::Ready(message);
                }
                if !is_over && limit.as_mut().poll(cx).is_ready() {
                    is_over = true;
                    return Poll::Ready(None);
                }
                Poll::Pending
            })
            .await;
            match message {
                Some(message) => inbox.hear(message)?,
                None if inbox.crew.members().is_empty() && !is_finished => {
                    // All workers may have gone to another coordinator. If not, the first to return must not begin alone.
                    past = Some(logbook.look(io, config, inbox).await?);
                    limit = io.clock().sleep_until(io.clock().now().after(self.patience.max(LOOK_AGAIN)));
                    is_over = false;
                }
                None => {}
            }
        }
    }
}
