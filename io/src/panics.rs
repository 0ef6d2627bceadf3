//! The place of a panic: known only to the panic hook, wanted by the code that catches the panic.
//!
//! A program that reports panics in its own words calls [`silence_panics`] once, at its start. From then on the hook prints nothing; the place of a
//! thread's last panic is kept for [`take_panic_place`]. A library must not do this to its host, so without that call everything stays as usual.

use std::cell::RefCell;
use std::panic::PanicHookInfo;

thread_local! {
    // A panic hook has no other way to reach the code that catches: it cannot change the payload.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the process's panic hook by one that prints nothing and keeps the place.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(keep));
}

fn keep(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string);
    // While a thread is being torn down the place cannot be kept.
    let _ = PLACE.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut() {
            *kept = place;
        }
    });
}

/// `src/main.rs:12:9` of the last panic of this thread, once; `None` if there was none or [`silence_panics`] has not been called.
#[must_use]
pub fn take_panic_place() -> Option<String> {
    PLACE.try_with(|kept| kept.try_borrow_mut().ok().and_then(|mut kept| kept.take())).ok().flatten()
}
