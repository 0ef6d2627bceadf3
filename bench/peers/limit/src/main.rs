//! The limit: W2 and W3 as one thread without any engine, written for the machine: batches, software prefetch, one flat table, huge pages.
//! usage: peer-limit w=limit2|limit3|parts2|table|hashbrown n=30000000 keys=1000000 dist=0 runs=3 batch=512 huge=1     (one thread; p=1 only)
//! `table` and `hashbrown` are the table alone, this one and that of the standard library: the hash is given, and both are prefetched alike.
//! What an engine adds (time, partitioning, snapshots, generality) is the distance to this.
#[path = "../../common.rs"]
mod common;
use common::*;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Slot { key: u64, count: u64, sum: u64, _pad: u64 }

/// Open addressing, linear probing, at most half full; `count == 0` marks a free slot.
struct Table { slots: *mut Slot, mask: usize, len: usize, huge: bool }

impl Table {
    fn new(capacity: usize, huge: bool) -> Self {
        let bytes = capacity * std::mem::size_of::<Slot>();
        // SAFETY: an anonymous mapping of its own, zeroed by the kernel, which is a valid array of free slots.
        let slots = unsafe {
            let p = libc::mmap(std::ptr::null_mut(), bytes.max(2 << 20), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            assert!(p != libc::MAP_FAILED);
            if huge { libc::madvise(p, bytes.max(2 << 20), libc::MADV_HUGEPAGE); }
            p.cast()
        };
        Table { slots, mask: capacity - 1, len: 0, huge }
    }
    /// A hash that knows nothing of the keys, as an engine's must: dense numbers under a multiplication alone would hardly collide.
    #[inline(always)]
    fn home(&self, key: u64) -> usize { (mix(key) >> 20) as usize & self.mask }
    #[inline(always)]
    fn prefetch(&self, key: u64) {
        // SAFETY: a prefetch has no effect on memory; the index is masked.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(self.slots.add(self.home(key)).cast()) }
    }
    #[inline(always)]
    fn prefetch_at(&self, hash: u64) {
        // SAFETY: as above.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(self.slots.add((hash >> 20) as usize & self.mask).cast()) }
    }
    #[inline(always)]
    fn slot(&mut self, key: u64) -> &mut Slot { self.slot_at(mix(key), key) }
    #[inline(always)]
    fn slot_at(&mut self, hash: u64, key: u64) -> &mut Slot {
        let mut at = (hash >> 20) as usize & self.mask;
        loop {
            // SAFETY: the index is masked by the capacity.
            let s = unsafe { &mut *self.slots.add(at) };
            if s.count == 0 { self.len += 1; s.key = key; return s; }
            if s.key == key { return s; }
            at = (at + 1) & self.mask;
        }
    }
    fn reserve(&mut self, more: usize) {
        if (self.len + more) * 2 <= self.mask + 1 { return; }
        let mut next = Table::new((self.mask + 1) * 2, self.huge);
        self.each(|s| *next.slot(s.key) = *s);
        std::mem::swap(self, &mut next);
    }
    fn each(&self, mut f: impl FnMut(&Slot)) {
        // SAFETY: every index is below the capacity.
        for i in 0..=self.mask { let s = unsafe { &*self.slots.add(i) }; if s.count != 0 { f(s) } }
    }
}
impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, with the same length.
        unsafe { libc::munmap(self.slots.cast(), ((self.mask + 1) * std::mem::size_of::<Slot>()).max(2 << 20)); }
    }
}

fn limit2(n: u64, zipf: bool, keys: u64, batch: usize, huge: bool) {
    let mut acc = Acc::new();
    let mut table = Table::new(1 << 12, huge);
    let mut bids = Vec::with_capacity(batch);
    let mut i = 0;
    while i < n {
        bids.clear();
        table.reserve(batch);
        while bids.len() < batch && i < n { let b = std::hint::black_box(bid(i, zipf, keys)); table.prefetch(b.auction); bids.push(b); i += 1; }
        for b in &bids {
            let s = table.slot(b.auction);
            s.count += 1; s.sum += b.price;
            acc.n += 1; let x = h_a(b.auction, s.count); acc.a = acc.a.wrapping_add(x); acc.f = acc.f.wrapping_add(mix(x ^ s.sum));
        }
    }
}

