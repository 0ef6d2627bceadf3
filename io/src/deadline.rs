//! Waiting with a time limit.

use crate::Io;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// The output of `future`, or `None` if it is not done within `limit`. An output that is ready by then counts.
pub async fn within<F: Future>(io: &Io, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timeout = io.clock().sleep_until(io.clock().now().after(limit));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timeout.as_mut().poll(cx).map(|()| None),
    })
    .await
}
