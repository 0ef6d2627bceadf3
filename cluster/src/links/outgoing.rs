//! The sending half of a link: takes frames out of the rings of its channels, as far as there is credit, and writes them to one connection.
//!
//! Until the first credit has arrived the receiver may hang up: its worker may not have heard of the attempt yet, or strangers may crowd its door. No frame
//! that could be lost has been sent, so the link calls again, for as long as the attempt lasts. After the first credit a broken connection ends the
//! attempt.

use super::caller::Opening;
use super::credits::Credits;
use super::door::PATIENCE;
use super::layouts::ToldLayouts;
use super::reader::{FrameReader, ReadError};
use super::ready::ReadyChannels;
use super::surroundings::Surroundings;
use crate::auth::{Authenticator, Purpose, Side};
use core::net::SocketAddr;
use std::future::{pending, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::within;
use thalweg_io::{Buffer, Io, IoError, LocalBoxFuture, NetWrite};
use thalweg_kernel::record::Layout;
use thalweg_kernel::worker::BUFFER_BYTES_KEPT;
use thalweg_kernel::worker::ChannelNumber;
use thalweg_kernel::worker::Counter;
use thalweg_kernel::worker::LinkFailure;
use thalweg_kernel::worker::Packer;
use thalweg_kernel::worker::RemoteChannel;
use thalweg_kernel::worker::{FrameError, FrameHeader, FrameKind, HEADER_BYTES};

/// Frames are gathered for one write up to this size: enough to spread its cost, little enough to stay in the cache until it is sent.
const WRITE_BYTES: usize = 128 << 10;

/// The pause before calling again when nobody has answered.
const CALL_AGAIN: Duration = Duration::from_millis(50);

/// The longest pause before calling again when the receiver has hung up. Each pause is twice as long as the one before.
const CALL_AGAIN_MAX: Duration = Duration::from_secs(1);

/// The longest message from a receiver: an entry of 12 bytes for each channel.
const CREDIT_BYTES_MAX: usize = 12 << 20;

struct Channel {
    number: ChannelNumber,
    packer: Box<dyn Packer>,
    layout: Layout,
    credits: Credits,
    sequence: u64,
    /// Records sent, for observers.
    records: u64,
    /// Whether a frame waits for credit.
    waits: bool,
}

/// Why a connection can no longer be used.
enum Break {
    /// The connection ended. That is no failure if the receiver has not granted any credit.
    HungUp(String),
    /// The attempt fails.
    Failed(LinkFailure),
}

impl From<LinkFailure> for Break {
    fn from(failure: LinkFailure) -> Self {
        Self::Failed(failure)
    }
}

/// The sending half of a link.
pub(super) struct Outgoing {
    around: Surroundings,
    /// Ordered by their numbers.
    channels: Vec<Channel>,
    /// Channels that may have a frame, and the credit for it.
    ready: ReadyChannels,
    /// The layouts described to the receiver.
    told: ToldLayouts,
    /// The place of the channel whose turn it is, if it is ready.
    next: usize,
    /// Whether the receiver has granted credit: then it runs.
    is_received: bool,
    records_out: Counter,
    frames_out: Counter,
    bytes_out: Counter,
    credit_waits: Counter,
}

impl Outgoing {
    pub(super) fn new(around: Surroundings, mut channels: Vec<Box<dyn RemoteChannel>>, window: usize) -> Self {
        channels.sort_unstable_by_key(|channel| channel.number().0);
        let open = |channel: Box<dyn RemoteChannel>| Channel {
            number: channel.number(),
            layout: channel.layout().clone(),
            packer: channel.into_packer(),
            credits: Credits::new(window),
            sequence: 0,
            records: 0,
            waits: false,
        };
        Self {
            ready: ReadyChannels::new(channels.len()),
            told: ToldLayouts::default(),
            channels: channels.into_iter().map(open).collect(),
            next: 0,
            is_received: false,
            records_out: around.counter("numRecordsOutRemote"),
            frames_out: around.counter("numBuffersOutRemote"),
            bytes_out: around.counter("numBytesOutRemote"),
            credit_waits: around.counter("numCreditWaits"),
            around,
        }
    }

    /// Connects and sends until the future is dropped; returns only on failure.
    pub(super) async fn run(mut self, address: SocketAddr, auth: Authenticator, opening: Opening) -> Result<(), LinkFailure> {
        let mut pause = CALL_AGAIN;
        let began = self.around.io.clock().now();
        let mut is_told = false;
        loop {
            let (mut reader, write) = self.connect(address, auth.clone(), opening).await?;
            let mut sender = Sender { write, writing: None, free: Some(Buffer::with_capacity(WRITE_BYTES)) };
            match poll_fn(|cx| self.poll_work(cx, &mut reader, &mut sender)).await {
                Break::Failed(failure @ LinkFailure::Unsendable(_)) => {
                    self.around.fail(failure);
                    // The connection stays until the subtasks are gone: a receiver that lost it might be heard first, and the job be restarted for nothing.
                    return pending().await;
                }
                Break::Failed(failure) => return Err(failure),
                Break::HungUp(reason) if self.is_received => return Err(reason.into()),
                Break::HungUp(reason) => tracing::debug!(%address, %reason, "hung up on before any credit came; calling again"),
            }
            drop((reader, sender));
            self.channels.iter_mut().for_each(|channel| channel.credits.forget_demand());
            self.ready.mark_all();
            let clock = self.around.io.clock();
            let waited = clock.now().since(began);
            if waited >= PATIENCE && !std::mem::replace(&mut is_told, true) {
                let peer = &self.around.peer;
                tracing::warn!(%address, %peer, ?waited, "the other worker does not take this link yet; it is called again until it does");
            }
            clock.sleep_until(clock.now().after(pause)).await;
            pause = (2 * pause).min(CALL_AGAIN_MAX);
        }
    }

    async fn connect(
        &self,
        address: SocketAddr,
        auth: Authenticator,
        opening: Opening,
    ) -> Result<(FrameReader, Box<dyn NetWrite>), String> {
        let io = &self.around.io;
        let mut failure = None;
        let calling = async {
            loop {
                match Self::call(io, address, &auth, opening).await {
                    Ok(connected) => return connected,
                    // Strangers may have pushed the caller off the doorstep: it calls again.
                    Err(reason) => failure = Some(reason),
                }
                io.clock().sleep_until(io.clock().now().after(CALL_AGAIN)).await;
            }
        };
        let connected = within(io, PATIENCE, calling).await;
        let reason = || failure.unwrap_or_else(|| format!("{address} did not answer"));
        connected.ok_or_else(|| format!("{} (tried for {PATIENCE:?})", reason()))
    }

    async fn call(
        io: &Io,
        address: SocketAddr,
        auth: &Authenticator,
        opening: Opening,
    ) -> Result<(FrameReader, Box<dyn NetWrite>), String> {
        let (mut read, mut write) = io.net().connect(address).await.map_err(|error| error.to_string())?;
        let known = auth.authenticate(&mut *read, &mut *write, Side::Caller, Purpose::Data).await;
        known.map_err(|error| format!("{address}: {error}"))?;
        write.write_all(opening.encode()).await.map_err(|error| error.to_string())?;
        Ok((FrameReader::new(read, CREDIT_BYTES_MAX), write))
    }

    fn poll_work(&mut self, cx: &mut Context<'_>, reader: &mut FrameReader, sender: &mut Sender) -> Poll<Break> {
        let broken = |around: &Surroundings, fault| Poll::Ready(Break::Failed(around.broken(&fault).into()));
        self.ready.collect(cx);
        while let Poll::Ready(heard) = reader.poll_next(cx) {
            match heard {
                Ok(Some((header, frame))) => {
                    if let Err(fault) = self.take_credit(&header, &frame[HEADER_BYTES..]) {
                        return broken(&self.around, fault);
                    }
                    reader.give(frame);
                }
                Ok(None) => return Poll::Ready(Break::HungUp("it closed the connection".to_owned())),
                Err(ReadError::Frame(fault)) => return broken(&self.around, fault),
                Err(error) => return Poll::Ready(Break::HungUp(error.to_string())),
            }
        }
        loop {
            match sender.poll_buffer(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Break::HungUp(error.to_string())),
                Poll::Ready(Ok(mut buffer)) => {
                    if let Err(failure) = self.fill(&mut buffer) {
                        return Poll::Ready(failure.into());
                    }
                    if buffer.is_empty() {
                        sender.free = Some(buffer);
                        return Poll::Pending;
                    }
                    self.bytes_out.add(buffer.len() as u64);
                    sender.send(buffer);
                }
            }
        }
    }

    fn take_credit(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<(), FrameError> {
        if header.kind != FrameKind::Credit {
            return Err(FrameError::Unexpected(header.kind));
        }
        if header.attempt != self.around.attempt {
            return Err(FrameError::Attempt { expected: self.around.attempt, found: header.attempt });
        }
        for [number, credits, window] in entries(header, payload)? {
            let place = self.channels.binary_search_by_key(&number, |channel| channel.number.0).map_err(|_| FrameError::Channel(number))?;
            let channel = &mut self.channels[place];
            self.is_received = true;
            if window > 0 {
                channel.packer.tell_window(window);
            }
            // An update of the window alone does not answer a demand.
            if credits > 0 {
                channel.waits = false;
                self.ready.mark(place);
                if !channel.credits.granted(credits) {
                    return Err(FrameError::Credit(number));
                }
            }
        }
        Ok(())
    }

    /// Puts frames into `buffer`, one per channel in turn, until it is full or no frame may be sent; channels without a frame register for more.
    fn fill(&mut self, buffer: &mut Buffer) -> Result<(), LinkFailure> {
        let mut demands = Vec::new();
        while buffer.len() < WRITE_BYTES {
            let Some(place) = self.ready.next_from(self.next) else { break };
            self.next = place + 1;
            let channel = &mut self.channels[place];
            let has_frame = channel.packer.poll_frame(&mut Context::from_waker(self.ready.waker(place)));
            if has_frame != Poll::Ready(true) {
                // The channel is woken by its next frame, or its sender is gone.
                self.ready.done(place);
                continue;
            }
            if !channel.credits.may_send() {
                // Arriving credit marks the channel.
                self.ready.done(place);
                if !std::mem::replace(&mut channel.waits, true) {
                    self.credit_waits.add(1);
                }
                if channel.credits.demand() {
                    demands.push(channel.number.0);
                }
                continue;
            }
            if channel.sequence == 0 {
                self.told.tell(&channel.layout, self.around.attempt, channel.number.0, buffer);
            }
            let carried = channel.packer.pack(self.around.attempt, channel.number.0, channel.sequence, buffer)?;
            channel.credits.sent();
            // The frame that is sent: its number, its records, and its attempt.
            let attempt = self.around.attempt.0 as i64;
            self.around.watch.tell("link.frame.out", channel.number, [channel.sequence as i64, carried.records as i64, attempt]);
            channel.sequence += 1;
            if let Some((checkpoint, before)) = carried.barrier {
                let sent = channel.records + before;
                self.around.watch.tell("link.barrier.out", channel.number, [checkpoint as i64, sent as i64, 0]);
            }
            channel.records += carried.records;
            self.records_out.add(carried.records);
            self.frames_out.add(1);
        }
        if !demands.is_empty() {
            append_entries(buffer, FrameKind::Demand, &self.around, demands.into_iter().map(|number| [number, 1, 0]));
        }
        Ok(())
    }
}

/// Bytes of an entry: channel, number of frames, window in records.
const ENTRY_BYTES: usize = 12;

/// Channel, number of frames and window of each entry of a frame of credits or demands.
pub(super) fn entries<'a>(header: &FrameHeader, payload: &'a [u8]) -> Result<impl Iterator<Item = [u32; 3]> + 'a, FrameError> {
    header.check_payload(payload)?;
    let (entries, rest) = payload.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || entries.len() != header.count as usize {
        let reason = format!("{} bytes are not {} entries", payload.len(), header.count);
        return Err(FrameError::Damaged { channel: header.channel, reason });
    }
    Ok(entries.iter().map(|entry| {
        let words = entry.as_chunks::<4>().0;
        std::array::from_fn(|word| u32::from_le_bytes(words[word]))
    }))
}

