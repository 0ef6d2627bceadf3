//! The images of one subtask's snapshots, from the barrier to the disk: made from the front to the back, and written while they are being made.
//!
//! An image is *begun* by its barrier, *grows* by what operators save, *ends* when nothing is owed, and leaves when it is written. Meanwhile a later barrier
//! may give it up: barriers come one checkpoint after the other, so a checkpoint whose image is not whole yet, or has not begun to be written, has been given
//! up by the coordinator. Images leave in the order of their barriers, those given up too: each is acknowledged or declined.
//!
//! So that state which is saved faster than it is written does not fill the memory, there is room for a few pieces only.

use crate::checkpoint::CheckpointId;
use rkyv::util::AlignedVec;
use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use thalweg_io::{Buffer, MonotonicNs};
use thalweg_storage::checkpoint::{ImageEnd, Piece, SnapshotWriter, StateSummary};

/// Pieces of an image that may wait to be written.
const PIECES_MAX: usize = 4;

/// Pieces whose memory is kept between images: one that is written, and one that grows.
const SPARE_MAX: usize = 2;

/// The state of a subtask at a barrier.
pub(crate) struct Image {
    pub(crate) checkpoint: CheckpointId,
    /// The splits in work, by number.
    pub(crate) splits: Vec<(u32, AlignedVec)>,
    /// When its barrier entered the chain, and how long the channels had waited for each other by then.
    pub(crate) begun: MonotonicNs,
    pub(crate) alignment: Duration,
    /// When the barrier had passed the chain.
    pub(crate) sealed_at: Option<MonotonicNs>,
    /// What has not been written yet.
    pieces: VecDeque<Buffer>,
    end: Option<ImageEnd>,
    /// The length of the whole image, once it has ended.
    len: Option<u64>,
    /// The states in it, from then on.
    pub(crate) states: Vec<StateSummary>,
    /// Whether that has been told.
    is_told: bool,
    is_given_up: bool,
    /// Whether that is because its state has changed too fast.
    pub(crate) is_outpaced: bool,
    /// Whether it is being written.
    is_being_written: bool,
    /// The earliest checkpoint whose image it needs; `None` if it stands alone.
    pub(crate) builds_on: Option<CheckpointId>,
}

impl Image {
    /// Whether it is still being made.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.is_given_up && self.len.is_none()
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.pieces.clear();
        self.end = None;
    }
}

/// What becomes of the oldest image.
pub(crate) enum Oldest {
    /// It has not grown to a piece yet.
    Growing,
    /// That of this checkpoint is to be written to a file; from now on it is being written.
    Write(CheckpointId),
    /// It is whole and small, and stands alone.
    Whole(Image, Buffer),
    /// It was given up.
    GivenUp(Image),
}

/// The images of one subtask, oldest first.
pub(crate) struct Images {
    images: VecDeque<Image>,
    piece_bytes: usize,
    spare: Vec<Buffer>,
    /// The write that waits for a piece.
    waker: Option<Waker>,
}

impl Images {
    pub(super) fn new(piece_bytes: usize) -> Self {
        Self { images: VecDeque::new(), piece_bytes, spare: Vec::new(), waker: None }
    }

    /// The image of the latest barrier.
    pub(super) fn newest(&mut self) -> Option<&mut Image> {
        self.images.back_mut()
    }

    pub(super) fn begin(&mut self, checkpoint: CheckpointId, now: MonotonicNs) {
        let is_over = |image: &&mut Image| image.len.is_none() || !image.is_being_written;
        self.images.iter_mut().filter(is_over).for_each(Image::give_up);
        self.images.push_back(Image {
            checkpoint,
            splits: Vec::new(),
            begun: now,
            alignment: Duration::ZERO,
            sealed_at: None,
            pieces: VecDeque::new(),
            end: None,
            len: None,
            states: Vec::new(),
            is_told: false,
            is_given_up: false,
            is_outpaced: false,
            is_being_written: false,
            builds_on: None,
        });
        self.wake();
    }

