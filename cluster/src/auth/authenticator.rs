//! Carries out a [`Handshake`] on a connection, within a time limit.

use super::handshake::{AuthError, Handshake, NONCE_BYTES, Nonce, Purpose, Side, Turn};
use super::secret::Secret;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::within;
use thalweg_io::{Buffer, CoreId, Io, NetRead, NetWrite, Rng};

/// Authenticates connections of one core. Each core has a single one for as long as its process lives: no nonce is used twice. Clones share it.
#[derive(Clone)]
pub(crate) struct Authenticator {
    io: Io,
    secret: Option<Secret>,
    random: Rc<RefCell<Box<dyn Rng>>>,
    limit: Duration,
}

impl Authenticator {
    /// `limit` is the time limit of an exchange.
    pub(crate) fn new(io: &Io, core: CoreId, secret: Option<Secret>, limit: Duration) -> Self {
        // Cores that request the same name get the same sequence, so the name contains the core.
        let random = Rc::new(RefCell::new(io.rng(&format!("cluster-nonce-{}", core.0))));
        Self { io: io.clone(), secret, random, limit }
    }

    /// Checks that the peer on a new connection belongs to the cluster, and proves the same of this process. Reads no byte beyond the handshake.
    pub(crate) async fn authenticate(
        &self,
        read: &mut dyn NetRead,
        write: &mut dyn NetWrite,
        side: Side,
        purpose: Purpose,
    ) -> Result<(), AuthError> {
        let handshake = Handshake::new(side, purpose, self.secret.clone(), self.fresh());
        let exchanged = within(&self.io, self.limit, exchange(handshake, read, write)).await;
        exchanged.unwrap_or(Err(AuthError::Timeout(self.limit)))
    }

    fn fresh(&self) -> Nonce {
        let mut random = self.random.borrow_mut();
        let mut nonce = [0; NONCE_BYTES];
        for part in nonce.chunks_exact_mut(8) {
            part.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        nonce
    }
}

async fn exchange(mut handshake: Handshake, read: &mut dyn NetRead, write: &mut dyn NetWrite) -> Result<(), AuthError> {
    say(write, &handshake.open()).await?;
    while let Some(bytes) = handshake.wants() {
        let mut heard = Buffer::with_capacity(bytes);
        while heard.len() < bytes {
            let before = heard.len();
            heard = read.read_more(heard, bytes).await?;
            if heard.len() == before {
                return Err(AuthError::Closed);
            }
        }
        let Turn { reply, failure } = handshake.take(&heard);
        let said = say(write, &reply).await;
        if let Some(failure) = failure {
            return Err(failure);
        }
        said?;
    }
    Ok(())
}

async fn say(write: &mut dyn NetWrite, bytes: &[u8]) -> Result<(), AuthError> {
    if !bytes.is_empty() {
        write.write_all(Buffer::from(bytes)).await?;
    }
    Ok(())
}
