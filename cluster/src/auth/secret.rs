//! The secret that the processes of a cluster share and a stranger does not know.

use std::fmt;
use std::sync::Arc;

/// The fewest bytes of a secret. A stranger who overhears one exchange can try secrets offline: 16 random bytes are out of reach, a word is not.
const SECRET_BYTES_MIN: usize = 16;

/// The most bytes of a secret. More would not be harder to guess; a larger file is not the intended one.
const SECRET_BYTES_MAX: usize = 4096;

/// A secret that all processes of a cluster share. It proves who they are; their messages are *not* encrypted.
///
/// It never prints its bytes:
///
/// ```
/// # mod thalweg { pub use thalweg_cluster as cluster; }
/// # use thalweg::cluster::Secret;
/// let secret = Secret::new("7b1c0f5f2ed44a9e8b0e").unwrap();
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(Secret::new("hunter2").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the bytes of a secret. White space around them is trimmed, so that a file may end with a line break.
    ///
    /// # Errors
    /// If it is shorter than 16 bytes, or longer than 4,096.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, String> {
        let bytes = bytes.as_ref().trim_ascii();
        let cure = "make one with `head -c 32 /dev/urandom | base64`, and give the same to every process of the cluster";
        match bytes.len() {
            0..SECRET_BYTES_MIN => Err(format!("a secret of {} bytes is too short, {SECRET_BYTES_MIN} is the least: {cure}", bytes.len())),
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Self(bytes.into())),
            _ => Err(format!("a secret of {} bytes is too long, {SECRET_BYTES_MAX} is the most: {cure}", bytes.len())),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        let secret = Secret::new("  0123456789abcdef\n").unwrap();
        assert_eq!(secret.bytes(), b"0123456789abcdef");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(..) Some(Secret(..))");
        for wrong in [vec![], vec![b'a'; SECRET_BYTES_MIN - 1], vec![b'a'; SECRET_BYTES_MAX + 1]] {
            let reason = Secret::new(&wrong).unwrap_err();
            assert!(reason.contains("/dev/urandom") && !reason.contains("aa"), "{reason}");
        }
    }
}
