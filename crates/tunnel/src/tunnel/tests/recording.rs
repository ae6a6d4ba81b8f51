//! What a recording gives away to somebody who later finds all private keys of X25519.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use super::*;
use crate::handshake::ikpsk2::{Identity, Received, SessionKeys};
use crate::keys::PublicKey;
use crate::message::{DataHeader, Initiation, Response};
use crate::post_quantum::kem::{CIPHERTEXT_LEN, KemSeed, PUBLIC_LEN, Secret};
use crate::post_quantum::key::{Binding, HandshakeKey};
use crate::post_quantum::message::ExchangeMessage;
use crate::session::Session;
use crate::{PostQuantum, PostQuantumStatus};

/// All random bytes that were ever drawn.
type Drawn = Arc<Mutex<Vec<Vec<u8>>>>;

/// A handshake of the recording.
struct Opened {
    initiator: usize,
    receiver: u32,
    session: Session,
    keys: SessionKeys,
}

/// Somebody with a recording, and with the private key of every public key of X25519 in it.
struct Attacker {
    recording: Vec<Datagram>,
    statics: [PrivateKey; 2],
    drawn: Drawn,
    ends: Vec<Endpoint>,
}

impl Attacker {
    /// The private key of an ephemeral key.
    fn ephemeral(&self, public: &[u8; KEY_LEN]) -> PrivateKey {
        let drawn = self.drawn.lock().unwrap();
        let keys = drawn.iter().filter_map(|bytes| <[u8; KEY_LEN]>::try_from(&bytes[..]).ok());
        let mut keys = keys.map(PrivateKey::from_bytes);
        keys.find(|key| key.public_key().0 == *public).expect("it was drawn")
    }

    /// Repeats each handshake with the keys and a preshared key; returns those that turn out as recorded, and the
    /// number of the others.
    fn open_handshakes(&self, preshared: &PresharedKey) -> (Vec<Opened>, usize) {
        let (mut opened, mut closed) = (Vec::new(), 0);
        for response in self.recording.iter().filter(|it| it.bytes[0] == 2) {
            let message: &[u8; 92] = response.bytes[..].try_into().unwrap();
            let recorded = Response::parse(message).unwrap();
            let is_it = |it: &&Datagram| {
                it.bytes[0] == 1 && it.bytes[4..8] == recorded.receiver.to_le_bytes()
            };
            let initiation = self.recording.iter().find(is_it).unwrap();
            let initiator = self.ends.iter().position(|end| *end == initiation.from).unwrap();
            let us = Identity::new(self.statics[1 - initiator].clone());
            let bytes: &[u8; 148] = initiation.bytes[..].try_into().unwrap();
            let mut received = Received::new(&us, &Initiation::parse(bytes).unwrap()).unwrap();
            let shared = us.private.agree(&received.public).unwrap();
            received.timestamp(&shared).expect("an initiation has no preshared key");
            let ephemeral = self.ephemeral(&recorded.ephemeral);
            let (keys, repeated) =
                received.respond(preshared, &ephemeral, recorded.sender).unwrap();
            if repeated.nothing == recorded.nothing {
                let (now, receiver) = (Instant::ZERO, recorded.sender);
                let session = Session::new(now, &keys, receiver, false);
                opened.push(Opened { initiator, receiver, session, keys });
            } else {
                closed += 1;
            }
        }
        (opened, closed)
    }

    /// What the initiator of a session sent in it.
    fn contents(&self, opened: &Opened) -> Vec<Vec<u8>> {
        let all = self.recording.iter().filter(|it| it.bytes[0] == 4);
        let ours = all.filter_map(|it| {
            let header = DataHeader::parse(&it.bytes)?;
            let mut text = it.bytes[16..].to_vec();
            (header.receiver == opened.receiver).then_some(())?;
            let len = opened.session.recv.open(header.counter, &mut text, 0).expect("it is open");
            text.truncate(len);
            Some(text)
        });
        ours.collect()
    }
}

fn sees(contents: &[Vec<u8>], packet: &[u8]) -> bool {
    contents.iter().any(|text| text.starts_with(packet))
}

