//! XXH3-64 of at most 16 bytes, held in a register.
//!
//! Most keys are this short. The library hashes memory: a key put together on the stack and read back at once in other widths stalls on
//! store forwarding, which costs three times the hash itself. This is the same function (XXH3, seed 0, default secret; specification:
//! github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, "XXH3 for small inputs") on a `u128` that holds the bytes little-endian. Property tests compare
//! it with the library for every length.

/// The most bytes a word holds.
pub(super) const WORD_BYTES: usize = 16;

/// Taken from XXH3's default secret, each the exclusive or of the two words that the specification combines.
const FLIP_1_TO_3: u64 = 0x87275a9b;
const FLIP_4_TO_8: u64 = 0xc73ab174c5ecd5a2;
const FLIP_9_TO_16_LOW: u64 = 0x6782737bea4239b9;
const FLIP_9_TO_16_HIGH: u64 = 0xaf56bc3b0996523a;
const HASH_OF_NOTHING: u64 = 0x2d06800538d394c2;

const PRIME64_2: u64 = 0xC2B2AE3D27D4EB4F;
const PRIME64_3: u64 = 0x165667B19E3779F9;
const PRIME_MX1: u64 = 0x165667919E3779F9;
const PRIME_MX2: u64 = 0x9FB21C651E98DF25;

/// At most 16 bytes as a little-endian number, the rest zero. Two overlapping loads, never a loop.
#[inline]
pub(super) fn load(bytes: &[u8]) -> u128 {
    debug_assert!(bytes.len() <= WORD_BYTES);
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (len - 8));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u128::from(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4)));
    }
    match bytes {
        [] => 0,
        [a] => u128::from(*a),
        [a, b] => u128::from(u16::from_le_bytes([*a, *b])),
        [a, b, c, ..] => u128::from(u32::from_le_bytes([*a, *b, *c, 0])),
    }
}

/// Whether one of the first `len` bytes is zero.
#[inline]
pub(super) fn has_zero(word: u128, len: usize) -> bool {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let filled = word | u128::MAX.checked_shl(8 * len as u32).unwrap_or(0);
    let zeros = |half: u64| half.wrapping_sub(LOW_BITS) & !half & HIGH_BITS;
    (zeros(filled as u64) | zeros((filled >> 64) as u64)) != 0
}

/// The hash of the first `len` bytes, `len` being at most 16; the bytes from `len` on are zero.
#[inline]
pub(super) fn xxh3_64_word(word: u128, len: usize) -> u64 {
    debug_assert!(len <= WORD_BYTES);
    let length = len as u64;
    match len {
        9.. => {
            let low = word as u64 ^ FLIP_9_TO_16_LOW;
            let high = (word >> (8 * (len - 8))) as u64 ^ FLIP_9_TO_16_HIGH;
            let product = u128::from(low) * u128::from(high);
            let folded = product as u64 ^ (product >> 64) as u64;
            let sum = length.wrapping_add(low.swap_bytes()).wrapping_add(high).wrapping_add(folded);
            let mixed = (sum ^ (sum >> 37)).wrapping_mul(PRIME_MX1);
            mixed ^ (mixed >> 32)
        }
        4..=8 => {
            let first = word as u64 & 0xFFFF_FFFF;
            let last = (word as u64 >> (8 * (len - 4))) & 0xFFFF_FFFF;
            let keyed = last.wrapping_add(first << 32) ^ FLIP_4_TO_8;
            let mixed = (keyed ^ keyed.rotate_left(49) ^ keyed.rotate_left(24)).wrapping_mul(PRIME_MX2);
            let mixed = (mixed ^ (mixed >> 35).wrapping_add(length)).wrapping_mul(PRIME_MX2);
            mixed ^ (mixed >> 28)
        }
        1..=3 => {
            let byte = |place: usize| (word as u64 >> (8 * place)) & 0xFF;
            let keyed = (byte(0) << 16 | byte(len / 2) << 24 | byte(len - 1) | length << 8) ^ FLIP_1_TO_3;
            let mixed = (keyed ^ (keyed >> 33)).wrapping_mul(PRIME64_2);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(PRIME64_3);
            mixed ^ (mixed >> 32)
        }
        0 => HASH_OF_NOTHING,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::{has_zero, load, xxh3_64_word};

    #[test]
    fn nothing_hashes_as_in_the_library() {
        assert_eq!(xxh3_64_word(0, 0), xxh3_64(&[]));
    }

    proptest! {
        #[test]
        fn a_word_hashes_as_in_the_library(bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..=16)) {
            let word = load(&bytes);
            prop_assert_eq!(&word.to_le_bytes()[..bytes.len()], &bytes[..]);
            prop_assert_eq!(xxh3_64_word(word, bytes.len()), xxh3_64(&bytes));
            prop_assert_eq!(has_zero(word, bytes.len()), bytes.contains(&0));
        }
    }
}
