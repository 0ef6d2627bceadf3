//! Detects whether two processes run the same program. Whether they have built the same job, the fingerprint of its plan tells (`plan.rs`).
//!
//! Deployments name tasks, edges and operators by number, and frames are read in place: both need the same graph, down to the layouts of the records.
//! Neither fingerprint is a security measure: a process that knows the secret may lie.

use std::path::Path;
use thalweg_io::{Buffer, Io, IoError, OpenMode};
use xxhash_rust::xxh3::Xxh3;

/// The running program, as the kernel shows it, even if its file has been replaced since.
const EXECUTABLE: &str = "/proc/self/exe";

/// Bytes per read: a program of 100 MB takes a hundred reads.
const BLOCK_BYTES: usize = 1 << 20;

/// The fingerprint of the running program: the XXH3-64 of its file.
///
/// # Errors
/// If it cannot be read.
pub async fn binary_fingerprint(io: &Io) -> Result<u64, IoError> {
    fingerprint_of(io, Path::new(EXECUTABLE)).await
}

async fn fingerprint_of(io: &Io, path: &Path) -> Result<u64, IoError> {
    let file = io.disk().open(path, OpenMode::Read).await?;
    let mut hash = Xxh3::new();
    let mut block = Buffer::with_capacity(BLOCK_BYTES);
    let mut offset = 0;
    loop {
        block = file.read_at(offset, block).await?;
        if block.is_empty() {
            return Ok(hash.digest());
        }
        hash.update(&block);
        offset += block.len() as u64;
        thalweg_io::yield_now().await;
    }
}
