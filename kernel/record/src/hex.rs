//! Bytes and hashes as hexadecimal text, for the self-describing bodies of durable files.
//!
//! Hashes and job ids are written as 16 digits, since many readers of JSON would round such numbers; bytes as two digits each. Only lower-case digits
//! are read, so that each value has one form.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'?')));
        }
    }
    text
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// `#[serde(with = "hex::bytes")]` for a `Vec<u8>`.
pub mod bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes bytes as text, two digits per byte.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(bytes))
    }

    /// Reads bytes from text.
    ///
    /// # Errors
    /// If the text has another form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::decode(&text).ok_or_else(|| D::Error::custom("bytes are written as pairs of lower-case hexadecimal digits"))
    }
}

/// `#[serde(with = "hex::number")]` for a `u64` that is a name or a hash rather than a quantity.
pub mod number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    /// Writes a number as 16 digits.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(&number.to_be_bytes()))
    }

    /// Reads a number from 16 digits.
    ///
    /// # Errors
    /// If the text has another form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = super::decode(&text).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        bytes.map(u64::from_be_bytes).ok_or_else(|| D::Error::custom("a hash is written as 16 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_other_text_is_refused() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode(&[0x0f, 0xa0]), "0fa0");
        for wrong in ["0", "0F", "zz", "0x", "\u{e9}"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
