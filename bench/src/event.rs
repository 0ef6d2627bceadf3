//! The event `bid(i)` of `bench/workloads.md`: the same numbers in every engine.

use thalweg::Record;

const G: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64.
#[inline(always)]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[inline(always)]
pub fn sm(n: u64) -> u64 {
    mix(n.wrapping_add(1).wrapping_mul(G))
}

#[inline(always)]
pub fn r32(x: u64, n: u64) -> u64 {
    (x * n) >> 32
}

/// A bid in an auction.
#[derive(Clone, Debug, Record)]
pub struct Bid {
    /// The key of the workloads.
    pub auction: u64,
    /// Who bids.
    pub bidder: u64,
    /// How much.
    pub price: u64,
    /// Where.
    pub channel: u32,
    /// When, in milliseconds; up to 2 s out of order.
    pub ts: i64,
}

/// The `i`-th bid.
#[inline(always)]
pub fn bid(i: u64, skewed: bool, keys: u64) -> Bid {
    let (r0, r1) = (sm(2 * i), sm(2 * i + 1));
    let auction = if skewed {
        let e = r32(r0 >> 32, 20);
        (1u64 << e) + (mix(r0) & ((1u64 << e) - 1))
    } else {
        r32(r0 >> 32, keys)
    };
    let jitter = (((r1 >> 16) & 0xffff) * 2000) >> 16;
    Bid {
        auction,
        bidder: r32(r0 & 0xffff_ffff, 1_000_000),
        price: 1 + r32(r1 >> 32, 10_000_000),
        channel: r32(r1 & 0xffff_ffff, 10_000) as u32,
        ts: (i / 1000 + 1999 - jitter) as i64,
    }
}

/// The check value of a key and a count.
#[inline(always)]
pub fn h_a(key: u64, count: u64) -> u64 {
    mix(mix(key.wrapping_add(G)).wrapping_add(count))
}

/// The check value of a key, a count and a sum.
#[inline(always)]
pub fn h_f(key: u64, count: u64, sum: u64) -> u64 {
    mix(h_a(key, count) ^ sum)
}

/// The check value of a window's result.
#[inline(always)]
pub fn h_w(key: u64, end: u64, count: u64, sum: u64) -> u64 {
    mix(mix(mix(mix(key.wrapping_add(G)).wrapping_add(end)).wrapping_add(count)) ^ sum)
}
