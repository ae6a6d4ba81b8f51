//! The state of a tunnel as bytes, for a process that continues in the place of this one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::codec::{Codec, Decoder, Encoder};
use crate::config::{Random, TunnelConfig};
use crate::peer::Peer;
use crate::peer::state::{decode_drops, encode_drops};
use crate::shared::Shared;
use crate::tunnel::Tunnel;

/// The version of the format of [`Tunnel::state`]. Any change of a struct in it is another format.
pub const STATE_VERSION: u16 = 2;

impl Tunnel {
    /// The state as bytes, keys included: all that another process needs to continue the sessions. It is for the same
    /// machine, as times are those of its clock, and for [`Self::restore`] of the same [`STATE_VERSION`].
    ///
    /// This tunnel must not be used any more once another one has the state: the same counters would be used twice.
    /// Packets that wait in it are not in the state, which counts them as dropped.
    #[must_use]
    pub fn state(&self) -> Zeroizing<Vec<u8>> {
        let mut to = Encoder::default();
        STATE_VERSION.encode(&mut to);
        self.shared.encode(&mut to);
        encode_drops(&self.drops, &mut to);
        let peers = self.peers.iter().flatten();
        u32::try_from(self.by_key.len()).unwrap_or(u32::MAX).encode(&mut to);
        peers.for_each(|peer| peer.encode(&mut to));
        to.finish()
    }

    /// The tunnel of [`Self::state`]. Private key, MTU and last timestamp are those of the state, everything else is that
    /// of `config`. Set the wall clock afterwards.
    ///
    /// `None` if the bytes are not a state of this version, or contradict themselves.
    #[must_use]
    pub fn restore(config: TunnelConfig, random: Random, state: &[u8]) -> Option<Self> {
        let mut from = Decoder(state);
        if u16::decode(&mut from)? != STATE_VERSION {
            return None;
        }
        let shared = Shared::decode(config, random, &mut from)?;
        let mut tunnel = Self { drops: decode_drops(&mut from)?, ..Self::with(shared) };
        for slot in 0..u32::decode(&mut from)? {
            let peer = Box::new(Peer::decode(slot, &mut from, &mut tunnel.shared)?);
            tunnel.adopt(peer)?;
        }
        from.is_empty().then_some(tunnel)
    }

    /// Takes in a peer, whose slot is the next one.
    fn adopt(&mut self, mut peer: Box<Peer>) -> Option<()> {
        let (slot, key) = (peer.slot, peer.config.public_key);
        if self.public_key() == Some(key) || self.by_key.insert(key, slot).is_some() {
            return None;
        }
        for prefix in &peer.config.allowed_ips {
            if !prefix.is_network() || self.allowed.insert(prefix, slot).is_some() {
                return None;
            }
        }
        if let Some(port) = peer.config.mode.port()
            && self.by_port.insert(port, slot).is_some()
        {
            return None;
        }
        peer.settle(&mut self.shared);
        self.peers.push(Some(peer));
        Some(())
    }
}
