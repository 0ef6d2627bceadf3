//! A reader of one snapshot, written from docs/src/formats.md alone.
//!
//! It uses nothing of the crate: what it can read, a program in another language can, with the page beside it. Where the page turns out to be too vague for
//! it, the page is mended.

/// A snapshot, taken apart.
pub struct Image {
    pub states: Vec<State>,
    pub sections: Vec<Section>,
}

pub struct State {
    pub builds_on_earlier: bool,
    /// The operator's uid, the state's name, the layouts of key and value.
    pub texts: [String; 4],
}

pub struct Section {
    pub state: usize,
    /// Its kind and two numbers.
    pub scope: [u32; 3],
    pub count: u64,
    pub content: Content,
}

pub enum Content {
    Entries(Vec<Entry>),
    /// All entries of a namespace in a range.
    Within((i64, i64), Vec<Entry>),
    Namespaces(Vec<(i64, i64)>),
    Other(Vec<u8>),
}

pub struct Entry {
    pub namespace: Option<(i64, i64)>,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

type Read<T> = Result<T, &'static str>;

/// The version of snapshots that the page describes.
const VERSION: u32 = 5;

fn check(holds: bool, what: &'static str) -> Read<()> {
    if holds { Ok(()) } else { Err(what) }
}

/// What is left to read, and how much of the snapshot was before it.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        check(length <= self.bytes.len() as u64, "a length")?;
        let (taken, bytes) = self.bytes.split_at(length as usize);
        (self.bytes, self.at) = (bytes, self.at + taken.len());
        Ok(taken)
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().unwrap()))
    }

    fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().unwrap()))
    }

    fn text(&mut self) -> Read<String> {
        let length = self.u32()?;
        String::from_utf8(self.take(length.into())?.to_vec()).map_err(|_| "UTF-8")
    }

    fn padding(&mut self) -> Read<()> {
        let zeros = self.take((self.at.next_multiple_of(16) - self.at) as u64)?;
        check(zeros.iter().all(|byte| *byte == 0), "padding")
    }
}

/// Reads a snapshot that fills `bytes`, or says what is wrong with it.
pub fn read(bytes: &[u8]) -> Read<Image> {
    let mut rest = Rest { bytes, at: 0 };
    check(rest.take(8)? == b"THALWEG\n", "the magic")?;
    check(rest.take(4)? == b"snap" && rest.u32()? == VERSION && rest.u64()? == 0 && rest.u32()? == 0, "the fields of the header")?;
    check(rest.u32()? == crc32fast::hash(&bytes[..28]), "the crc of the header")?;

    check(bytes.len() >= 64 && bytes.len().is_multiple_of(16), "the length")?;
    let footer_at = bytes.len() - 32;
    let mut footer = Rest { bytes: &bytes[footer_at..], at: footer_at };
    let (index_at, index_length, index_crc, zero) = (footer.u64()?, footer.u64()?, footer.u32()?, footer.u32()?);
    check(footer.u32()? == crc32fast::hash(&bytes[footer_at..][..24]), "the crc of the footer")?;
    check(zero == 0 && footer.bytes == b"end\n", "the end of the footer")?;
    check(index_at >= 32 && index_at <= footer_at as u64, "where the index begins")?;
    let mut behind = Rest { bytes: &bytes[index_at as usize..footer_at], at: index_at as usize };
    let mut index = Rest { bytes: behind.take(index_length)?, at: 0 };
    check(crc32fast::hash(index.bytes) == index_crc, "the crc of the index")?;
    behind.padding()?;
    check(behind.bytes.is_empty(), "the end of the index")?;

    let (state_count, section_count) = (index.u32()?, index.u32()?);
    let (mut states, mut sections): (Vec<State>, Vec<Section>) = (vec![], vec![]);
    for _ in 0..state_count {
        let builds = index.u32()?;
        check(builds <= 1, "whether a state builds on earlier snapshots")?;
        let texts = [index.text()?, index.text()?, index.text()?, index.text()?];
        check(states.iter().all(|other| other.texts[..2] != texts[..2]), "a state that is there twice")?;
        states.push(State { builds_on_earlier: builds == 1, texts });
    }
    for _ in 0..section_count {
        let (state, scope) = (index.u32()? as usize, [index.u32()?, index.u32()?, index.u32()?]);
        let (crc, zero, offset, length, count) = (index.u32()?, index.u32()?, index.u64()?, index.u64()?, index.u64()?);
        let [kind, first, last] = scope;
        let is_scope = match kind {
            0 | 3 | 4 => first <= last,
            1 => last == 0,
            _ => matches!(scope, [2 | 5, 0, 0]),
        };
        let is_second = sections.iter().any(|other| other.state == state && other.scope == scope && matches!(kind, 1 | 2 | 5));
        check(is_scope && !is_second && zero == 0 && state < states.len(), "a section")?;
        check(offset == rest.at as u64, "where a section begins")?;
        let bytes = rest.take(length)?;
        check(crc32fast::hash(bytes) == crc, "the crc of a section")?;
        rest.padding()?;
        let has_entries = !states[state].texts[3].is_empty();
        let content = match kind {
            _ if !has_entries => Content::Other(bytes.to_vec()),
            4 => {
                check(bytes.len() >= 16, "a namespace")?;
                let (namespace, bytes) = bytes.split_at(16);
                Content::Within(namespaces(namespace)?[0], entries(bytes, count)?)
            }
            5 => Content::Namespaces(namespaces(bytes)?),
            _ => Content::Entries(entries(bytes, count)?),
        };
        sections.push(Section { state, scope, count, content });
    }
    check(index.bytes.is_empty() && rest.at as u64 == index_at, "the end of the sections")?;
    Ok(Image { states, sections })
}

fn namespaces(bytes: &[u8]) -> Read<Vec<(i64, i64)>> {
    let (mut rest, mut namespaces) = (Rest { bytes, at: 0 }, vec![]);
    while !rest.bytes.is_empty() {
        namespaces.push((rest.u64()?.cast_signed(), rest.u64()?.cast_signed()));
    }
    Ok(namespaces)
}

fn entries(section: &[u8], count: u64) -> Read<Vec<Entry>> {
    let (mut rest, mut entries) = (Rest { bytes: section, at: 0 }, vec![]);
    while !rest.bytes.is_empty() {
        let flags = rest.take(1)?[0];
        let (has_namespace, is_tombstone, is_long) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        let mut length = || if is_long { rest.u32() } else { Ok(rest.take(1)?[0].into()) };
        let (key, value) = (length()?, length()?);
        check(flags <= 7 && is_long == (key >= 256 || value >= 256) && !(is_tombstone && value != 0), "flags")?;
        let namespace = if has_namespace { Some((rest.u64()?.cast_signed(), rest.u64()?.cast_signed())) } else { None };
        let (key, value) = (rest.take(key.into())?.to_vec(), rest.take(value.into())?.to_vec());
        entries.push(Entry { namespace, key, value: (!is_tombstone).then_some(value) });
    }
    check(entries.len() as u64 == count, "the number of entries")?;
    Ok(entries)
}
