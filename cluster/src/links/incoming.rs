//! The receiving half of a link: reads frames from one connection, hands each to its channel, and grants credit for processed frames.
//!
//! With the credit the receiver sends its window, in records. As many frames wait at the sending end as here, so half of the window is the sender's; and if
//! the window is small, no more frames are granted than it has records.

use super::caller::Caller;
use super::credits::Window;
use super::door::Awaited;
use super::layouts::ToldLayouts;
use super::outgoing::{Sender, append_entries, entries};
use super::reader::{FrameReader, ReadError};
use super::ready::{Places, ReadyChannels};
use super::surroundings::Surroundings;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::Buffer;
use thalweg_kernel::record::Layout;
use thalweg_kernel::worker::ChannelNumber;
use thalweg_kernel::worker::Counter;
use thalweg_kernel::worker::RemoteChannel;
use thalweg_kernel::worker::Unpacker;
use thalweg_kernel::worker::{FrameError, FrameHeader, FrameKind, HEADER_BYTES, PAYLOAD_BYTES_MAX};

/// Frames delivered before the core's other tasks have their turn.
const FRAMES_A_TURN: usize = 16;

struct Channel {
    number: ChannelNumber,
    unpacker: Box<dyn Unpacker>,
    layout: Layout,
    window: Window,
    /// The receiver's desired window, in records; 0 until it is known.
    records_window: u32,
    /// Whether it differs from what the sender was told last.
    is_news: bool,
    sequence: u64,
    records: u64,
    has_ended: bool,
    /// Whether the receiver is gone.
    is_over: bool,
}

impl Channel {
    /// The sender's share of the window, which is also the receiver's; 0 until the window is known.
    fn half(&self) -> u32 {
        self.records_window.div_ceil(2)
    }
}

/// The receiving half of a link.
pub(super) struct Incoming {
    around: Surroundings,
    /// Ordered by their numbers.
    channels: Vec<Channel>,
    /// Channels that may have given memory back, or whose receivers may have a new window.
    ready: ReadyChannels,
    /// The layouts that the sender has described.
    told: ToldLayouts,
    /// Channels in which anything has happened since credit was last granted.
    changed: Places,
    window: usize,
    records_in: Counter,
    frames_in: Counter,
    bytes_in: Counter,
}

impl Incoming {
    pub(super) fn new(around: Surroundings, mut channels: Vec<Box<dyn RemoteChannel>>, window: usize) -> Self {
        channels.sort_unstable_by_key(|channel| channel.number().0);
        let open = |channel: Box<dyn RemoteChannel>| Channel {
            number: channel.number(),
            layout: channel.layout().clone(),
            unpacker: channel.into_unpacker(),
            window: Window::new(window),
            records_window: 0,
            is_news: false,
            sequence: 0,
            records: 0,
            has_ended: false,
            is_over: false,
        };
        Self {
            ready: ReadyChannels::new(channels.len()),
            told: ToldLayouts::default(),
            changed: Places::all(channels.len()),
            channels: channels.into_iter().map(open).collect(),
            window,
            records_in: around.counter("numRecordsInRemote"),
            frames_in: around.counter("numBuffersInRemote"),
            bytes_in: around.counter("numBytesInRemote"),
            around,
        }
    }

    /// Waits for the caller and receives until the future is dropped, or until nothing can follow.
    pub(super) async fn run(mut self, awaited: Rc<Awaited>) -> Result<(), String> {
        // Waits however long the other worker reads its state. A worker that cannot call says so, and a worker that is gone is reported lost.
        let Caller { mut reader, write } = poll_fn(|cx| awaited.poll_caller(cx)).await;
        reader.trust(PAYLOAD_BYTES_MAX);
        let mut sender = Sender { write, writing: None, free: Some(Buffer::default()) };
        poll_fn(|cx| self.poll_work(cx, &mut reader, &mut sender)).await
    }

