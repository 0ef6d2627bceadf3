//! One side of the exchange: bytes in, bytes out.
//!
//! Pure: no connection, no clock, no randomness.

use super::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::Duration;
use thalweg_io::IoError;

/// The version of the whole protocol between processes. A peer with another version is refused: the binaries of a cluster are the same anyway.
pub(crate) const PROTOCOL_VERSION: u16 = 1;

const GREETING_BYTES: usize = 48;
pub(super) const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
const VERDICT_BYTES: usize = 1 + PROOF_BYTES;

/// Prefix of all hashed input, so that a proof cannot be mistaken for anything else.
const PROOF_DOMAIN: &[u8] = b"thalweg mutual challenge 1: proof";
const NONCE_DOMAIN: &[u8] = b"thalweg mutual challenge 1: nonce";

/// A side's role in the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The side that has connected.
    Caller,
    /// The side that listens.
    Acceptor,
}

impl Side {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Caller => b"THALWEG>",
            Self::Acceptor => b"THALWEG<",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Caller => Self::Acceptor,
            Self::Acceptor => Self::Caller,
        }
    }
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Messages between a worker and its coordinator.
    Control,
    /// Frames between two workers.
    Data,
}

/// Why authentication failed. Each message says what can be done about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("what answers there is not a process of Thalweg: see to the address and the port")]
    Stranger,
    #[error("it speaks version {theirs} of the protocol and this process version {own}: start the same binary everywhere")]
    Version { own: u16, theirs: u16 },
    #[error("it is for {theirs} and this connection is for {own}: see to the port")]
    WrongDoor { own: &'static str, theirs: &'static str },
    #[error("it demands a secret and this process has none: give this process the cluster's secret")]
    SecretMissing,
    #[error("it has no secret and this process demands one: give it the cluster's secret")]
    PeerWithoutSecret,
    #[error("its secret is another one: give every process of the cluster the same secret")]
    WrongSecret,
    #[error("it was closed before both sides knew each other: see to the log of the other side for the reason")]
    Closed,
    #[error("nothing came within {0:?}: see to the address, the network and the other side")]
    Timeout(Duration),
    #[error(transparent)]
    Io(#[from] IoError),
}

pub(super) type Nonce = [u8; NONCE_BYTES];

/// The first message of a side.
struct Greeting {
    version: u16,
    purpose: u8,
    has_secret: u8,
    nonce: Nonce,
}

impl Greeting {
    fn encode(&self, side: Side) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(GREETING_BYTES);
        bytes.extend_from_slice(side.magic());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&[self.purpose, self.has_secret, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.nonce);
        bytes
    }

    fn decode(bytes: &[u8], side: Side) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let ([purpose, has_secret, zeros @ ..], rest) = rest.split_first_chunk::<6>()?;
        let nonce: Nonce = rest.try_into().ok()?;
        let is_one = magic == side.magic() && *zeros == [0; 4] && *has_secret <= 1;
        is_one.then_some(Self { version: u16::from_le_bytes(*version), purpose: *purpose, has_secret: *has_secret, nonce })
    }
}

impl Purpose {
    fn byte(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Data => 2,
        }
    }

    fn name(byte: u8) -> &'static str {
        match byte {
            1 => "workers that report to their coordinator",
            2 => "frames of other workers",
            _ => "something that this version does not know",
        }
    }
}

/// The next step of a side.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The bytes to send, even after a failure: the other side learns why.
    pub(crate) reply: Vec<u8>,
    pub(crate) failure: Option<AuthError>,
}

impl Turn {
    fn reply(reply: Vec<u8>) -> Self {
        Self { reply, failure: None }
    }

    fn fail(failure: AuthError) -> Self {
        Self { reply: Vec::new(), failure: Some(failure) }
    }
}

/// The message that a side waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Greeting,
    /// The caller's proof, with the nonces of caller and acceptor.
    Proof(Nonce, Nonce),
    Verdict(Nonce, Nonce),
    Nothing,
}

/// One side of the exchange.
pub(crate) struct Handshake {
    side: Side,
    purpose: Purpose,
    secret: Option<Secret>,
    own: Nonce,
    awaits: Awaits,
}

impl Handshake {
    /// `random` must never have been used before.
    pub(crate) fn new(side: Side, purpose: Purpose, secret: Option<Secret>, random: [u8; NONCE_BYTES]) -> Self {
        // Anyone who has seen random numbers of this process might predict the next ones, but not after a key has been mixed in.
        let own = match &secret {
            Some(secret) => keyed(secret, NONCE_DOMAIN, &[&random]).finalize().into_bytes().into(),
            None => random,
        };
        Self { side, purpose, secret, own, awaits: Awaits::Greeting }
    }

