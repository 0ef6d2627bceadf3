//! Bit rot: a file at rest is damaged behind everybody's back.
//!
//! What was written and synced correctly reads differently from now on, in the page cache and on the drive. A program can only notice.

use super::SimulatedDisk;
use super::model::DiskModel;
use std::path::{Path, PathBuf};
use thalweg_io::Rng;

/// How a file is damaged. Where nothing is said, the stream of the disk decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rot {
    /// One bit is flipped: this one, counted from the lowest of the first byte.
    FlipBit(Option<u64>),
    /// The file is cut to so many bytes, which are fewer than it has.
    Truncate(Option<u64>),
}

/// What was damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The damage, everything said.
    pub rot: Rot,
}

impl SimulatedDisk {
    /// Damages one of the files whose paths `is_meant`, empty ones left out; which one, the stream of the disk decides. `None` if there is none, or
    /// the file does not reach as far as was said.
    pub fn rot(&self, is_meant: impl Fn(&Path) -> bool, rot: Rot) -> Option<Damage> {
        let state = &mut *self.state.borrow_mut();
        let files: Vec<(PathBuf, u64)> = state.model.paths().into_iter().filter(|(path, len)| *len > 0 && is_meant(path)).collect();
        if files.is_empty() {
            return None;
        }
        let (path, len) = files[state.rot_stream.below(files.len() as u64) as usize].clone();
        let (rot, name) = match rot {
            Rot::FlipBit(bit) => (Rot::FlipBit(Some(bit.unwrap_or_else(|| state.rot_stream.below(8 * len)))), "rot: bit flipped"),
            Rot::Truncate(to) => (Rot::Truncate(Some(to.unwrap_or_else(|| state.rot_stream.below(len)))), "rot: truncated"),
        };
        if !state.model.damage(&path, rot) {
            return None;
        }
        state.faults.count(name);
        Some(Damage { path, rot })
    }
}

impl DiskModel {
    /// Damages a file, everything said. `false` if it does not reach that far.
    fn damage(&mut self, path: &Path, rot: Rot) -> bool {
        self.change_at_rest(path, |content| match rot {
            Rot::FlipBit(Some(bit)) => {
                let byte = usize::try_from(bit / 8).ok().and_then(|at| content.get_mut(at));
                byte.map(|byte| *byte ^= 1 << (bit % 8)).is_some()
            }
            Rot::Truncate(Some(to)) => {
                let to = usize::try_from(to).unwrap_or(usize::MAX);
                let is_shorter = to < content.len();
                content.truncate(to);
                is_shorter
            }
            Rot::FlipBit(None) | Rot::Truncate(None) => false,
        })
    }
}
