//! Who is there? The first words on every connection between processes, control and data alike.
//!
//! Both sides greet, with version, purpose and a fresh nonce of 32 bytes. If they have a secret the caller then proves that it knows it, and after that
//! the acceptor does: a proof is the HMAC-SHA-256 of *both* nonces, the prover's role and the purpose of the connection. So a proof that was overheard is
//! worth nothing on another connection, one that is thrown back is of the wrong role, and a stranger who calls never sees one.
//!
//! ```text
//! caller                                                   acceptor
//! greeting: "THALWEG>" version purpose has-secret nonce ->
//!                       <- greeting: "THALWEG<" version purpose has-secret nonce
//! proof (with a secret)                                 ->
//!                                            <- verdict: 1, proof | 0, zeros
//! ```
//!
//! Every message has a fixed length, so a stranger costs 80 bytes, two hashes at most (where there is a secret, one for the nonce and one to check a proof),
//! and the time until the deadline. Deliberately absent: encryption, and anything that binds what follows to the proofs. Whoever can change bytes under way
//! can take a connection over; that needs another kind of network.
//!
//! `handshake.rs` decides (pure), `authenticator.rs` carries it out, `secret.rs` is what is proved. Both kinds of connection stand on this: `cluster/` with
//! control messages, `exchange/remote/` with frames.

mod authenticator;
mod handshake;
mod secret;

pub(crate) use authenticator::Authenticator;
pub(crate) use handshake::{AuthError, PROTOCOL_VERSION, Purpose, Side};
pub use secret::Secret;
