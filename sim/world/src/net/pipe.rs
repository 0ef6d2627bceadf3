//! One direction of a connection: bytes on their way, in order, and how much of them the two kernels hold.
//!
//! What was written and not yet read takes room in one buffer, which stands for those of the sender, of the wire and of the receiver. Each piece
//! arrives at a time of its own, but none before the one ahead of it. While the link is cut, what has not arrived is stuck, and what is read is not
//! acknowledged: it keeps its room until the link the other way is open.
//!
//! Pure: time comes in as a number.

use std::collections::VecDeque;
use std::task::Waker;
use thalweg_io::Buffer;

/// When something arrives that is stuck.
pub(super) const STUCK_NS: u64 = u64::MAX - 1;

/// When something arrives that comes behind a hole: never, also not when the link is open again.
const LOST_NS: u64 = u64::MAX;

/// See the module.
pub(super) struct Pipe {
    capacity: usize,
    bytes: VecDeque<u8>,
    /// When those of the bytes arrive that have not: time and length of each piece, in order.
    under_way: VecDeque<(u64, usize)>,
    /// How many of the bytes have arrived.
    arrived: usize,
    /// Bytes that were read and of which the sender does not know it.
    unacknowledged: usize,
    /// When the end of the stream arrives, if it has been sent.
    end_ns: Option<u64>,
    /// Nothing arrives before.
    not_before_ns: u64,
    /// Something of what was written is gone for good.
    has_hole: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet, but something will have arrived by then.
    At(u64),
    /// The end of the stream.
    End,
    /// Nothing, and nothing is on its way that would get here by itself.
    Nothing,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            bytes: VecDeque::new(),
            under_way: VecDeque::new(),
            arrived: 0,
            unacknowledged: 0,
            end_ns: None,
            not_before_ns: 0,
            has_hole: false,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that a writer can write now.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len() + self.unacknowledged)
    }

    /// Whether anything that was written has not been read.
    pub(super) fn has_bytes(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Sends `bytes`, for which there is room, to arrive at `due_ns` unless what is ahead of them is later. Returns when they arrive.
    pub(super) fn push(&mut self, bytes: &[u8], due_ns: u64) -> u64 {
        debug_assert!(bytes.len() <= self.room());
        let due_ns = self.after_the_last(due_ns);
        self.bytes.extend(bytes);
        self.under_way.push_back((due_ns, bytes.len()));
        due_ns
    }

    /// Ends the stream behind what was sent. The first time counts.
    pub(super) fn end(&mut self, due_ns: u64) {
        let due_ns = self.after_the_last(due_ns);
        self.end_ns = self.end_ns.or(Some(due_ns));
    }

    /// From here on something is missing: a stream gives nothing of what is behind it.
    pub(super) fn tear(&mut self) {
        self.has_hole = true;
    }

    fn after_the_last(&self, due_ns: u64) -> u64 {
        if self.has_hole {
            return LOST_NS;
        }
        let last_ns = self.under_way.back().map_or(0, |(at_ns, _)| *at_ns);
        due_ns.max(last_ns).max(self.not_before_ns)
    }

    /// What is under way, and what is sent from now on, arrives at `ns` or later.
    pub(super) fn delay_until(&mut self, now_ns: u64, ns: u64) {
        self.arrive(now_ns);
        self.not_before_ns = self.not_before_ns.max(ns);
        self.postpone(|due_ns| due_ns.max(ns));
        self.end_ns = self.end_ns.map(|due_ns| if due_ns > now_ns { due_ns.max(ns) } else { due_ns });
    }

    /// The link is cut: what has not arrived is stuck.
    pub(super) fn cut(&mut self, now_ns: u64) {
        self.arrive(now_ns);
        self.postpone(|due_ns| due_ns.max(STUCK_NS));
        self.end_ns = self.end_ns.map(|due_ns| if due_ns > now_ns { due_ns.max(STUCK_NS) } else { due_ns });
    }

    /// The link is open again: what was stuck arrives at `due_ns`.
    pub(super) fn mend(&mut self, due_ns: u64) {
        let due_ns = due_ns.max(self.not_before_ns);
        self.postpone(|at_ns| if at_ns == STUCK_NS { due_ns } else { at_ns });
        self.end_ns = self.end_ns.map(|at_ns| if at_ns == STUCK_NS { due_ns } else { at_ns });
    }

    fn postpone(&mut self, change: impl Fn(u64) -> u64) {
        for (due_ns, _) in &mut self.under_way {
            *due_ns = change(*due_ns);
        }
    }

    /// The sender learns what has been read.
    pub(super) fn acknowledge(&mut self) {
        self.unacknowledged = 0;
    }

    fn arrive(&mut self, now_ns: u64) {
        while let Some((_, len)) = self.under_way.front().copied().filter(|(at_ns, _)| *at_ns <= now_ns) {
            self.under_way.pop_front();
            self.arrived += len;
        }
    }

    /// What a reader finds at `now_ns`.
    pub(super) fn find(&mut self, now_ns: u64) -> Found {
        self.arrive(now_ns);
        if self.arrived > 0 {
            return Found::Bytes(self.arrived);
        }
        match self.under_way.front().map(|(at_ns, _)| *at_ns).or(self.end_ns) {
            None | Some(STUCK_NS | LOST_NS) => Found::Nothing,
            Some(at_ns) if at_ns > now_ns => Found::At(at_ns),
            Some(_) => Found::End,
        }
    }

    /// Moves `len` bytes that have arrived behind what `buffer` holds.
    pub(super) fn take(&mut self, len: usize, buffer: &mut Buffer, is_acknowledged: bool) {
        debug_assert!(len <= self.arrived);
        let (front, back) = self.bytes.as_slices();
        let from_front = len.min(front.len());
        buffer.extend_from_slice(&front[..from_front]);
        buffer.extend_from_slice(&back[..len - from_front]);
        self.bytes.drain(..len);
        self.arrived -= len;
        if !is_acknowledged {
            self.unacknowledged += len;
        }
    }

    /// Wakes whoever waits at either end.
    pub(super) fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }

    pub(super) fn wake_reader(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn wake_writer(&mut self) {
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_however_long_each_takes() {
        let mut pipe = Pipe::new(10);
        assert_eq!(pipe.push(b"ab", 50), 50);
        assert_eq!(pipe.push(b"cd", 20), 50, "none overtakes");
        pipe.end(10);
        assert_eq!(pipe.find(49), Found::At(50));
        assert_eq!(pipe.find(50), Found::Bytes(4));
        let mut buffer = Buffer::with_capacity(8);
        pipe.take(3, &mut buffer, true);
        assert_eq!((&buffer[..], pipe.room()), (&b"abc"[..], 9));
        pipe.take(1, &mut buffer, true);
        assert_eq!(pipe.find(50), Found::End);
    }

    #[test]
    fn what_has_not_arrived_when_the_link_is_cut_arrives_after_it_is_mended() {
        let mut pipe = Pipe::new(10);
        pipe.push(b"ab", 10);
        pipe.push(b"cd", 30);
        pipe.cut(20);
        assert_eq!(pipe.find(1_000), Found::Bytes(2));
        let mut buffer = Buffer::with_capacity(8);
        pipe.take(2, &mut buffer, false);
        assert_eq!((pipe.room(), pipe.find(1_000)), (6, Found::Nothing));
        pipe.end(STUCK_NS);
        pipe.mend(1_200);
        pipe.acknowledge();
        assert_eq!((pipe.room(), pipe.find(1_100), pipe.find(1_200)), (8, Found::At(1_200), Found::Bytes(2)));
        pipe.take(2, &mut buffer, true);
        assert_eq!(pipe.find(1_200), Found::End);
    }

    #[test]
    fn what_is_delayed_holds_back_what_comes_after_it() {
        let mut pipe = Pipe::new(10);
        pipe.push(b"ab", 10);
        pipe.delay_until(5, 500);
        assert_eq!(pipe.push(b"cd", 20), 500);
        assert_eq!(pipe.find(499), Found::At(500));
    }

    #[test]
    fn nothing_comes_from_behind_a_hole() {
        let mut pipe = Pipe::new(10);
        pipe.push(b"ab", 10);
        pipe.tear();
        pipe.push(b"cd", 20);
        pipe.end(20);
        assert_eq!(pipe.find(30), Found::Bytes(2));
        pipe.cut(30);
        pipe.mend(40);
        let mut buffer = Buffer::with_capacity(8);
        pipe.take(2, &mut buffer, true);
        assert_eq!((&buffer[..], pipe.find(1_000)), (&b"ab"[..], Found::Nothing));
        assert!(pipe.has_bytes(), "the sender does not know");
    }
}
