//! The two MACs of each handshake message, and cookies (NDSS 2017, 5.3, 5.4.4 and 5.4.7).

use core::net::IpAddr;
use core::time::Duration;

use adit_packet::Instant;
use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::codec::{Codec, Decoder, Encoder};
use crate::config::Random;
use crate::keys::PublicKey;
use crate::message::{COOKIE_NONCE_LEN, CookieReply, MAC_LEN, Sealed};
use crate::noise::{Hash, hash};
use adit_engine::Endpoint;

type Mac = [u8; MAC_LEN];

/// The lifetime of the secret of our cookies.
const SECRET_LIFETIME: Duration = Duration::from_secs(120);

/// A cookie is not used in its last seconds: it could expire while the message is under way.
const LATENCY: Duration = Duration::from_secs(5);

/// The keys of the MACs of messages to one receiver, derived from its public key.
#[derive(Debug)]
pub(crate) struct MacKeys {
    mac1: Hash,
    cookie: Hash,
}

impl MacKeys {
    pub(crate) fn new(receiver: &PublicKey) -> Self {
        Self { mac1: hash(&[b"mac1----", &receiver.0]), cookie: hash(&[b"cookie--", &receiver.0]) }
    }

    /// mac1 of a message without its MACs.
    pub(crate) fn mac1_of(&self, message: &[u8]) -> Mac {
        mac(&self.mac1, &[message])
    }
}

fn mac(key: &[u8], pieces: &[&[u8]]) -> Mac {
    let mut state = Blake2sMac::<U16>::new_from_slice(key).expect("a key of at most 32 bytes");
    for piece in pieces {
        state.update(piece);
    }
    state.finalize_fixed().into()
}

/// A handshake message split from its MACs: mac1 and mac2.
fn split(message: &[u8]) -> Option<(&[u8], &Mac, &Mac)> {
    let (rest, mac2) = message.split_last_chunk()?;
    let (rest, mac1) = rest.split_last_chunk()?;
    Some((rest, mac1, mac2))
}

/// What the MACs of a message prove about its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: mac1 is wrong, so the sender does not know our public key.
    Invalid,
    /// It knows our public key.
    Knows,
    /// It knows our public key and receives what is sent to its address.
    Reachable,
}

/// Checks the MACs of received handshake messages, and makes cookies.
pub(crate) struct CookieChecker {
    keys: MacKeys,
    secret: Zeroizing<Hash>,
    since: Option<Instant>,
}

impl core::fmt::Debug for CookieChecker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CookieChecker").field("since", &self.since).finish_non_exhaustive()
    }
}

impl CookieChecker {
    pub(crate) fn new(us: &PublicKey) -> Self {
        Self { keys: MacKeys::new(us), secret: Zeroizing::default(), since: None }
    }

    /// Encodes the secret, without which our cookies would be invalid.
    pub(crate) fn encode(&self, to: &mut Encoder) {
        self.secret.encode(to);
        self.since.encode(to);
    }

    /// Takes the secret of the process before.
    pub(crate) fn restore(&mut self, from: &mut Decoder<'_>) -> Option<()> {
        (self.secret, self.since) = Codec::decode(from)?;
        Some(())
    }

    /// Checks the MACs of a handshake message.
    pub(crate) fn check(&self, now: Instant, from: Endpoint, message: &[u8]) -> Standing {
        let Some((rest, mac1, mac2)) = split(message) else { return Standing::Invalid };
        if !bool::from(self.keys.mac1_of(rest).ct_eq(mac1)) {
            return Standing::Invalid;
        }
        if *mac2 != [0; MAC_LEN] && self.secret_is_fresh(now) {
            let right = mac(&self.cookie(from), &[rest, mac1]);
            if bool::from(right.ct_eq(mac2)) {
                return Standing::Reachable;
            }
        }
        Standing::Knows
    }

    /// Makes a cookie reply to a message, encrypted under its mac1: only a host that saw the message can decrypt
    /// it.
    pub(crate) fn reply(
        &mut self,
        now: Instant,
        from: Endpoint,
        message: &[u8],
        sender: u32,
        random: &mut Random,
    ) -> Option<CookieReply> {
        let (_, mac1, _) = split(message)?;
        if !self.secret_is_fresh(now) {
            random(self.secret.as_mut_slice());
            self.since = Some(now);
        }
        let mut nonce = [0; COOKIE_NONCE_LEN];
        random(&mut nonce);
        let mut text = self.cookie(from);
        let tag = XChaCha20Poly1305::new(&self.keys.cookie.into())
            .encrypt_inout_detached(&nonce.into(), mac1, text.as_mut_slice().into())
            .ok()?
            .into();
        Some(CookieReply { receiver: sender, nonce, cookie: Sealed { text, tag } })
    }