#[test]
fn a_recording_stays_closed_although_all_keys_of_x25519_are_known() {
    for (mode, preshared) in [
        (PostQuantum::Off, 0),
        (PostQuantum::Prefer, 0),
        (PostQuantum::Require, 0),
        (PostQuantum::Require, 7),
    ] {
        let preshared = (preshared != 0).then(|| PresharedKey::from_bytes([preshared; KEY_LEN]));
        let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
            (peer.extensions, peer.post_quantum) = (true, mode);
            peer.preshared_key.clone_from(&preshared);
        });
        let drawn = Drawn::default();
        for (seed, side) in (1..).zip(&mut net.sides) {
            let (drawn, random) = (Arc::clone(&drawn), RefCell::new(random(seed)));
            side.tunnel.shared.random = Box::new(move |bytes| {
                (random.borrow_mut())(bytes);
                drawn.lock().unwrap().push(bytes.to_vec());
            });
        }
        let (first, later, last) = (ipv4(0, 100), ipv4(0, 200), ipv4(0, 300));
        net.send(0, &first);
        net.run(seconds(1));
        net.send(0, &later);
        net.run(seconds(121));
        net.send(0, &ipv4(0, 90));
        net.run(seconds(1));
        net.send(0, &last);
        net.run(seconds(1));
        assert_eq!(net.sides[1].packets().len(), 4);
        let attacker = Attacker {
            recording: net.log.clone(),
            statics: [key(1), key(2)],
            drawn,
            ends: net.sides.iter().map(|side| side.at).collect(),
        };
        // Also the configured preshared key is known.
        let known = preshared.clone().unwrap_or_default();
        let (opened, closed) = attacker.open_handshakes(&known);
        let contents: Vec<_> = opened.iter().map(|it| attacker.contents(it)).collect();
        let all = contents.concat();
        if mode == PostQuantum::Off {
            assert_eq!((opened.len(), closed), (2, 0));
            assert!([&first, &later, &last].iter().all(|packet| sees(&all, packet)));
            continue;
        }
        assert_eq!(net.status(0).post_quantum, PostQuantumStatus::Active);
        assert_eq!((opened.len(), closed), (1, 2), "the first one, without a post-quantum key");
        assert_eq!(sees(&all, &first), mode == PostQuantum::Prefer);
        assert!(!sees(&all, &later) && !sees(&all, &last));

        // In the first session the attacker finds the key and the ciphertext, and only lacks the secret of ML-KEM.
        let public: [u8; PUBLIC_LEN] = find(&contents[0], |message| match message {
            ExchangeMessage::Offer { public, .. } => Some(*public),
            ExchangeMessage::Accept { .. } => None,
        });
        let ciphertext: [u8; CIPHERTEXT_LEN] =
            find(&reverse(&attacker, &opened[0]), |message| match message {
                ExchangeMessage::Accept { ciphertext, .. } => Some(*ciphertext),
                ExchangeMessage::Offer { .. } => None,
            });
        let statics = attacker.statics.clone().map(|key| key.public_key());
        let key_of = |secret: &Secret| {
            let one = opened[0].initiator;
            let binding = Binding {
                session: &opened[0].keys.exporter,
                preshared: &known,
                statics: [&statics[one], &statics[1 - one]],
            };
            HandshakeKey::new(1, secret, &binding, &public, &ciphertext).preshared
        };
        assert_eq!(attacker.open_handshakes(&key_of(&Secret::default())).0.len(), 0);
        let secret = {
            let drawn = attacker.drawn.lock().unwrap();
            let seeds = drawn.iter().filter_map(|bytes| <[u8; 64]>::try_from(&bytes[..]).ok());
            let mut seeds = seeds.map(|seed| KemSeed(zeroize::Zeroizing::new(seed)));
            seeds.find(|seed| seed.public() == public).unwrap().decapsulate(&ciphertext)
        };
        let (with_secret, _) = attacker.open_handshakes(&key_of(&secret));
        assert_eq!(
            with_secret.len(),
            1,
            "with the secret the second session opens: it alone was missing"
        );
        assert!(sees(&attacker.contents(&with_secret[0]), &later));
        assert!(
            !sees(&attacker.contents(&with_secret[0]), &last),
            "the third has a key of its own"
        );
    }
}

/// What the responder of a session sent in it.
fn reverse(attacker: &Attacker, opened: &Opened) -> Vec<Vec<u8>> {
    let SessionKeys { send, recv, exporter, their_index } = &opened.keys;
    let keys = SessionKeys {
        send: recv.clone(),
        recv: send.clone(),
        exporter: exporter.clone(),
        their_index: opened.receiver,
    };
    let session = Session::new(Instant::ZERO, &keys, *their_index, true);
    attacker.contents(&Opened {
        initiator: opened.initiator,
        receiver: *their_index,
        session,
        keys,
    })
}

fn find<T>(contents: &[Vec<u8>], pick: impl Fn(ExchangeMessage<'_>) -> Option<T>) -> T {
    let messages = contents.iter().filter(|text| text.first() == Some(&0x30));
    let mut found = messages.filter_map(|text| pick(ExchangeMessage::parse(&text[1..])?));
    found.next().expect("it was sent")
}
