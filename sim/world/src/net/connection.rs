//! A connection: two ends, a pipe each way, and what each end learns of the other.
//!
//! TCP as Linux has it. Bytes arrive in order or not at all. An end that is closed says so behind what it sent (and its kernel goes on repeating what
//! was not delivered, even if its process is dead); bytes that it has not read, or that arrive later, are answered by a reset. An end whose machine has
//! lost power says nothing at all, until the machine is back and knows nothing of it: then it answers with a reset. A reset that meets a cut link
//! is lost, and nobody repeats it. A connection that is forgotten between its ends is given up by their kernels after half a minute, as the engine asks
//! for (`io/src/uring/net.rs`). The first call on an end that was reset fails with that; after it reads find the end, writes a broken pipe.
//!
//! Pure but for the streams it draws from; time comes in as a number.

use super::links::{Link, Links};
use super::pipe::{Found, Pipe, STUCK_NS};
use super::{MachineKey, ProcessKey};
use crate::rng::Draw;
use std::io::ErrorKind;
use thalweg_io::{Buffer, SplitMix};

/// When the kernel gives a connection up whose other end does not answer.
const DEAD_AFTER_NS: u64 = 30_000_000_000;

/// Buffers below this many bytes come without latency: a byte a millisecond would tell nothing new.
const LATENCY_BUFFER_BYTES_MIN: usize = 1024;

/// How long after a link is mended what was stuck gets through, at most: kernels repeat themselves more and more seldom.
const RETRANSMISSION_MS_MAX: [u64; 4] = [0, 10, 400, 3_000];

/// Which end: 0 called, 1 was called.
pub(super) type Side = usize;

/// What lies between the ends.
pub(super) struct Wire {
    pub(super) links: Links,
    /// Whether a reset destroys what has arrived.
    pub(super) reset_stream: SplitMix,
    /// When what was stuck gets through.
    pub(super) mend_stream: SplitMix,
}

/// A reset that an end hears, or has heard.
#[derive(Clone, Copy)]
struct Reset {
    due_ns: u64,
    /// What had arrived before can still be read.
    keeps: bool,
    /// Nobody sends it: the end's own kernel has given up, and no cut link stands between.
    is_own: bool,
}

/// One end.
pub(super) struct End {
    pub(super) machine: MachineKey,
    pub(super) process: ProcessKey,
    reads: bool,
    writes: bool,
    /// Its machine has no power.
    dark: bool,
    /// Its machine had no power since, and repeats nothing.
    forgot: bool,
    reset: Option<Reset>,
    /// A call has failed because of the reset.
    told: bool,
}

impl End {
    pub(super) fn new(machine: MachineKey, process: ProcessKey) -> Self {
        Self { machine, process, reads: true, writes: true, dark: false, forgot: false, reset: None, told: false }
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.reads && !self.writes
    }
}

/// See the module.
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    /// What each side writes.
    pub(super) pipes: [Pipe; 2],
    /// Nothing between the ends knows it any more.
    lost: bool,
}

/// What a reader finds.
pub(super) enum Readable {
    Bytes(usize),
    End,
    Reset,
    /// Nothing; look again when woken, or at this time.
    Wait(Option<u64>),
}

/// What a writer finds.
pub(super) enum Writable {
    Room(usize),
    Broken(ErrorKind),
    Wait(Option<u64>),
}

impl Connection {
    pub(super) fn new(ends: [End; 2], capacities: [usize; 2]) -> Self {
        Self { ends, pipes: capacities.map(Pipe::new), lost: false }
    }

    /// The link that carries what `side` writes.
    pub(super) fn link(&self, side: Side) -> Link {
        (self.ends[side].machine, self.ends[1 - side].machine)
    }

    /// Whether anything gets from `side` to the other.
    fn is_open(&self, wire: &Wire, side: Side) -> bool {
        !self.lost && !self.ends[1 - side].dark && wire.links.is_open(self.link(side))
    }

