//! Waiting on an ordinary thread with a time limit: for code that follows a running job from outside its cores, a progress line say.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Blocks the current thread, which must not be a core, until `future` is done or `timeout` has passed. `None` after the timeout; the future can be waited
/// for again.
pub fn block_on_for<F: Future + ?Sized>(mut future: Pin<&mut F>, timeout: Duration) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let deadline = Instant::now() + timeout;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_that_takes_too_long_can_be_waited_for_again() {
        let (sender, mut receiver) = crate::mailbox::<u8>();
        let mut future = Box::pin(receiver.recv());
        assert_eq!(block_on_for(future.as_mut(), Duration::from_millis(1)), None);
        let sending = std::thread::spawn(move || sender.send(7));
        assert_eq!(block_on_for(future.as_mut(), Duration::from_secs(60)), Some(Some(7)));
        assert!(sending.join().is_ok_and(|sent| sent.is_ok()));
    }
}