/// Appends a frame of credits or demands.
pub(super) fn append_entries(buffer: &mut Buffer, kind: FrameKind, around: &Surroundings, entries: impl Iterator<Item = [u32; 3]>) {
    let mut payload = Vec::new();
    for number in entries.flatten() {
        payload.extend_from_slice(&number.to_le_bytes());
    }
    let count = (payload.len() / ENTRY_BYTES) as u32;
    buffer.extend_from_slice(&FrameHeader { count, ..FrameHeader::new(kind, around.attempt) }.encode(&payload));
    buffer.extend_from_slice(&payload);
}

/// A writing half with at most one write under way.
pub(super) struct Sender {
    pub(super) write: Box<dyn NetWrite>,
    pub(super) writing: Option<LocalBoxFuture<Result<Buffer, IoError>>>,
    /// The buffer for the next write.
    pub(super) free: Option<Buffer>,
}

impl Sender {
    /// An empty buffer, once the previous write is done.
    pub(super) fn poll_buffer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, IoError>> {
        if let Some(writing) = &mut self.writing {
            let Poll::Ready(written) = writing.as_mut().poll(cx) else { return Poll::Pending };
            self.writing = None;
            self.free = Some(written?);
        }
        let mut buffer = self.free.take().filter(|buffer| buffer.capacity() <= BUFFER_BYTES_KEPT).unwrap_or_default();
        buffer.clear();
        Poll::Ready(Ok(buffer))
    }

    pub(super) fn send(&mut self, buffer: Buffer) {
        self.writing = Some(self.write.write_all(buffer));
    }
}

#[cfg(test)]
mod tests;
