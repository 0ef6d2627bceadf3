//! Credit-based flow control of one channel between two processes.
//!
//! The receiver grants as many frames as it has free places; the sender uses one credit per frame and stops without one. So the frames waiting at a slow
//! receiver are bounded by its *window*, and the back-pressure reaches the sender's subtask, and from there the source.
//!
//! A slow receiver wants fewer frames than it has places: its *limit* (`exchange/debloating.rs`).
//!
//! With a window of 0 nothing is granted in advance: the sender *demands* a credit when it has a frame, and gets one when the single place that always
//! exists is free.
//!
//! Pure: no I/O, no clock.

/// The receiver's side.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Places for frames under way and waiting.
    size: u32,
    /// How many of them the receiver wants used now.
    limit: u32,
    /// Frames granted and not received yet.
    outstanding: u32,
    /// Frames received and not given back yet.
    held: u32,
    is_demanded: bool,
}

impl Window {
    pub(crate) fn new(size: usize) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self { size, limit: size, outstanding: 0, held: 0, is_demanded: false }
    }

    /// Sets how many frames the receiver wants from now on, at least one. Granted credit stays granted.
    pub(crate) fn want(&mut self, frames: u32) {
        self.limit = frames.max(1).min(self.size);
    }

    /// Frames that may be under way and waiting after a grant.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Notes a received frame. `false` if it was not granted.
    #[must_use]
    pub(crate) fn received(&mut self) -> bool {
        let was_granted = self.outstanding > 0;
        self.outstanding = self.outstanding.saturating_sub(1);
        self.held += u32::from(was_granted);
        was_granted
    }

    /// Notes that a frame has been processed.
    pub(crate) fn given_back(&mut self) {
        assert!(self.held > 0, "a frame was given back that was never received");
        self.held -= 1;
    }

    /// Notes that the sender has a frame and no credit.
    pub(crate) fn demanded(&mut self) {
        self.is_demanded = true;
    }

    /// How many frames to grant now: often enough that the sender does not run out, seldom enough to be worth a message.
    #[must_use]
    pub(crate) fn grant(&mut self) -> u32 {
        let free = self.limit.saturating_sub(self.outstanding + self.held);
        let grant = if self.size == 0 {
            u32::from(self.is_demanded && self.outstanding + self.held == 0)
        } else if self.outstanding == 0 || free >= self.limit.div_ceil(2) {
            free
        } else {
            0
        };
        self.is_demanded &= grant == 0;
        self.outstanding += grant;
        grant
    }
}

/// The sender's side.
#[derive(Clone, Debug)]
pub(crate) struct Credits {
    window: u32,
    left: u32,
    has_demanded: bool,
}

impl Credits {
    /// Credits for a receiver with a window of `window`.
    pub(crate) fn new(window: usize) -> Self {
        Self { window: u32::try_from(window).unwrap_or(u32::MAX), left: 0, has_demanded: false }
    }

    pub(crate) fn may_send(&self) -> bool {
        self.left > 0
    }

    /// Notes that a frame has been sent.
    pub(crate) fn sent(&mut self) {
        assert!(self.left > 0, "a frame was sent without credit");
        self.left -= 1;
    }

    /// Adds `credits` granted by the receiver. `false` if they exceed its window: then the receiver breaks the protocol.
    #[must_use]
    pub(crate) fn granted(&mut self, credits: u32) -> bool {
        self.left = self.left.saturating_add(credits);
        self.has_demanded = false;
        self.left <= self.window.max(1)
    }

    /// There is a frame and no credit: returns whether to ask the receiver now; `true` once per demand.
    #[must_use]
    pub(crate) fn demand(&mut self) -> bool {
        self.window == 0 && self.left == 0 && !std::mem::replace(&mut self.has_demanded, true)
    }

    /// Forgets the demand: the receiver has gone without an answer.
    pub(crate) fn forget_demand(&mut self) {
        assert!(self.left == 0, "credit was granted by a receiver that has granted nothing");
        self.has_demanded = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn a_window_is_granted_at_once_and_then_in_halves() {
        let mut window = Window::new(4);
        assert_eq!(window.grant(), 4);
        assert_eq!(window.grant(), 0);
        assert!(window.received() && window.received());
        window.given_back();
        assert_eq!(window.grant(), 0, "two are still under way, and one place is not worth a message");
        window.given_back();
        assert_eq!(window.grant(), 2);
    }

    #[test]
    fn a_receiver_that_wants_less_grants_nothing_until_less_is_there() {
        let mut window = Window::new(4);
        assert_eq!(window.grant(), 4);
        window.want(1);
        assert!((0..4).all(|_| window.received()));
        (0..3).for_each(|_| window.given_back());
        assert_eq!(window.grant(), 0, "one is held, and one is wanted");
        window.given_back();
        assert_eq!(window.grant(), 1);
        window.want(100);
        assert_eq!((window.limit(), window.grant()), (4, 3));
    }

    #[test]
    fn a_sender_without_credit_gets_every_place_there_is() {
        let mut window = Window::new(4);
        assert_eq!(window.grant(), 4);
        assert!((0..4).all(|_| window.received()));
        assert!(!window.received(), "the fifth was not granted");
        window.given_back();
        assert_eq!(window.grant(), 1);
    }

    proptest! {
        /// Sender and receiver with messages under way in both directions, in any order of events: never more frames than the window are under way and
        /// waiting, and as long as there is work to do some progress is possible.
        #[test]
        fn nothing_overruns_and_nothing_gets_stuck(size in 0..4usize, frames in 1..40u32, choices in prop::collection::vec(any::<u8>(), 400)) {
            let (mut window, mut credits) = (Window::new(size), Credits::new(size));
            let (mut forward, mut back) = (VecDeque::new(), VecDeque::new());
            let (mut unsent, mut held, mut done) = (frames, 0u32, 0u32);
            let mut choices = choices.into_iter().cycle();
            for _ in 0..10_000 {
                if done == frames {
                    break;
                }
                if size > 0 {
                    window.want(u32::from(choices.next().unwrap_or(0)) % 5);
                }
                let grant = window.grant();
                if grant > 0 {
                    back.push_back(grant);
                }
                let mut able: Vec<u8> = vec![];
                if unsent > 0 && credits.may_send() { able.push(0) }
                if unsent > 0 && !credits.may_send() && credits.clone().demand() { able.push(1) }
                if !forward.is_empty() { able.push(2) }
                if !back.is_empty() { able.push(3) }
                if held > 0 { able.push(4) }
                prop_assert!(!able.is_empty(), "stuck with {unsent} unsent, {held} held: {window:?} {credits:?}");
                let choice = choices.next().unwrap_or(0);
                match able[choice as usize % able.len()] {
                    0 => { credits.sent(); unsent -= 1; forward.push_back(true) }
                    1 => { prop_assert!(credits.demand()); forward.push_back(false) }
                    2 => match forward.pop_front() {
                        Some(true) => { prop_assert!(window.received()); held += 1 }
                        _ => window.demanded(),
                    },
                    3 => prop_assert!(credits.granted(back.pop_front().unwrap_or(0))),
                    _ => { window.given_back(); held -= 1; done += 1 }
                }
                prop_assert!(held as usize + forward.iter().filter(|frame| **frame).count() <= size.max(1));
            }
            prop_assert_eq!(done, frames);
        }
    }
}