    /// Takes a piece out of the newest image, if it has grown by one.
    pub(super) fn grown(&mut self, writer: &mut SnapshotWriter) {
        if writer.rest_len() < self.piece_bytes {
            return;
        }
        let piece = writer.take(self.spare.pop().unwrap_or_default());
        if let Some(image) = self.images.back_mut().filter(|image| image.is_wanted()) {
            image.pieces.push_back(piece);
            self.wake();
        }
    }

    /// The newest image needs those of `earlier` and of later checkpoints.
    pub(super) fn build_on(&mut self, earlier: CheckpointId) {
        if let Some(image) = self.images.back_mut() {
            image.builds_on = Some(image.builds_on.map_or(earlier, |before| before.min(earlier)));
        }
    }

    /// The newest image is whole.
    pub(super) fn end(&mut self, writer: &mut SnapshotWriter) {
        let mut end = writer.finish();
        if let Some(image) = self.images.back_mut().filter(|image| image.is_wanted()) {
            image.states = mem::take(&mut end.states);
            (image.len, image.end) = (Some(end.len), Some(end));
            self.wake();
        }
    }

    /// The image of `checkpoint` is of no use, because its state has changed too fast or (`false`) cannot be encoded.
    pub(super) fn give_up(&mut self, checkpoint: CheckpointId, is_outpaced: bool) {
        for image in self.images.iter_mut().filter(|image| image.checkpoint == checkpoint) {
            image.is_outpaced = is_outpaced;
            image.give_up();
        }
        self.wake();
    }

    pub(super) fn give_up_all(&mut self) {
        self.images.iter_mut().for_each(Image::give_up);
        self.wake();
    }

    /// Whether the newest image may grow; one that was given up may, so that what is sealed for it goes.
    pub(super) fn has_room(&self) -> bool {
        self.images.back().is_none_or(|image| image.is_given_up || image.pieces.len() < PIECES_MAX)
    }

    /// The checkpoint and the length of an image that is whole, once for each.
    pub(crate) fn tell_whole(&mut self) -> Option<(CheckpointId, u64)> {
        let image = self.images.iter_mut().find(|image| image.len.is_some() && !image.is_given_up && !image.is_told)?;
        image.is_told = true;
        image.len.map(|len| (image.checkpoint, len))
    }

    /// Whether nothing is to be written or acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// What is to be done with the oldest image, if no image is being written. `inline_bytes_max`: up to this size images stay in memory.
    pub(crate) fn oldest(&mut self, inline_bytes_max: Option<usize>) -> Option<Oldest> {
        let image = self.images.front_mut()?;
        if image.is_given_up {
            return self.images.pop_front().map(Oldest::GivenUp);
        }
        let stands_alone = image.builds_on.is_none() && image.pieces.is_empty();
        let stays = stands_alone && inline_bytes_max.is_none_or(|most| image.len.is_none_or(|len| len <= most as u64));
        match image.end.take_if(|_| stays) {
            Some(end) => self.images.pop_front().map(|image| Oldest::Whole(image, end.rest)),
            None if image.end.is_none() && image.pieces.is_empty() => Some(Oldest::Growing),
            None => {
                image.is_being_written = true;
                Some(Oldest::Write(image.checkpoint))
            }
        }
    }

    /// The next piece of the oldest image, which is being written; registers for it.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let Some(image) = self.images.front_mut().filter(|image| !image.is_given_up) else { return Poll::Ready(Piece::GivenUp) };
        if let Some(piece) = image.pieces.pop_front() {
            return Poll::Ready(Piece::Part(piece));
        }
        if let Some(end) = image.end.take() {
            return Poll::Ready(Piece::End(end));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes back the memory of a piece that was written.
    pub(crate) fn give_back(&mut self, memory: Buffer) {
        // A piece may be much larger than usual: a single entry is not divided.
        if self.spare.len() < PIECES_MAX && memory.capacity() / 2 <= self.piece_bytes.next_power_of_two() {
            self.spare.push(memory);
        }
    }

    /// Takes out the oldest image, which was being written. What memory is kept till the next one does not grow with what waited for the disk.
    pub(crate) fn written(&mut self) -> Option<Image> {
        self.spare.truncate(SPARE_MAX);
        self.images.pop_front()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
