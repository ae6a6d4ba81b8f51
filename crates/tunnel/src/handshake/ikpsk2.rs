//! The handshake `Noise_IKpsk2`: one message in each direction.

use crate::codec::codec;
use crate::keys::SharedSecret;
use crate::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::message::{Initiation, Response, Sealed};
use crate::noise::{Key, Symmetric};
use crate::tai64n::Tai64n;

/// Our static key, and the state derived from it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) private: PrivateKey,
    pub(crate) public: PublicKey,
}

impl Identity {
    pub(crate) fn new(private: PrivateKey) -> Self {
        Self { public: private.public_key(), private }
    }
}

/// The static key of the peer, and the state derived from both keys.
pub(crate) struct Remote<'a> {
    pub(crate) public: &'a PublicKey,
    /// The shared secret of the static keys, computed once per peer.
    pub(crate) shared: &'a SharedSecret,
}

/// The keys of a new session.
pub(crate) struct SessionKeys {
    pub(crate) send: Key,
    pub(crate) recv: Key,
    /// The secret that two of adit derive further keys from.
    pub(crate) exporter: Key,
    /// The index that the peer chose for it.
    pub(crate) their_index: u32,
}

/// A handshake that we initiated: the state for processing the response.
pub(crate) struct Initiated {
    /// The index that we chose for the new session.
    pub(crate) index: u32,
    ephemeral: PrivateKey,
    symmetric: Symmetric,
}

codec! { Initiated { index, ephemeral, symmetric } }

impl core::fmt::Debug for Initiated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Initiated").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Initiated {
    /// Makes an initiation without MACs (NDSS 2017, 5.4.2). `None` if the peer's key gives a zero secret.
    pub(crate) fn new(
        us: &Identity,
        them: &Remote<'_>,
        ephemeral: PrivateKey,
        index: u32,
        timestamp: Tai64n,
    ) -> Option<(Self, Initiation)> {
        let mut symmetric = Symmetric::new(&them.public.0);
        let public = ephemeral.public_key();
        symmetric.mix_key(&public.0);
        symmetric.mix_hash(&public.0);
        let key = symmetric.mix_key_for_cipher(ephemeral.agree(them.public)?.as_bytes());
        let our_static = seal(&mut symmetric, &key, &us.public.0);
        let key = symmetric.mix_key_for_cipher(them.shared.as_bytes());
        let timestamp = seal(&mut symmetric, &key, &timestamp.to_bytes());
        let message =
            Initiation { sender: index, ephemeral: public.0, public: our_static, timestamp };
        Some((Self { index, ephemeral, symmetric }, message))
    }

    /// Derives the session keys from a response (NDSS 2017, 5.4.3), with the first of the preshared keys by which it
    /// authenticates, and returns which one that is; `None` if it does not authenticate.
    ///
    /// The state stays: a forged response does not end the handshake.
    pub(crate) fn finish(
        &self,
        us: &Identity,
        preshared: &[&PresharedKey],
        message: &Response,
    ) -> Option<(usize, SessionKeys)> {
        let mut symmetric = self.symmetric.clone();
        let theirs = PublicKey(message.ephemeral);
        symmetric.mix_key(&theirs.0);
        symmetric.mix_hash(&theirs.0);
        symmetric.mix_key(self.ephemeral.agree(&theirs)?.as_bytes());
        symmetric.mix_key(us.private.agree(&theirs)?.as_bytes());
        preshared.iter().enumerate().find_map(|(at, preshared)| {
            let mut symmetric = symmetric.clone();
            let key = symmetric.mix_preshared(preshared.as_bytes());
            symmetric.open(&key, &message.nothing.text, &message.nothing.tag)?;
            let [send, recv] = symmetric.split();
            let exporter = symmetric.export();
            Some((at, SessionKeys { send, recv, exporter, their_index: message.sender }))
        })
    }
}

/// A received initiation, decrypted up to the static key of its sender.
pub(crate) struct Received {
    /// The claimed sender. It is authenticated only after [`Self::timestamp`].
    pub(crate) public: PublicKey,
    their_index: u32,
    pub(crate) ephemeral: PublicKey,
    timestamp: Sealed<{ Tai64n::LEN }>,
    symmetric: Symmetric,
}

impl Received {
    /// Decrypts the static key of the sender (one Diffie-Hellman operation).
    pub(crate) fn new(us: &Identity, message: &Initiation) -> Option<Self> {
        let mut symmetric = Symmetric::new(&us.public.0);
        let ephemeral = PublicKey(message.ephemeral);
        symmetric.mix_key(&ephemeral.0);
        symmetric.mix_hash(&ephemeral.0);
        let key = symmetric.mix_key_for_cipher(us.private.agree(&ephemeral)?.as_bytes());
        let public = symmetric.open(&key, &message.public.text, &message.public.tag)?;
        Some(Self {
            public: PublicKey(public),
            their_index: message.sender,
            ephemeral,
            timestamp: message.timestamp,
            symmetric,
        })
    }

    /// Decrypts the timestamp, which authenticates the sender; `None` if it does not.
    pub(crate) fn timestamp(&mut self, shared: &SharedSecret) -> Option<Tai64n> {
        let key = self.symmetric.mix_key_for_cipher(shared.as_bytes());
        let timestamp = self.symmetric.open(&key, &self.timestamp.text, &self.timestamp.tag)?;
        Some(Tai64n::from_bytes(timestamp))
    }

    /// Makes the response without MACs, and the session keys (NDSS 2017, 5.4.3).
    pub(crate) fn respond(
        mut self,
        preshared: &PresharedKey,
        ephemeral: &PrivateKey,
        index: u32,
    ) -> Option<(SessionKeys, Response)> {
        let public = ephemeral.public_key();
        self.symmetric.mix_key(&public.0);
        self.symmetric.mix_hash(&public.0);
        self.symmetric.mix_key(ephemeral.agree(&self.ephemeral)?.as_bytes());
        self.symmetric.mix_key(ephemeral.agree(&self.public)?.as_bytes());
        let key = self.symmetric.mix_preshared(preshared.as_bytes());
        let nothing = seal(&mut self.symmetric, &key, &[]);
        let [recv, send] = self.symmetric.split();
        let exporter = self.symmetric.export();
        let their_index = self.their_index;
        let message =
            Response { sender: index, receiver: their_index, ephemeral: public.0, nothing };
        Some((SessionKeys { send, recv, exporter, their_index }, message))
    }
}

fn seal<const N: usize>(symmetric: &mut Symmetric, key: &Key, plain: &[u8; N]) -> Sealed<N> {
    // The longest field is a public key.
    let mut out = [0; 48];
    let mut sealed = Sealed { text: [0; N], tag: [0; 16] };
    if let Some(out) = out.get_mut(..N + 16) {
        symmetric.seal(key, plain, out);
        if let Some((text, tag)) = out.split_at_checked(N) {
            sealed.text.copy_from_slice(text);
            sealed.tag.copy_from_slice(tag);
        }
    }
    sealed
}