    fn secret_is_fresh(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.since(since) < SECRET_LIFETIME)
    }

    /// The cookie of an address and port. Without the port all hosts behind one NAT would share it.
    fn cookie(&self, from: Endpoint) -> Mac {
        let secret = self.secret.as_slice();
        match from {
            Endpoint::Udp(address) => {
                let port = address.port().to_be_bytes();
                match address.ip() {
                    IpAddr::V4(ip) => mac(secret, &[&ip.octets(), &port]),
                    IpAddr::V6(ip) => mac(secret, &[&ip.octets(), &port]),
                }
            }
            Endpoint::Port(port) => mac(secret, &[b"port", &port.0.to_be_bytes()]),
            Endpoint::Flow(flow) => mac(secret, &[b"flow", &flow.0.to_be_bytes()]),
        }
    }
}

/// Makes the MACs of messages to one peer, with the cookie that it gave us.
#[derive(Debug)]
pub(crate) struct PeerCookie {
    keys: MacKeys,
    cookie: Option<(Mac, Instant)>,
    /// mac1 of the last handshake message: a cookie reply is an answer to it.
    last: Option<Mac>,
}

impl PeerCookie {
    pub(crate) fn new(peer: &PublicKey) -> Self {
        Self { keys: MacKeys::new(peer), cookie: None, last: None }
    }

    /// Encodes what the peer gave us.
    pub(crate) fn encode(&self, to: &mut Encoder) {
        self.cookie.encode(to);
        self.last.encode(to);
    }

    /// Takes what the process before had of the peer.
    pub(crate) fn restore(&mut self, from: &mut Decoder<'_>) -> Option<()> {
        (self.cookie, self.last) = Codec::decode(from)?;
        Some(())
    }

    /// Writes both MACs to the end of a handshake message.
    pub(crate) fn sign(&mut self, now: Instant, lifetime: Duration, message: &mut [u8]) {
        let Some((rest, mac2)) = message.split_last_chunk_mut::<MAC_LEN>() else { return };
        let Some((body, mac1)) = rest.split_last_chunk_mut::<MAC_LEN>() else { return };
        *mac1 = self.keys.mac1_of(body);
        self.last = Some(*mac1);
        let usable = lifetime.saturating_sub(LATENCY.min(lifetime / 10));
        self.cookie = self.cookie.filter(|&(_, since)| now.since(since) < usable);
        *mac2 = match &self.cookie {
            Some((cookie, _)) => mac(cookie, &[body, mac1.as_slice()]),
            None => [0; MAC_LEN],
        };
    }

    /// Accepts the cookie in a reply to our last message; `false` if it is invalid.
    pub(crate) fn take(&mut self, now: Instant, reply: &CookieReply) -> bool {
        let Some(mac1) = self.last else { return false };
        let mut cookie = reply.cookie.text;
        let opened = XChaCha20Poly1305::new(&self.keys.cookie.into()).decrypt_inout_detached(
            &reply.nonce.into(),
            &mac1,
            cookie.as_mut_slice().into(),
            &reply.cookie.tag.into(),
        );
        if opened.is_err() {
            return false;
        }
        // One reply for one message: a replayed one must not renew the cookie.
        self.last = None;
        self.cookie = Some((cookie, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn udp(text: &str) -> Endpoint {
        Endpoint::Udp(text.parse().unwrap())
    }

    fn random() -> Random {
        let mut next = 0_u8;
        Box::new(move |bytes| {
            for byte in bytes {
                next = next.wrapping_mul(5).wrapping_add(3);
                *byte = next;
            }
        })
    }

    #[test]
    fn a_cookie_is_bound_to_address_and_port_and_ends() {
        let us = PublicKey([9; 32]);
        let (mut checker, mut cookie) = (CookieChecker::new(&us), PeerCookie::new(&us));
        let lifetime = SECRET_LIFETIME;
        let from = udp("192.0.2.1:1000");
        let mut message = [7; 148];
        cookie.sign(at(0), lifetime, &mut message);
        assert_eq!(checker.check(at(0), from, &message), Standing::Knows);

        let reply = checker.reply(at(0), from, &message, 5, &mut random()).unwrap();
        assert!(cookie.take(at(1), &reply));
        assert!(!cookie.take(at(1), &reply), "once");
        cookie.sign(at(2), lifetime, &mut message);
        assert_eq!(checker.check(at(2), from, &message), Standing::Reachable);
        for other in ["192.0.2.1:1001", "192.0.2.2:1000", "[2001:db8::1]:1000"] {
            assert_eq!(checker.check(at(2), udp(other), &message), Standing::Knows, "{other}");
        }
        let mut changed = message;
        changed[20] ^= 1;
        assert_eq!(checker.check(at(2), from, &changed), Standing::Invalid);
        assert_eq!(checker.check(at(121), from, &message), Standing::Knows, "the secret is old");
        cookie.sign(at(117), lifetime, &mut message);
        assert_eq!(message[132..], [0; 16], "the cookie is old");
    }

    #[test]
    fn a_reply_to_another_message_gives_no_cookie() {
        let us = PublicKey([9; 32]);
        let (mut checker, mut cookie) = (CookieChecker::new(&us), PeerCookie::new(&us));
        let mut message = [7; 148];
        cookie.sign(at(0), SECRET_LIFETIME, &mut message);
        let from = udp("192.0.2.1:1000");
        let mut other = message;
        other[120] ^= 1;
        let reply = checker.reply(at(0), from, &other, 5, &mut random()).unwrap();
        assert!(!cookie.take(at(0), &reply));
    }
}