    /// The bytes to send before anything is received.
    pub(crate) fn open(&self) -> Vec<u8> {
        match self.side {
            Side::Caller => self.greeting(),
            Side::Acceptor => Vec::new(),
        }
    }

    /// How many bytes to read next; `None` when both sides are authenticated.
    pub(crate) fn wants(&self) -> Option<usize> {
        match self.awaits {
            Awaits::Greeting => Some(GREETING_BYTES),
            Awaits::Proof(..) => Some(PROOF_BYTES),
            Awaits::Verdict(..) => Some(VERDICT_BYTES),
            Awaits::Nothing => None,
        }
    }

    /// Takes exactly as many bytes as `wants` said. Must not be called after a failure.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Turn {
        match std::mem::replace(&mut self.awaits, Awaits::Nothing) {
            Awaits::Greeting => self.greeted(bytes),
            Awaits::Proof(caller, acceptor) => {
                if !self.proves(Side::Caller, &caller, &acceptor, bytes) {
                    return Turn { reply: vec![0; VERDICT_BYTES], failure: Some(AuthError::WrongSecret) };
                }
                let mut verdict = vec![1];
                verdict.extend_from_slice(&self.proof(Side::Acceptor, &caller, &acceptor));
                Turn::reply(verdict)
            }
            Awaits::Verdict(caller, acceptor) => match bytes.split_first() {
                Some((1, proof)) if self.proves(Side::Acceptor, &caller, &acceptor, proof) => Turn::reply(Vec::new()),
                _ => Turn::fail(AuthError::WrongSecret),
            },
            Awaits::Nothing => Turn::fail(AuthError::Stranger),
        }
    }

    fn greeting(&self) -> Vec<u8> {
        let has_secret = u8::from(self.secret.is_some());
        Greeting { version: PROTOCOL_VERSION, purpose: self.purpose.byte(), has_secret, nonce: self.own }.encode(self.side)
    }

    fn greeted(&mut self, bytes: &[u8]) -> Turn {
        let Some(theirs) = Greeting::decode(bytes, self.side.other()) else { return Turn::fail(AuthError::Stranger) };
        // The acceptor greets even a caller that it rejects, so that the caller finds the same fault.
        let mut reply = if self.side == Side::Acceptor { self.greeting() } else { Vec::new() };
        if let Some(failure) = self.fault_in(&theirs) {
            return Turn { reply, failure: Some(failure) };
        }
        if self.secret.is_some() {
            match self.side {
                Side::Caller => {
                    reply.extend_from_slice(&self.proof(Side::Caller, &self.own, &theirs.nonce));
                    self.awaits = Awaits::Verdict(self.own, theirs.nonce);
                }
                Side::Acceptor => self.awaits = Awaits::Proof(theirs.nonce, self.own),
            }
        }
        Turn::reply(reply)
    }

    fn fault_in(&self, theirs: &Greeting) -> Option<AuthError> {
        if theirs.version != PROTOCOL_VERSION {
            return Some(AuthError::Version { own: PROTOCOL_VERSION, theirs: theirs.version });
        }
        if theirs.purpose != self.purpose.byte() {
            return Some(AuthError::WrongDoor { own: Purpose::name(self.purpose.byte()), theirs: Purpose::name(theirs.purpose) });
        }
        match (&self.secret, theirs.has_secret) {
            (None, 1) => Some(AuthError::SecretMissing),
            (Some(_), 0) => Some(AuthError::PeerWithoutSecret),
            _ => None,
        }
    }

    fn mac(&self, prover: Side, caller: &Nonce, acceptor: &Nonce) -> Option<Hmac<Sha256>> {
        let role = prover.magic();
        Some(keyed(self.secret.as_ref()?, PROOF_DOMAIN, &[role, &[self.purpose.byte()], &PROTOCOL_VERSION.to_le_bytes(), caller, acceptor]))
    }

    fn proof(&self, prover: Side, caller: &Nonce, acceptor: &Nonce) -> [u8; PROOF_BYTES] {
        let mac = self.mac(prover, caller, acceptor).expect("invariant: proofs are exchanged where there is a secret");
        mac.finalize().into_bytes().into()
    }

    /// Takes the same time whatever the bytes are.
    fn proves(&self, prover: Side, caller: &Nonce, acceptor: &Nonce, proof: &[u8]) -> bool {
        self.mac(prover, caller, acceptor).is_some_and(|mac| mac.verify_slice(proof).is_ok())
    }
}

fn keyed(secret: &Secret, domain: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("invariant: HMAC takes keys of any length");
    mac.update(domain);
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests;