    /// When something that `side` sends now arrives.
    fn due_ns(&self, wire: &mut Wire, side: Side, now_ns: u64) -> u64 {
        if !self.is_open(wire, side) {
            STUCK_NS
        } else if self.pipes[side].capacity() < LATENCY_BUFFER_BYTES_MIN {
            now_ns
        } else {
            now_ns + wire.links.latency_ns(self.link(side))
        }
    }

    /// Whether nobody will ever use it again.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.is_closed() || end.dark)
    }

    pub(super) fn readable(&mut self, side: Side, now_ns: u64) -> Readable {
        let (end, pipe) = (&mut self.ends[side], &mut self.pipes[1 - side]);
        if let Some(Reset { due_ns, keeps, .. }) = end.reset.filter(|reset| reset.due_ns <= now_ns) {
            return match pipe.find(due_ns) {
                Found::Bytes(len) if keeps => Readable::Bytes(len),
                _ if std::mem::replace(&mut end.told, true) => Readable::End,
                _ => Readable::Reset,
            };
        }
        let reset_ns = end.reset.map(|reset| reset.due_ns);
        match pipe.find(now_ns) {
            Found::Bytes(len) => Readable::Bytes(len),
            Found::End => Readable::End,
            Found::At(at_ns) => Readable::Wait(Some(reset_ns.map_or(at_ns, |reset_ns| reset_ns.min(at_ns)))),
            Found::Nothing => Readable::Wait(reset_ns),
        }
    }

    /// Moves bytes that can be read behind what `buffer` holds.
    pub(super) fn take(&mut self, wire: &Wire, side: Side, len: usize, buffer: &mut Buffer) {
        // The sender has to hear that there is room.
        let is_acknowledged = self.is_open(wire, side);
        let pipe = &mut self.pipes[1 - side];
        pipe.take(len, buffer, is_acknowledged);
        pipe.wake_writer();
    }

    pub(super) fn writable(&mut self, side: Side, now_ns: u64) -> Writable {
        let end = &mut self.ends[side];
        match end.reset {
            Some(reset) if reset.due_ns <= now_ns => {
                let was_told = std::mem::replace(&mut end.told, true);
                Writable::Broken(if was_told { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset })
            }
            reset => match self.pipes[side].room() {
                0 => Writable::Wait(reset.map(|reset| reset.due_ns)),
                room => Writable::Room(room),
            },
        }
    }

    /// Sends `bytes`, for which there is room.
    pub(super) fn push(&mut self, wire: &mut Wire, side: Side, bytes: &[u8], now_ns: u64) {
        let due_ns = self.due_ns(wire, side, now_ns);
        self.pipes[side].push(bytes, due_ns);
        self.pipes[side].wake_reader();
        self.answer(wire, now_ns);
    }

    /// This end reads no more. The other does not notice until the end is closed.
    pub(super) fn close_read(&mut self, wire: &mut Wire, side: Side, now_ns: u64) {
        self.ends[side].reads = false;
        self.answer(wire, now_ns);
    }

    /// This end writes no more: the other finds the end of the stream.
    pub(super) fn close_write(&mut self, wire: &mut Wire, side: Side, now_ns: u64) {
        if std::mem::replace(&mut self.ends[side].writes, false) && !self.ends[side].dark {
            let due_ns = self.due_ns(wire, side, now_ns);
            self.pipes[side].end(due_ns);
            self.pipes[side].wake_reader();
        }
        self.answer(wire, now_ns);
    }

    /// Bytes meet an end that is closed: a reset goes back.
    fn answer(&mut self, wire: &mut Wire, now_ns: u64) {
        for side in [0, 1] {
            let far = &self.ends[1 - side];
            let is_answered = !far.dark && (far.is_closed() || far.reset.is_some()) && self.pipes[side].has_bytes();
            if is_answered && !self.ends[side].is_closed() && self.is_open(wire, side) {
                let there_ns = self.due_ns(wire, side, now_ns);
                self.reset(wire, side, there_ns);
            }
        }
    }

    /// A reset is sent to `side`. Whether it will arrive.
    pub(super) fn reset(&mut self, wire: &mut Wire, side: Side, sent_ns: u64) -> bool {
        let end = &self.ends[side];
        if end.reset.is_some() || end.dark || !self.is_open(wire, 1 - side) {
            return false;
        }
        let due_ns = self.due_ns(wire, 1 - side, sent_ns);
        self.ends[side].reset = Some(Reset { due_ns, keeps: wire.reset_stream.chance(500), is_own: false });
        self.wake();
        true
    }

    /// The network resets both ends, and carries nothing that they write until they hear of it. Whether one of them will.
    pub(super) fn strike_down(&mut self, wire: &mut Wire, now_ns: u64) -> bool {
        let heard = [0, 1].map(|side| self.reset(wire, side, now_ns));
        let is_heard = heard.contains(&true);
        if is_heard {
            self.pipes.iter_mut().for_each(Pipe::tear);
        }
        is_heard
    }

    /// The connection is forgotten between its ends. Whether it was not already.
    pub(super) fn lose(&mut self, now_ns: u64) -> bool {
        let is_new = !std::mem::replace(&mut self.lost, true);
        self.pipes.iter_mut().for_each(|pipe| pipe.cut(now_ns));
        let due_ns = now_ns.saturating_add(DEAD_AFTER_NS);
        for end in self.ends.iter_mut().filter(|end| !end.dark && end.reset.is_none()) {
            end.reset = Some(Reset { due_ns, keeps: true, is_own: true });
        }
        self.wake();
        is_new
    }

    /// What it carries arrives at `ns` or later.
    pub(super) fn delay_until(&mut self, now_ns: u64, ns: u64) {
        self.pipes.iter_mut().for_each(|pipe| pipe.delay_until(now_ns, ns));
    }

    /// `link` has been cut.
    pub(super) fn cut(&mut self, link: Link, now_ns: u64) {
        for side in [0, 1] {
            if self.link(side) == link {
                self.pipes[side].cut(now_ns);
                let far = &mut self.ends[1 - side];
                far.reset = far.reset.filter(|reset| reset.is_own || reset.due_ns <= now_ns);
            }
        }
    }

    /// `link` has been mended.
    pub(super) fn mend(&mut self, wire: &mut Wire, link: Link, now_ns: u64) {
        for side in [0, 1] {
            if self.link(side) != link || !self.is_open(wire, side) {
                continue;
            }
            let late_ms_max = wire.mend_stream.pick(&RETRANSMISSION_MS_MAX);
            let late_ns = wire.mend_stream.between(0, late_ms_max * 1_000_000);
            if !self.ends[side].forgot {
                self.pipes[side].mend(now_ns + late_ns);
            }
            self.pipes[1 - side].acknowledge();
        }
        self.answer(wire, now_ns);
        self.wake();
    }

    /// The machine of `side` loses power.
    pub(super) fn darken(&mut self, side: Side, now_ns: u64) {
        let end = &mut self.ends[side];
        (end.dark, end.forgot, end.reset) = (true, true, None);
        self.pipes[1 - side].cut(now_ns);
    }

    /// The machine of `side` is back, and knows nothing of the connection.
    pub(super) fn forget(&mut self, wire: &mut Wire, side: Side, now_ns: u64) {
        let end = &mut self.ends[side];
        if std::mem::replace(&mut end.dark, false) {
            (end.reads, end.writes) = (false, false);
            let late_ms_max = wire.mend_stream.pick(&RETRANSMISSION_MS_MAX);
            let late_ns = wire.mend_stream.between(0, late_ms_max * 1_000_000);
            self.answer(wire, now_ns + late_ns);
        }
    }

    /// Wakes whoever waits at either end.
    pub(super) fn wake(&mut self) {
        self.pipes.iter_mut().for_each(Pipe::wake);
    }
}
