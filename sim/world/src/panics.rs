//! Catches panics of simulated tasks: message and place are kept, nothing is printed.
//!
//! A panic's place is known only to the panic hook, which is one for the whole process. Ours is installed once; it keeps what it sees on a
//! thread that is inside [`catch`] and hands everything else to the hook that was there before. This is the one thread-local of the
//! simulator, because a panic hook has no other way to know for whom it is called.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

/// What is known about a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaughtPanic {
    pub(crate) message: String,
    pub(crate) location: String,
}

enum Watch {
    /// No simulated code runs on this thread.
    Off,
    /// Simulated code runs; the last panic, if any.
    On(Option<CaughtPanic>),
}

thread_local! {
    static WATCH: RefCell<Watch> = const { RefCell::new(Watch::Off) };
}

/// Runs `body`; a panic in it becomes an error.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    install_hook();
    let outer = WATCH.replace(Watch::On(None));
    let result = catch_unwind(AssertUnwindSafe(body));
    let seen = WATCH.replace(outer);
    result.map_err(|payload| match seen {
        Watch::On(Some(caught)) => caught,
        // `resume_unwind` does not call the hook.
        _ => CaughtPanic { message: message_of(payload.as_ref()), location: "an unknown place".to_owned() },
    })
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !keep(info) {
                previous(info);
            }
        }));
    });
}

/// Keeps the panic if simulated code runs on this thread; tells whether it does.
fn keep(info: &PanicHookInfo<'_>) -> bool {
    WATCH
        .try_with(|watch| {
            let Ok(mut watch) = watch.try_borrow_mut() else { return false };
            let Watch::On(seen) = &mut *watch else { return false };
            let mut location = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                location = format!("{location}\n{backtrace}");
            }
            *seen = Some(CaughtPanic { message: message_of(info.payload()), location });
            true
        })
        .unwrap_or(false)
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_and_place_are_kept() {
        let caught = catch(|| panic!("number {}", 7)).unwrap_err();
        assert_eq!(caught.message, "number 7");
        assert!(caught.location.contains("panics.rs"), "{}", caught.location);
    }

    #[test]
    fn a_panic_caught_inside_does_not_hide_what_comes_after() {
        let outer = catch(|| {
            assert_eq!(catch(|| panic!("inner")).unwrap_err().message, "inner");
            panic!("outer");
        });
        assert_eq!(outer.unwrap_err().message, "outer");
    }
}
