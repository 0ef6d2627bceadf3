//! Memory for parts of one size, cut from regions that the system may back with huge pages.
//!
//! A table of many megabytes that lies in pages of 4 KiB costs a miss of the TLB with nearly every lookup. So its parts, once there are several of the full
//! size, are chunks of regions that begin at a multiple of 2 MiB and ask for pages of that size. A region holds chunks until the table goes; chunks that were
//! given back are used again.

use memmap2::{Advice, MmapMut, MmapRaw};
use std::ptr::NonNull;

/// A huge page.
const PAGE: usize = 2 << 20;

/// The largest region.
const REGION_BYTES_MAX: usize = 32 << 20;

/// Chunks of one size.
pub(super) struct Regions {
    chunk_bytes: usize,
    /// Chunks that were asked for before memory is cut from regions: a table of a few parts is not worth a huge page.
    asked: usize,
    regions: Vec<MmapRaw>,
    /// What is left of the newest region.
    next: *mut u8,
    left: usize,
    free: Vec<NonNull<u8>>,
}

/// Smaller chunks come from the allocator: there are not enough of them for a region, unless somebody asks for small parts on purpose.
const CHUNK_LEAST: usize = 16 << 10;

/// As many chunks, those that were given back counted again, come from the allocator; all of them where accesses are checked, so that each has its bounds.
const SMALL: usize = if cfg!(every_chunk_allocated) { usize::MAX } else { 8 };

impl Regions {
    /// For chunks of `chunk_bytes`.
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self { chunk_bytes, asked: 0, regions: Vec::new(), next: std::ptr::null_mut(), left: 0, free: Vec::new() }
    }

    /// A chunk of zeros, aligned to a cache line; `None` if memory of this size has to come from the allocator, as it has where the system gives no region.
    pub(super) fn take(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        if bytes != self.chunk_bytes || bytes < CHUNK_LEAST {
            return None;
        }
        self.asked += 1;
        if self.asked <= SMALL {
            return None;
        }
        if let Some(chunk) = self.free.pop() {
            // SAFETY: it is a chunk, and nobody else's: it was given back.
            unsafe { chunk.as_ptr().write_bytes(0, self.chunk_bytes) };
            return Some(chunk);
        }
        if self.left < self.chunk_bytes {
            self.map()?;
        }
        let chunk = NonNull::new(self.next);
        self.next = self.next.wrapping_add(self.chunk_bytes);
        self.left -= self.chunk_bytes;
        chunk
    }

    /// Maps another region, twice as large as the one before.
    fn map(&mut self) -> Option<()> {
        let before = self.regions.last().map_or(PAGE, |region| region.len() - PAGE);
        let bytes = (2 * before).min(REGION_BYTES_MAX).max(self.chunk_bytes.next_multiple_of(PAGE));
        // One page more, of which the part that is not aligned is never touched.
        let region = MmapRaw::from(MmapMut::map_anon(bytes + PAGE).ok()?);
        let begin = region.as_mut_ptr().addr().next_multiple_of(PAGE) - region.as_mut_ptr().addr();
        // Without huge pages it is slower, and no worse.
        let _ = region.advise_range(Advice::HugePage, begin, bytes);
        self.next = region.as_mut_ptr().wrapping_add(begin);
        self.left = bytes;
        self.regions.push(region);
        Some(())
    }

    /// Takes a chunk back.
    ///
    /// # Safety
    /// It came from [`take`](Self::take) of these regions with this size, and nobody uses it any more.
    pub(super) unsafe fn give(&mut self, chunk: NonNull<u8>, bytes: usize) {
        debug_assert_eq!(bytes, self.chunk_bytes, "a chunk of these regions");
        self.free.push(chunk);
    }

    /// Gives one region back to the system; `false` if there is none.
    ///
    /// # Safety
    /// Nobody uses a chunk any more: slots have given theirs back, or have gone.
    pub(super) unsafe fn unmap_one(&mut self) -> bool {
        (self.next, self.left) = (std::ptr::null_mut(), 0);
        self.free.clear();
        self.regions.pop().is_some()
    }

    /// Whether there is no region.
    pub(super) fn is_unmapped(&self) -> bool {
        self.regions.is_empty()
    }
}