fn limit3(n: u64, batch: usize, huge: bool) {
    let mut acc = Acc::new();
    let mut open: Vec<(i64, Table)> = Vec::new(); // few windows are open at a time
    let (mut max_ts, mut bids, mut i) = (i64::MIN, Vec::with_capacity(batch), 0);
    let mut fire = |open: &mut Vec<(i64, Table)>, watermark: i64| {
        open.retain(|(end, t)| if end - 1 <= watermark { t.each(|s| { acc.n += 1; acc.a = acc.a.wrapping_add(h_w(s.key, *end as u64, s.count, s.sum)); }); false } else { true });
    };
    while i < n {
        bids.clear();
        while bids.len() < batch && i < n {
            let b = std::hint::black_box(bid(i, false, 1_000_000));
            let (key, end) = (b.auction % 100_000, b.ts.div_euclid(10_000) * 10_000 + 10_000);
            let w = match open.iter().position(|o| o.0 == end) { Some(w) => w, None => { open.push((end, Table::new(1 << 18, huge))); open.len() - 1 } };
            open[w].1.prefetch(key);
            bids.push((w, key, b)); i += 1;
        }
        for (w, key, b) in &bids { let s = open[*w].1.slot(*key); s.count += 1; s.sum += b.price; max_ts = max_ts.max(b.ts); }
        fire(&mut open, max_ts - 2001);
    }
    fire(&mut open, i64::MAX);
}

fn check(acc: &mut Acc, key: u64, count: u64, sum: u64) {
    acc.n += 1; let x = h_a(key, count); acc.a = acc.a.wrapping_add(x); acc.f = acc.f.wrapping_add(mix(x ^ sum));
}

/// The table alone: a key's hash is given, its count and sum are changed.
fn table(n: u64, keys: u64, batch: usize, huge: bool) {
    let mut table = Table::new(1 << 12, huge);
    let mut ahead = Vec::with_capacity(batch);
    let mut i = 0;
    while i < n {
        ahead.clear();
        table.reserve(batch);
        while ahead.len() < batch && i < n { let x = sm(i); let key = ((x >> 32) * keys) >> 32; let hash = mix(key); table.prefetch_at(hash); ahead.push((hash, key, x & 0xffff)); i += 1; }
        for (hash, key, add) in &ahead { let s = table.slot_at(*hash, *key); s.count += 1; s.sum += add; }
    }
    let mut acc = Acc::new();
    table.each(|s| check(&mut acc, s.key, s.count, s.sum));
}

/// The same with hashbrown, its memory in huge pages, too. What a search touches first is prefetched by a search for nothing.
fn hashbrown_table(n: u64, keys: u64, batch: usize, huge: bool) {
    let mut table = hashbrown::HashTable::new_in(pages::Pages { huge });
    let mut ahead = Vec::with_capacity(batch);
    let mut i = 0;
    while i < n {
        ahead.clear();
        while ahead.len() < batch && i < n { let x = sm(i); let key = ((x >> 32) * keys) >> 32; ahead.push((mix(key), key, x & 0xffff)); i += 1; }
        for group in ahead.chunks(32) {
            for (hash, key, _) in group { std::hint::black_box(table.find(*hash, |s: &(u64, u64, u64)| s.0 == *key).is_some()); }
            for (hash, key, add) in group {
                let s = table.entry(*hash, |s| s.0 == *key, |s| mix(s.0)).or_insert((*key, 0, 0)).into_mut();
                s.1 += 1; s.2 += add;
            }
        }
    }
    let mut acc = Acc::new();
    table.iter().for_each(|s| check(&mut acc, s.0, s.1, s.2));
}

