//! The layouts of records, described in words before the first record.
//!
//! The header of a frame holds the fingerprint of its records' layout. Before the first frame of a layout the sender describes that layout in words
//! ([`FrameKind::Layout`]), once per connection: if the two ends disagree, the receiver can name both. Bytes of another layout can pass rkyv's check and
//! still be wrong.

use thalweg_io::Buffer;
use thalweg_kernel::checkpoint::Attempt;
use thalweg_kernel::record::{Layout, LayoutFingerprint};
use thalweg_kernel::worker::{FrameError, FrameHeader, FrameKind, HEADER_BYTES};

/// The layouts described on one connection.
#[derive(Default)]
pub(super) struct ToldLayouts {
    told: Vec<Layout>,
}

impl ToldLayouts {
    /// The layout with this fingerprint, if it was described.
    fn find(&self, fingerprint: LayoutFingerprint) -> Option<&Layout> {
        self.told.iter().find(|layout| layout.fingerprint() == fingerprint)
    }

    /// Appends the description of `layout` to `out`, unless it has been sent. `channel` is the first channel whose records have it.
    pub(super) fn tell(&mut self, layout: &Layout, attempt: Attempt, channel: u32, out: &mut Buffer) {
        if self.find(layout.fingerprint()).is_none() {
            self.told.push(layout.clone());
            let layout_number = layout.fingerprint().as_u64();
            let header = FrameHeader { channel, layout: layout_number, ..FrameHeader::new(FrameKind::Layout, attempt) };
            out.extend_from_slice(&header.encode(layout.text().as_bytes()));
            out.extend_from_slice(layout.text().as_bytes());
        }
    }

    /// Takes the description that a frame holds. At most `most` layouts are allowed.
    pub(super) fn hear(&mut self, header: &FrameHeader, frame: &Buffer, most: usize) -> Result<(), FrameError> {
        let text = &frame[HEADER_BYTES..];
        header.check_payload(text)?;
        let damaged = |reason: &str| FrameError::Damaged { channel: header.channel, reason: reason.to_owned() };
        let layout = Layout::described(str::from_utf8(text).map_err(|_| damaged("a layout is no text"))?);
        if layout.fingerprint().as_u64() != header.layout {
            return Err(damaged("a layout has another fingerprint than its frame says"));
        }
        if self.told.len() == most {
            return Err(damaged("more layouts are told than there are channels"));
        }
        self.told.push(layout);
        Ok(())
    }

    /// Compares the layout of a frame of records with the layout that is `expected` on its channel.
    pub(super) fn check(&self, header: &FrameHeader, expected: &Layout) -> Result<(), FrameError> {
        if header.layout == expected.fingerprint().as_u64() {
            return Ok(());
        }
        let found = LayoutFingerprint::from_u64(header.layout);
        let found =
            self.find(found).map_or_else(|| format!("which nobody has told (fingerprint {found})"), |layout| layout.text().to_owned());
        Err(FrameError::Layout { channel: header.channel, expected: expected.text().to_owned(), found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records_of(layout: &Layout) -> FrameHeader {
        FrameHeader { channel: 5, layout: layout.fingerprint().as_u64(), ..FrameHeader::new(FrameKind::Records, Attempt(1)) }
    }

    /// The frames that the sender writes for `layouts`, in order.
    fn told(layouts: &[&Layout]) -> Vec<(FrameHeader, Buffer)> {
        let (mut sender, mut frames) = (ToldLayouts::default(), Vec::new());
        for layout in layouts {
            let mut out = Buffer::default();
            sender.tell(layout, Attempt(1), 5, &mut out);
            if let Some(header) = out.first_chunk() {
                frames.push((FrameHeader::decode(header).unwrap(), out));
            }
        }
        frames
    }

    #[test]
    fn two_schemas_of_one_record_type_are_refused_with_both_texts() {
        let [sent, expected] = ["row{id:u64,}", "row{id:u64,name:string,}"].map(Layout::described);
        let frames = told(&[&sent, &expected, &sent]);
        assert_eq!(frames.len(), 2, "each is told once");
        let mut receiver = ToldLayouts::default();
        for (header, frame) in &frames {
            receiver.hear(header, frame, 2).unwrap();
        }
        assert_eq!(receiver.check(&records_of(&expected), &expected), Ok(()));
        let refused = receiver.check(&records_of(&sent), &expected).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the records of channel 5 have the layout row{id:u64,} and are expected with row{id:u64,name:string,}: run the same build, with the same \
             schemas, everywhere"
        );
    }

    #[test]
    fn a_layout_that_nobody_has_told_is_refused_by_its_number() {
        let refused = ToldLayouts::default().check(&records_of(&Layout::of::<u64>()), &Layout::of::<i64>()).unwrap_err();
        let number = Layout::of::<u64>().fingerprint().to_string();
        assert!(matches!(refused, FrameError::Layout { found, .. } if found.contains(&number)));
    }

    #[test]
    fn words_that_do_not_fit_their_number_and_more_of_them_than_channels_are_refused() {
        let layout = Layout::of::<u64>();
        let (header, frame) = told(&[&layout]).remove(0);
        let mut receiver = ToldLayouts::default();
        assert!(receiver.hear(&FrameHeader { layout: 1, ..header }, &frame, 1).is_err());
        let mut flipped = Buffer::from(&frame[..]);
        flipped[HEADER_BYTES] ^= 1;
        assert!(receiver.hear(&header, &flipped, 1).is_err());
        assert_eq!(receiver.hear(&header, &frame, 1), Ok(()));
        assert!(receiver.hear(&header, &frame, 1).is_err(), "there is one channel");
    }
}
