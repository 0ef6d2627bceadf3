//! What a power loss leaves: the decision about each unsynced piece.
//!
//! The pieces of a disk are numbered: first the changes of names that no sync has covered, in their order, then file by file its unsynced length
//! and each page that unsynced writes touch. A random crash decides about each alone (half of the random crashes keep the order of names, as a
//! journal does); [`CrashStyle::Subset`] names the survivors, so that a test can go through all of them, and a found one can be made simpler.

use super::faults::FaultCounts;
use crate::rng::Draw;
use thalweg_io::Rng;

/// What the page cache writes back as one, in bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// What a drive writes atomically, in bytes.
pub(crate) const SECTOR_BYTES: usize = 512;

pub(super) const SECTORS_PER_PAGE: usize = PAGE_BYTES / SECTOR_BYTES;

/// What a crash does to everything that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashStyle {
    /// All of it is lost.
    LoseUnsynced,
    /// All of it survives: the kindest crash, and the same as the death of the process alone.
    KeepUnsynced,
    /// Each piece has a fate of its own: kept, lost, torn between two of its writes or within a page, or garbage.
    Random,
    /// Piece `n` survives whole if bit `n` is set, and is lost otherwise. Pieces from 64 on are lost.
    Subset(u64),
}

/// What became of the unsynced writes to a sector: the first `arrived` of them are there, or garbage is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) arrived: usize,
    pub(super) garbage: bool,
}

/// Decides.
pub(super) struct Survival<'a> {
    style: CrashStyle,
    rng: &'a mut dyn Rng,
    tally: &'a mut FaultCounts,
    next_piece: u32,
    /// The last change of names that survives, if they survive in order.
    last_in_order: Option<u64>,
    names_per_mille: u32,
}

impl<'a> Survival<'a> {
    /// Decides about a disk whose unsynced changes of names have the numbers `names`.
    pub(super) fn new(style: CrashStyle, rng: &'a mut dyn Rng, tally: &'a mut FaultCounts, names: &[u64]) -> Self {
        let last_in_order = rng.chance(500).then(|| names.get(rng.below(names.len() as u64 + 1) as usize).copied().unwrap_or(0));
        let names_per_mille = rng.pick(&[200, 500, 800]);
        Self { style, rng, tally, next_piece: 0, last_in_order, names_per_mille }
    }

    pub(super) fn style(&self) -> CrashStyle {
        self.style
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.tally.entry(name).or_default() += 1;
    }

    pub(super) fn rng(&mut self) -> &mut dyn Rng {
        self.rng
    }

    /// Whether the next piece is in the subset, if there is one.
    fn subset(&mut self) -> Option<bool> {
        let CrashStyle::Subset(survivors) = self.style else { return None };
        let piece = self.next_piece;
        self.next_piece += 1;
        Some(survivors.checked_shr(piece).is_some_and(|rest| rest & 1 == 1))
    }

    /// Whether the change of names with the number `seq` survives. Asked in their order.
    pub(super) fn keeps_name(&mut self, seq: u64) -> bool {
        let kept = self.subset().unwrap_or_else(|| match self.style {
            CrashStyle::LoseUnsynced | CrashStyle::Subset(_) => false,
            CrashStyle::KeepUnsynced => true,
            CrashStyle::Random => self.last_in_order.map_or_else(|| self.rng.chance(self.names_per_mille), |last| seq <= last),
        });
        self.count(if kept { "crash: name kept" } else { "crash: name lost" });
        kept
    }

    /// How many of a file's unsynced writes its length has heard of.
    pub(super) fn lengths(&mut self, writes: usize) -> usize {
        match (self.subset(), self.style) {
            (Some(true), _) => writes,
            (None, CrashStyle::Random) => self.rng.between(0, writes as u64) as usize,
            _ => 0,
        }
    }

    /// The fates of the sectors of a page that some of a file's `writes` touch.
    pub(super) fn page(&mut self, writes: usize) -> [Fate; SECTORS_PER_PAGE] {
        let lost = Fate { arrived: 0, garbage: false };
        let kept = Fate { arrived: writes, garbage: false };
        let garbage = Fate { arrived: 0, garbage: true };
        let (name, fates) = match (self.subset(), self.style) {
            (Some(true), _) => ("crash: page kept", [kept; SECTORS_PER_PAGE]),
            (None, CrashStyle::Random) => match self.rng.below(8) {
                0..=2 => ("crash: page kept", [kept; SECTORS_PER_PAGE]),
                3..=4 => ("crash: page lost", [lost; SECTORS_PER_PAGE]),
                5 => {
                    let between = Fate { arrived: self.rng.between(0, writes as u64) as usize, garbage: false };
                    ("crash: page written back between two writes", [between; SECTORS_PER_PAGE])
                }
                6 => ("crash: page torn", std::array::from_fn(|_| self.rng.pick(&[lost, kept, kept, garbage]))),
                _ => ("crash: page garbage", [garbage; SECTORS_PER_PAGE]),
            },
            _ => ("crash: page lost", [lost; SECTORS_PER_PAGE]),
        };
        self.count(name);
        fates
    }
}