/// Memory of tables: each in a mapping of its own, in huge pages if there are any.
mod pages {
    use allocator_api2::alloc::{AllocError, Allocator};
    use std::alloc::Layout;
    use std::ptr::NonNull;
    const PAGE: usize = 2 << 20;
    #[derive(Clone, Copy)]
    pub struct Pages { pub huge: bool }
    // SAFETY: an anonymous mapping is aligned to more than any layout here asks for, and lives until it is unmapped with the same length.
    unsafe impl Allocator for Pages {
        fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            let bytes = layout.size().next_multiple_of(PAGE);
            // SAFETY: a new mapping of its own. Where the system does not align it to huge pages, the ends are in small ones.
            unsafe {
                let p = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
                if p == libc::MAP_FAILED { return Err(AllocError); }
                if self.huge { libc::madvise(p, bytes, libc::MADV_HUGEPAGE); }
                Ok(NonNull::slice_from_raw_parts(NonNull::new(p.cast()).ok_or(AllocError)?, layout.size()))
            }
        }
        unsafe fn deallocate(&self, p: NonNull<u8>, layout: Layout) {
            // SAFETY: what `allocate` mapped, with the same length.
            unsafe { libc::munmap(p.as_ptr().cast(), layout.size().next_multiple_of(PAGE)); }
        }
    }
}

