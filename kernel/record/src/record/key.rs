//! Keys: the canonical bytes of a record, their order and their hash.
//!
//! [`Key::encode`] writes bytes whose lexicographic order is the order of the values and of which none is a prefix of another's, so that they
//! can be concatenated and stored in an ordered table. [`Key::hash`] is the XXH3-64 of exactly these bytes: it decides the key group, which
//! is stored, so neither may ever change.
//!
//! | type | bytes |
//! | --- | --- |
//! | unsigned, `char` | big-endian |
//! | signed | big-endian, sign bit flipped |
//! | `bool` | one byte, 0 or 1 |
//! | `String` | UTF-8 with `00` written as `00 FF`, then `00 00` |
//! | `Option` | `00`, or `01` and the value |
//! | tuple, struct | the fields, one after the other |
//! | enum | the variant's place as one byte, then its fields |
//!
//! [`Key::decode`] is the inverse: it takes exactly the bytes of one key, and nothing but canonical bytes.
//!
//! Only the output of `encode` and the values that a decoded key owns are allocated.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::Record;
use super::key_source::{KeyError, KeySource};
use super::short_hash::{WORD_BYTES, has_zero, load, xxh3_64_word};

/// A record that can be the key of `key_by`.
///
/// `#[derive(Key)]`, beside `#[derive(Record)]` and the standard `Ord`, implements it for structs and enums of keys; timers of one time fire in
/// the order of their keys. Floating-point numbers cannot be keys: they have no equality to rely on.
///
/// ```
/// # extern crate thalweg_record as thalweg;
/// use thalweg::record::{Key, Record};
///
/// #[derive(Record, Key, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
/// struct Route {
///     origin: String,
///     hop: i16,
/// }
///
/// let route = Route { origin: "LGA".to_string(), hop: -1 };
/// let mut bytes = Vec::new();
/// Route::encode(route.view(), &mut bytes);
/// assert_eq!(bytes, b"LGA\x00\x00\x7f\xff");
/// assert!(route.matches(RouteRef { origin: "LGA", hop: -1 }));
/// assert_eq!(Route::decode(&bytes), Ok(route));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "not a `Key`",
    note = "keys are bool, char, fixed-size integers, String, (), and options and tuples (to eight) of keys",
    note = "for your own type add `#[derive(thalweg::record::Key)]` beside `Record`; for a float, key by a rounded integer"
)]
pub trait Key: Record + Eq + Ord {
    /// Writes the canonical bytes, piece by piece.
    fn write<S: KeySink>(view: Self::Ref<'_>, sink: &mut S);

    /// Reads a key that [`write`](Key::write) has written, off the front of `source`.
    ///
    /// # Errors
    /// If `write` does not write such bytes.
    fn read(source: &mut KeySource<'_>) -> Result<Self, KeyError>;

    /// Whether this stored key equals the view, without building an owned key.
    fn matches(&self, view: Self::Ref<'_>) -> bool;

    /// Appends the canonical bytes to `out`.
    #[inline]
    fn encode(view: Self::Ref<'_>, out: &mut Vec<u8>) {
        Self::write(view, out);
    }

    /// The key with these canonical bytes, all of them.
    ///
    /// # Errors
    /// If the bytes are not those of a key, or more follow behind it.
    fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut source = KeySource::new(bytes);
        let key = Self::read(&mut source)?;
        source.finish()?;
        Ok(key)
    }

    /// XXH3-64 of exactly the bytes that [`encode`](Key::encode) appends.
    #[inline]
    fn hash(view: Self::Ref<'_>) -> u64 {
        let mut hasher = KeyHasher::new();
        Self::write(view, &mut hasher);
        hasher.finish()
    }
}

/// Takes a key's canonical bytes.
pub trait KeySink {
    /// The next bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl KeySink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Bytes hashed from the stack in one call. Longer keys go through the streaming hasher, which costs about 100 ns more to set up.
const BUFFER_BYTES: usize = 240;

/// Hashes canonical bytes as they come: the first 16 in a register, then in a buffer, then in the streaming hasher. The three give the same hash; they
/// differ in cost.
struct KeyHasher {
    held: Held,
    len: usize,
}

// The variants differ in size on purpose: all of it is stack, and only the used part is written.
#[allow(clippy::large_enum_variant)]
enum Held {
    Word(u128),
    Buffer([u8; BUFFER_BYTES]),
    Stream(Xxh3),
}

impl KeyHasher {
    #[inline]
    fn new() -> Self {
        Self { held: Held::Word(0), len: 0 }
    }

    #[inline(never)]
    fn put_long(&mut self, bytes: &[u8]) {
        if let Held::Word(word) = self.held {
            let mut buffer = [0; BUFFER_BYTES];
            buffer[..WORD_BYTES].copy_from_slice(&word.to_le_bytes());
            self.held = Held::Buffer(buffer);
        }
        if let Held::Buffer(buffer) = &mut self.held {
            if let Some(room) = buffer.get_mut(self.len..self.len + bytes.len()) {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                return;
            }
            let mut stream = Xxh3::new();
            stream.update(&buffer[..self.len]);
            self.held = Held::Stream(stream);
        }
        if let Held::Stream(stream) = &mut self.held {
            stream.update(bytes);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        match &self.held {
            Held::Word(word) => xxh3_64_word(*word, self.len),
            Held::Buffer(buffer) => xxh3_64(&buffer[..self.len]),
            Held::Stream(stream) => stream.digest(),
        }
    }
}

impl KeySink for KeyHasher {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match &mut self.held {
            Held::Word(word) if self.len + bytes.len() <= WORD_BYTES => {
                // If the word is full there are no bytes left to add, and nothing to shift by 128.
                *word |= load(bytes).checked_shl(8 * self.len as u32).unwrap_or(0);
                self.len += bytes.len();
            }
            _ => self.put_long(bytes),
        }
    }
}

/// The hash of the pair of two keys, as a tuple has it, whose views may live for different times.
#[inline]
pub fn hash_of_pair<A: Key, B: Key>(first: A::Ref<'_>, second: B::Ref<'_>) -> u64 {
    let mut hasher = KeyHasher::new();
    A::write(first, &mut hasher);
    B::write(second, &mut hasher);
    hasher.finish()
}

macro_rules! integer_keys {
    ($($ty:ident as $unsigned:ident, $flip:expr, $back:expr;)*) => {$(
        impl Key for $ty {
            #[inline]
            fn write<S: KeySink>(view: $ty, sink: &mut S) {
                sink.put(&((view as $unsigned) ^ $flip).to_be_bytes());
            }

            fn read(source: &mut KeySource<'_>) -> Result<Self, KeyError> {
                let flipped = $unsigned::from_be_bytes(source.take_array()?) ^ $flip;
                let back: fn($unsigned) -> Option<$ty> = $back;
                back(flipped).ok_or_else(|| source.error(concat!("no ", stringify!($ty))))
            }

            #[inline]
            fn matches(&self, view: $ty) -> bool {
                *self == view
            }

            #[inline]
            fn hash(view: $ty) -> u64 {
                xxh3_64(&((view as $unsigned) ^ $flip).to_be_bytes())
            }
        }
    )*};
}

integer_keys! {
    bool as u8, 0, |byte| (byte < 2).then_some(byte == 1);
    char as u32, 0, char::from_u32;
    u8 as u8, 0, Some;
    u16 as u16, 0, Some;
    u32 as u32, 0, Some;
    u64 as u64, 0, Some;
    u128 as u128, 0, Some;
    i8 as u8, 1 << 7, |n| Some(n.cast_signed());
    i16 as u16, 1 << 15, |n| Some(n.cast_signed());
    i32 as u32, 1 << 31, |n| Some(n.cast_signed());
    i64 as u64, 1 << 63, |n| Some(n.cast_signed());
    i128 as u128, 1 << 127, |n| Some(n.cast_signed());
}

impl Key for () {
    #[inline]
    fn write<S: KeySink>(_: (), _: &mut S) {}

    fn read(_: &mut KeySource<'_>) -> Result<Self, KeyError> {
        Ok(())
    }

    #[inline]
    fn matches(&self, _: ()) -> bool {
        true
    }
}

/// Writes bytes of any length so that their end is marked: a zero byte among them as `00 FF`, and `00 00` behind them, which sorts before any continuation.
/// Read with [`KeySource::take_terminated`]. `String` is written in this way, and a key type's own byte strings can be.
#[inline]
pub fn write_terminated<S: KeySink>(bytes: &[u8], sink: &mut S) {
    if bytes.contains(&0) {
        let mut pieces = bytes.split(|&byte| byte == 0);
        sink.put(pieces.next().unwrap_or(&[]));
        for piece in pieces {
            sink.put(&ESCAPED_ZERO);
            sink.put(piece);
        }
    } else {
        sink.put(bytes);
    }
    sink.put(&STRING_END);
}

/// Ends a string: sorts before any continuation, since a zero byte within the string is followed by `FF`.
pub(super) const STRING_END: [u8; 2] = [0, 0];
/// A zero byte within a string.
pub(super) const ESCAPED_ZERO: [u8; 2] = [0, 0xFF];

/// The hash of a longer string without zero bytes, laid out with its end mark in `N` bytes on the stack.
#[inline]
fn hash_string<const N: usize>(bytes: &[u8]) -> u64 {
    let mut buffer = [0; N];
    buffer[..bytes.len()].copy_from_slice(bytes);
    xxh3_64(&buffer[..bytes.len() + STRING_END.len()])
}

impl Key for String {
    #[inline]
    fn write<S: KeySink>(view: &str, sink: &mut S) {
        write_terminated(view.as_bytes(), sink);
    }

    fn read(source: &mut KeySource<'_>) -> Result<Self, KeyError> {
        let bytes = source.take_terminated()?;
        Self::from_utf8(bytes).map_err(|_| source.error("no UTF-8"))
    }

    #[inline]
    fn matches(&self, view: &str) -> bool {
        self == view
    }

    #[inline]
    fn hash(view: &str) -> u64 {
        let bytes = view.as_bytes();
        match bytes.len() {
            len @ 0..=14 => {
                let word = load(bytes);
                if !has_zero(word, len) {
                    // The end mark is two zero bytes: the word holds them already.
                    return xxh3_64_word(word, len + STRING_END.len());
                }
            }
            15..=62 if !bytes.contains(&0) => return hash_string::<64>(bytes),
            63..=238 if !bytes.contains(&0) => return hash_string::<240>(bytes),
            _ => {}
        }
        let mut hasher = KeyHasher::new();
        Self::write(view, &mut hasher);
        hasher.finish()
    }
}

impl<K: Key> Key for Option<K> {
    #[inline]
    fn write<S: KeySink>(view: Option<K::Ref<'_>>, sink: &mut S) {
        match view {
            None => sink.put(&[0]),
            Some(value) => {
                sink.put(&[1]);
                K::write(value, sink);
            }
        }
    }

    fn read(source: &mut KeySource<'_>) -> Result<Self, KeyError> {
        match source.take_array()? {
            [0] => Ok(None),
            [1] => K::read(source).map(Some),
            _ => Err(source.error("neither none nor some")),
        }
    }

    #[inline]
    fn matches(&self, view: Option<K::Ref<'_>>) -> bool {
        match (self, view) {
            (None, None) => true,
            (Some(value), Some(view)) => value.matches(view),
            _ => false,
        }
    }
}

macro_rules! tuple_keys {
    ($(($($ty:ident $index:tt),*))*) => {$(
        impl<$($ty: Key),*> Key for ($($ty,)*) {
            #[inline]
            fn write<S: KeySink>(view: ($($ty::Ref<'_>,)*), sink: &mut S) {
                $($ty::write(view.$index, sink);)*
            }

            fn read(source: &mut KeySource<'_>) -> Result<Self, KeyError> {
                Ok(($($ty::read(source)?,)*))
            }

            #[inline]
            fn matches(&self, view: ($($ty::Ref<'_>,)*)) -> bool {
                $(self.$index.matches(view.$index))&&*
            }
        }
    )*};
}

tuple_keys! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
