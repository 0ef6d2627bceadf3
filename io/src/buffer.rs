//! Aligned, owned buffers for I/O.
//!
//! Each starts at a multiple of [`BUFFER_ALIGN`], which satisfies `O_DIRECT` on 4 KiB-sector disks and in-place access to rkyv archives. An
//! operation owns its buffer until it completes; buffers are never shared.

use rkyv::util::AlignedVec;
use std::cell::RefCell;
use std::rc::Rc;

/// Alignment of every [`Buffer`], in bytes.
pub const BUFFER_ALIGN: usize = 4096;

/// A growable run of bytes with an aligned start. Dereferences to its filled part.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: AlignedVec<BUFFER_ALIGN>,
}

impl Buffer {
    /// An empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: AlignedVec::with_capacity(capacity) }
    }

    /// Bytes that the buffer can hold without growing. Reads fill up to here.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends `bytes`, growing if necessary.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for `len` bytes in total.
    pub fn reserve_total(&mut self, len: usize) {
        self.bytes.reserve(len.saturating_sub(self.bytes.len()));
    }

    /// The underlying vector, to which rkyv can append an archive.
    pub fn as_aligned_mut(&mut self) -> &mut AlignedVec<BUFFER_ALIGN> {
        &mut self.bytes
    }

    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Sets the filled length; bytes added are `fill`.
    pub fn resize(&mut self, len: usize, fill: u8) {
        self.bytes.resize(len, fill);
    }

    /// The start of the memory, for the kernel to read from and write to. Moving the buffer does not move it.
    #[cfg(not(loom))]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Declares the first `len` bytes filled, which spares a read the zeroing of memory that it overwrites.
    ///
    /// # Safety
    /// The first `len` bytes have been written, and `len` is at most the capacity.
    #[cfg(not(loom))]
    pub(crate) unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        // SAFETY: as promised by the caller.
        unsafe { self.bytes.set_len(len) }
    }

    /// Keeps only the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if len < self.bytes.len() {
            self.bytes.resize(len, 0);
        }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }
}

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Buffers of one size, kept for reuse by one core. Cheap to clone; clones share the stock.
#[derive(Clone, Debug)]
pub struct BufferPool {
    size: usize,
    keep: usize,
    free: Rc<RefCell<Vec<Buffer>>>,
}

impl BufferPool {
    /// A pool of buffers of `size` bytes that keeps at most `keep` idle ones.
    #[must_use]
    pub fn new(size: usize, keep: usize) -> Self {
        Self { size, keep, free: Rc::default() }
    }

    /// An empty buffer with a capacity of at least the pool's size.
    #[must_use]
    pub fn take(&self) -> Buffer {
        self.free.borrow_mut().pop().unwrap_or_else(|| Buffer::with_capacity(self.size))
    }

    /// Returns a buffer to the pool. A buffer that is too small, or that exceeds the stock, is freed.
    pub fn give(&self, mut buffer: Buffer) {
        let mut free = self.free.borrow_mut();
        if buffer.capacity() >= self.size && free.len() < self.keep {
            buffer.clear();
            free.push(buffer);
        }
    }
}