/// W2 in parts of at most 4,096 entries behind a directory that doubles, an epoch tag in the stored hash, huge regions.
/// An epoch ends every `epoch` events; the first touch of an entry in an epoch is counted, as if its old value were saved aside.
mod parts {
    use super::*;
    const SLOTS: usize = 8192;
    const FULL: u32 = 4096;
    const TAG: u64 = 0xff << 32;
    #[derive(Clone, Copy)]
    #[repr(C, align(32))]
    struct Slot { hash: u64, key: u64, count: u64, sum: u64 }
    struct Part { slots: *mut Slot, len: u32, depth: u32 }
    pub struct Store { directory: Vec<u32>, depth: u32, parts: Vec<Part>, region: *mut u8, left: usize, huge: bool, free: Vec<*mut Slot> }
    #[inline(always)]
    fn at(hash: u64) -> usize { (hash >> 40) as usize & (SLOTS - 1) }
    impl Store {
        pub fn new(huge: bool) -> Self {
            let mut s = Store { directory: vec![0], depth: 0, parts: vec![], region: std::ptr::null_mut(), left: 0, huge, free: vec![] };
            let slots = s.slots(); s.parts.push(Part { slots, len: 0, depth: 0 }); s
        }
        fn slots(&mut self) -> *mut Slot {
            let bytes = SLOTS * std::mem::size_of::<Slot>();
            if let Some(p) = self.free.pop() { unsafe { std::ptr::write_bytes(p, 0, SLOTS) }; return p; }
            if self.left < bytes {
                // SAFETY: an anonymous mapping, zeroed; aligned to 2 MiB by over-allocating.
                unsafe {
                    let p = libc::mmap(std::ptr::null_mut(), 34 << 20, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
                    assert!(p != libc::MAP_FAILED);
                    let a = (p as usize + (2 << 20) - 1) & !((2 << 20) - 1);
                    if self.huge { libc::madvise(a as *mut _, 32 << 20, libc::MADV_HUGEPAGE); }
                    self.region = a as *mut u8; self.left = 32 << 20;
                }
            }
            let p = self.region; self.left -= bytes;
            // SAFETY: inside the region.
            self.region = unsafe { p.add(bytes) };
            p.cast()
        }
        #[inline(always)]
        fn part(&self, hash: u64) -> usize {
            // SAFETY: the directory has 2^depth entries, each the number of a part.
            unsafe { *self.directory.get_unchecked(((hash & 0xffff_ffff) >> (32 - self.depth)) as usize) as usize }
        }
        #[inline(always)]
        pub fn prefetch(&self, hash: u64) {
            // SAFETY: a prefetch has no effect on memory.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(self.parts.get_unchecked(self.part(hash)).slots.add(at(hash)).cast()) }
        }
        #[inline(always)]
        pub fn add(&mut self, hash: u64, key: u64, price: u64, epoch: u64, touched: &mut u64) -> (u64, u64) {
            let (h, tag) = ((hash & !TAG) | 1, (epoch & 0xff) << 32);
            loop {
                let id = self.part(hash);
                // SAFETY: as above.
                let part = unsafe { self.parts.get_unchecked_mut(id) };
                let mut i = at(hash);
                // SAFETY: the index is masked; a part is at most half full, so a free slot ends the search.
                unsafe {
                    loop {
                        let s = &mut *part.slots.add(i);
                        if s.hash & !TAG == h && s.key == key {
                            if s.hash & TAG != tag { *touched += 1; s.hash = h | tag; }
                            s.count += 1; s.sum += price; return (s.count, s.sum);
                        }
                        if s.hash == 0 {
                            if part.len == FULL { break; }
                            part.len += 1; *s = Slot { hash: h | tag, key, count: 1, sum: price }; *touched += 1; return (1, price);
                        }
                        i = (i + 1) & (SLOTS - 1);
                    }
                }
                self.split(id, hash);
            }
        }
        #[cold]
        fn split(&mut self, id: usize, hash: u64) {
            if self.parts[id].depth == self.depth { self.directory = self.directory.iter().flat_map(|d| [*d, *d]).collect(); self.depth += 1; }
            let (old, depth) = (self.parts[id].slots, self.parts[id].depth + 1);
            let (a, b) = (self.slots(), self.slots());
            let (mut na, mut nb) = (0, 0);
            for i in 0..SLOTS {
                // SAFETY: masked indices of arrays of SLOTS.
                unsafe {
                    let s = *old.add(i); if s.hash == 0 { continue; }
                    let full = mix(s.key);
                    let up = (full & 0xffff_ffff) >> (32 - depth) & 1 == 1;
                    let t = if up { nb += 1; b } else { na += 1; a };
                    let mut j = at(full); while (*t.add(j)).hash != 0 { j = (j + 1) & (SLOTS - 1); } *t.add(j) = s;
                }
            }
            self.free.push(old);
            self.parts[id] = Part { slots: a, len: na, depth };
            let new = self.parts.len() as u32; self.parts.push(Part { slots: b, len: nb, depth });
            let span = 1usize << (self.depth - depth);
            let first = (((hash & 0xffff_ffff) >> (32 - depth)) as usize) * span;
            let upper = (first / span | 1) * span;
            for d in &mut self.directory[upper..upper + span] { *d = new; }
            let lower = (first / span & !1) * span;
            for d in &mut self.directory[lower..lower + span] { *d = id as u32; }
        }
        pub fn parts(&self) -> usize { self.parts.len() }
    }
}

fn parts2(n: u64, zipf: bool, keys: u64, batch: usize, huge: bool, epoch_events: u64) {
    let mut acc = Acc::new();
    let mut store = parts::Store::new(huge);
    let (mut bids, mut i, mut epoch, mut touched) = (Vec::with_capacity(batch), 0, 1u64, 0u64);
    while i < n {
        bids.clear();
        while bids.len() < batch && i < n { let b = std::hint::black_box(bid(i, zipf, keys)); let h = mix(b.auction); store.prefetch(h); bids.push((h, b)); i += 1; }
        for (h, b) in &bids {
            let (count, sum) = store.add(*h, b.auction, b.price, epoch, &mut touched);
            acc.n += 1; let x = h_a(b.auction, count); acc.a = acc.a.wrapping_add(x); acc.f = acc.f.wrapping_add(mix(x ^ sum));
        }
        if i / epoch_events >= epoch { epoch += 1; }
    }
    eprintln!("parts {} epochs {} first touches {}", store.parts(), epoch, touched);
}

fn main() {
    let o = Opts::from_args();
    let (w, zipf, keys) = (o.s("w", "limit2"), o.u("dist", 0) == 1, o.u("keys", 1_000_000));
    let (batch, huge) = (o.u("batch", 512) as usize, o.u("huge", 1) == 1);
    bench("limit", &o, |n| if w == "table" { table(n, keys, batch, huge) } else if w == "hashbrown" { hashbrown_table(n, keys, batch, huge) } else if w == "parts2" { parts2(n, zipf, keys, batch, huge, o.u("epoch", 1 << 40)) } else if w == "limit3" { limit3(n, batch, huge) } else { limit2(n, zipf, keys, batch, huge) });
}
