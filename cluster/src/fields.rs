//! The fields of control messages as bytes: integers in little-endian order, texts and lists after their length (u32), options and variants after a tag.
//!
//! Bytes are never trusted: every length is compared with the bytes present, every tag with the known tags, and no memory is allocated before its bytes
//! have arrived. A list takes at most some ten times as much memory as it took bytes on the wire.

use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use rkyv::util::AlignedVec;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use thalweg_io::Buffer;

/// Why the bytes of a message are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of its body")]
pub(crate) struct Malformed {
    what: &'static str,
    at: usize,
}

/// Takes fields from the front of the remaining bytes.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length);
        let (end, taken) = end.and_then(|end| Some((end, self.bytes.get(self.at..end)?))).ok_or(self.malformed("it ends too early"))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.slice(N)?.try_into().expect("invariant: as many bytes were taken as asked for"))
    }

    fn blob(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::take(self)? as usize;
        self.slice(length)
    }

    /// Fails unless all bytes have been taken.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.malformed("there are bytes left over")) }
    }
}

fn put_blob(bytes: &[u8], out: &mut Vec<u8>) {
    // Longer lists make the message too long, which is noticed before it is sent.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).put(out);
    out.extend_from_slice(bytes);
}

/// A part of a message that can be encoded and decoded.
pub(super) trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed>;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
                fields.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, i64);

impl Field for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let number = u64::take(fields)?;
        Self::try_from(number).map_err(|_| fields.malformed("a number is too large for this machine"))
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        match u8::take(fields)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(fields.malformed("a truth value is neither 0 nor 1")),
        }
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_blob(self.as_bytes(), out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(fields.blob()?);
        text.map(ToOwned::to_owned).map_err(|_| fields.malformed("a text is not UTF-8"))
    }
}

impl Field for PathBuf {
    fn put(&self, out: &mut Vec<u8>) {
        put_blob(self.as_os_str().as_bytes(), out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self::from(OsStr::from_bytes(fields.blob()?)))
    }
}

impl Field for AlignedVec {
    fn put(&self, out: &mut Vec<u8>) {
        put_blob(self, out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let bytes = fields.blob()?;
        let mut aligned = Self::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Ok(aligned)
    }
}

impl Field for Buffer {
    fn put(&self, out: &mut Vec<u8>) {
        put_blob(self, out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self::from(fields.blob()?))
    }
}

impl Field for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX).put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        u64::take(fields).map(Self::from_nanos)
    }
}

impl Field for SocketAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => {
                4u8.put(out);
                out.extend_from_slice(&address.ip().octets());
            }
            Self::V6(address) => {
                6u8.put(out);
                out.extend_from_slice(&address.ip().octets());
                // The flow is not part of the destination.
                address.scope_id().put(out);
            }
        }
        self.port().put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match u8::take(fields)? {
            4 => SocketAddrV4::new(fields.array::<4>()?.into(), u16::take(fields)?).into(),
            6 => {
                let (address, scope) = (fields.array::<16>()?, u32::take(fields)?);
                SocketAddrV6::new(address.into(), u16::take(fields)?, 0, scope).into()
            }
            _ => return Err(fields.malformed("an address is of no known family")),
        })
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        if bool::take(fields)? { T::take(fields).map(Some) } else { Ok(None) }
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        T::take(fields).map(Self::new)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        self.iter().for_each(|element| element.put(out));
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let count = u32::take(fields)?;
        // The list grows with the elements present, whatever length was announced.
        (0..count).map(|_| T::take(fields)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok((A::take(fields)?, B::take(fields)?))
    }
}

/// `record!(Type { field: name, .. })`: the fields one after the other, each with the name that it is bound to meanwhile.
macro_rules! record {
    ($($type:ty { $($field:tt : $name:ident),* })*) => {$(
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field: $name),* } = self;
                $($name.put(out);)*
            }

            fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
                $(let $name = Field::take(fields)?;)*
                Ok(Self { $($field: $name),* })
            }
        }
    )*};
}

/// `variants!(Type, "what": tag => Variant { field: name, .. }, ..)`: a tag of one byte, then the fields of the variant.
macro_rules! variants {
    ($type:ty, $unknown:literal: $($tag:literal => $variant:ident { $($field:tt : $name:ident),* }),* $(,)?) => {
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field: $name),* } => {
                        let tag: u8 = $tag;
                        tag.put(out);
                        $($name.put(out);)*
                    })*
                }
            }

            fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
                match u8::take(fields)? {
                    $($tag => {
                        $(let $name = Field::take(fields)?;)*
                        Ok(Self::$variant { $($field: $name),* })
                    })*
                    _ => Err(fields.malformed($unknown)),
                }
            }
        }
    };
}

pub(super) use {record, variants};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round<T: Field>(value: &T) -> T {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        let mut fields = Fields::new(&bytes);
        let taken = T::take(&mut fields).unwrap();
        fields.end().unwrap();
        for cut in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
            assert!(T::take(&mut Fields::new(&bytes[..cut])).is_err(), "cut at {cut} of {}", bytes.len());
        }
        taken
    }

    #[derive(Debug, PartialEq)]
    enum Shape {
        Nothing,
        Both { left: u32, right: Option<String> },
        One(Box<u64>),
    }

    variants!(Shape, "no such shape": 1 => Nothing {}, 2 => Both { left: left, right: right }, 3 => One { 0: one });

    #[test]
    fn variants_and_addresses_are_taken_as_they_were_put() {
        for shape in [Shape::Nothing, Shape::Both { left: 7, right: Some("x".to_owned()) }, Shape::One(Box::new(9))] {
            assert_eq!(round(&shape), shape);
        }
        assert!(Shape::take(&mut Fields::new(&[4, 0, 0])).unwrap_err().to_string().contains("no such shape at byte 1"));
        for address in ["127.0.0.1:80", "[::1]:65535", "[fe80::1%3]:7100"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(round(&address), address);
        }
    }

    #[test]
    fn a_list_that_announces_more_than_there_is_takes_no_memory_for_it() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[1; 16]);
        assert!(Vec::<u64>::take(&mut Fields::new(&bytes)).is_err());
        assert!(String::take(&mut Fields::new(&bytes)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn fields_are_taken_as_they_were_put(value: (Vec<(String, Option<i64>)>, (bool, Vec<u64>))) {
            prop_assert_eq!(round(&value), value);
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = Vec::<(SocketAddr, Option<String>)>::take(&mut Fields::new(&bytes));
            let _ = Vec::<Shape>::take(&mut Fields::new(&bytes));
            let _ = <(AlignedVec, Buffer)>::take(&mut Fields::new(&bytes));
        }
    }
}
