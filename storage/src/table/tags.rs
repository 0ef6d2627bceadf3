//! The tags of entries, which say in which epoch of their table they were last changed, as the remainder of a division.

use super::slots::Tag;
use std::num::NonZeroU8;

/// The tag of entries that were changed so long ago that nobody asks when.
pub(super) const OLDER: Tag = Tag::new(NonZeroU8::MIN);

/// The numbers of tags that count epochs: all but 0, which free slots have, and that of [`OLDER`].
const EPOCH_TAGS: u32 = 254;

/// The tag of entries that are changed in this epoch.
pub(super) fn tag_of(epoch: u32) -> Tag {
    let number = u8::try_from(2 + epoch % EPOCH_TAGS).ok().and_then(NonZeroU8::new);
    Tag::new(number.expect("invariant: between 2 and 255"))
}

/// The epoch in which entries with this tag were last changed; `None` if that was so long ago that nobody asks.
pub(super) fn epoch_of(tag: Tag, now: u32) -> Option<u32> {
    let remainder = u32::from(tag.number()).checked_sub(2)?;
    now.checked_sub((now % EPOCH_TAGS + EPOCH_TAGS - remainder) % EPOCH_TAGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_its_epoch_for_as_long_as_it_has_not_come_round() {
        for now in [0, 1, 5, 253, 254, 255, 508, 1000] {
            for ago in 0..254.min(now + 1) {
                assert_eq!(epoch_of(tag_of(now - ago), now), Some(now - ago));
            }
            assert_eq!(epoch_of(OLDER, now), None);
        }
        assert_eq!(epoch_of(tag_of(300), 554), Some(554), "it has come round");
    }
}