    fn poll_work(&mut self, cx: &mut Context<'_>, reader: &mut FrameReader, sender: &mut Sender) -> Poll<Result<(), String>> {
        self.ready.collect(cx);
        self.take_back(reader);
        let mut turn = 0;
        while let Poll::Ready(heard) = reader.poll_next(cx) {
            match heard {
                Ok(Some((header, frame))) => {
                    if let Err(fault) = self.take(&header, frame) {
                        return Poll::Ready(Err(self.around.broken(&fault)));
                    }
                }
                Ok(None) if self.channels.iter().all(|channel| channel.has_ended || channel.is_over) => return Poll::Ready(Ok(())),
                Ok(None) => return Poll::Ready(Err("it closed the connection".to_owned())),
                Err(ReadError::Frame(fault)) => return Poll::Ready(Err(self.around.broken(&fault))),
                Err(error) => return Poll::Ready(Err(error.to_string())),
            }
            turn += 1;
            if turn == FRAMES_A_TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.poll_grant(cx, sender)
    }

    /// Takes back the memory of processed frames, and the receivers' windows; registers for more.
    fn take_back(&mut self, reader: &mut FrameReader) {
        let mut next = 0;
        while let Some(place) = self.ready.next_from(next) {
            next = place + 1;
            self.ready.done(place);
            let channel = &mut self.channels[place];
            let mut cx = Context::from_waker(self.ready.waker(place));
            while let Poll::Ready(returned) = channel.unpacker.poll_returned(&mut cx) {
                let Some(buffer) = returned else {
                    channel.is_over = true;
                    break;
                };
                channel.window.given_back();
                self.around.watch.tell("link.given-back", channel.number, [0; 3]);
                reader.give(buffer);
            }
            // After the registration above: a later change wakes the link.
            let records = channel.unpacker.window();
            if records != channel.records_window {
                (channel.records_window, channel.is_news) = (records, true);
                channel.window.want(channel.half());
            }
            self.changed.insert(place);
        }
    }

    /// The place of the channel with this number.
    fn find(&self, number: u32) -> Result<usize, FrameError> {
        self.channels.binary_search_by_key(&number, |channel| channel.number.0).map_err(|_| FrameError::Channel(number))
    }

    /// Sends the credit that can be granted, once the previous write is done.
    fn poll_grant(&mut self, cx: &mut Context<'_>, sender: &mut Sender) -> Poll<Result<(), String>> {
        loop {
            match sender.poll_buffer(cx) {
                Poll::Pending => return Poll::Pending,
                // If reading has shown that all is over, that tells more than the write error.
                Poll::Ready(Err(error)) if !self.channels.iter().all(|channel| channel.has_ended) => {
                    return Poll::Ready(Err(error.to_string()));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(mut buffer)) => {
                    let mut grants = Vec::new();
                    for place in self.changed.drain() {
                        let channel = &mut self.channels[place];
                        if channel.has_ended || channel.is_over {
                            continue;
                        }
                        let (credits, is_news) = (channel.window.grant(), std::mem::take(&mut channel.is_news));
                        if credits > 0 {
                            // Frames that may be sent from now on, frames wanted under way and waiting, and the places for them.
                            let values = [i64::from(credits), i64::from(channel.window.limit()), self.window as i64];
                            self.around.watch.tell("link.credit", channel.number, values);
                        }
                        if credits > 0 || is_news {
                            grants.push([channel.number.0, credits, channel.half()]);
                        }
                    }
                    if grants.is_empty() {
                        sender.free = Some(buffer);
                        return Poll::Pending;
                    }
                    append_entries(&mut buffer, FrameKind::Credit, &self.around, grants.into_iter());
                    sender.send(buffer);
                }
            }
        }
    }

    fn take(&mut self, header: &FrameHeader, frame: Buffer) -> Result<(), FrameError> {
        // Law 10.
        if header.attempt != self.around.attempt {
            return Err(FrameError::Attempt { expected: self.around.attempt, found: header.attempt });
        }
        match header.kind {
            FrameKind::Records => self.deliver(header, frame),
            FrameKind::Layout => self.told.hear(header, &frame, self.channels.len()),
            FrameKind::Demand => {
                for [number, ..] in entries(header, &frame[HEADER_BYTES..])? {
                    let place = self.find(number)?;
                    self.channels[place].window.demanded();
                    self.changed.insert(place);
                }
                Ok(())
            }
            kind => Err(FrameError::Unexpected(kind)),
        }
    }

    fn deliver(&mut self, header: &FrameHeader, frame: Buffer) -> Result<(), FrameError> {
        let number = header.channel;
        let place = self.find(number)?;
        let channel = &mut self.channels[place];
        if header.sequence != channel.sequence {
            return Err(FrameError::Sequence { channel: number, expected: channel.sequence, found: header.sequence });
        }
        if channel.has_ended {
            return Err(FrameError::Damaged { channel: number, reason: "it follows the end of input".to_owned() });
        }
        channel.sequence += 1;
        if channel.is_over {
            return Ok(());
        }
        if !channel.window.received() {
            return Err(FrameError::Credit(number));
        }
        self.changed.insert(place);
        self.told.check(header, &channel.layout)?;
        let carried = channel.unpacker.deliver(header, frame)?;
        channel.has_ended |= carried.is_end;
        let (watch, attempt) = (&self.around.watch, header.attempt.0 as i64);
        watch.tell("link.frame.in", channel.number, [header.sequence as i64, carried.records as i64, attempt]);
        if let Some((checkpoint, before)) = carried.barrier {
            let received = channel.records + before;
            watch.tell("link.barrier.in", channel.number, [checkpoint as i64, received as i64, 0]);
        }
        channel.records += carried.records;
        self.records_in.add(carried.records);
        self.frames_in.add(1);
        self.bytes_in.add(carried.bytes);
        Ok(())
    }
}
