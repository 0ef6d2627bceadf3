//! Mutual authentication: the first messages on every connection between processes, control and data alike.
//!
//! Both sides greet, with version, purpose and a fresh nonce of 32 bytes. If there is a secret, first the caller and then the acceptor proves that it knows
//! it: a proof is the HMAC-SHA-256 of *both* nonces, the prover's role and the purpose of the connection. So a proof that was overheard is worthless on
//! another connection, a reflected proof has the wrong role, and a stranger who calls never sees a proof.
//!
//! ```text
//! caller                                                   acceptor
//! greeting: "THALWEG>" version purpose has-secret nonce ->
//!                       <- greeting: "THALWEG<" version purpose has-secret nonce
//! proof (with a secret)                                 ->
//!                                            <- verdict: 1, proof | 0, zeros
//! ```
//!
//! Every message has a fixed length, so a stranger costs 80 bytes, two hashes at most (if there is a secret, one for the nonce and one to check a proof),
//! and the time until the deadline. Deliberately absent: encryption, and anything that binds later messages to the proofs. An attacker who can change bytes
//! on their way can take a connection over; that needs another kind of network.
//!
//! `handshake.rs` decides (pure), `authenticator.rs` carries it out, `secret.rs` holds the secret. Both kinds of connection are built on this:
//! `connection.rs` with control messages, `links/` with frames.

mod authenticator;
mod handshake;
mod secret;

pub(crate) use authenticator::Authenticator;
pub(crate) use handshake::{AuthError, PROTOCOL_VERSION, Purpose, Side};
pub use secret::Secret;
