//! Panics of users' code, turned into text.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// The message of a panic, and its place if that is known.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(a panic without a text)".to_owned());
    thalweg_io::take_panic_place().map_or_else(|| text.clone(), |place| format!("{text} ({place})"))
}

/// Runs a user's future, and turns a panic in it into its text.
pub(crate) async fn without_panic<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(format!("it panicked: {}", panic_text(&*payload)))),
    })
    .await
}
