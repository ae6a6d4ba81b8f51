//! What a recording gives away to somebody who later finds all private keys of X25519.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use super::*;
use crate::handshake::ikpsk2::{Identity, Received, SessionKeys};
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

/// The three packets whose contents the attacker looks for: in the first session, the second and the third.
fn packets() -> [Vec<u8>; 3] {
    [100, 200, 300].map(|len| ipv4(0, len))
}

/// Records two ends that connect, send, renew their session and send again.
fn record(mode: PostQuantum, preshared: Option<&PresharedKey>) -> Attacker {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        (peer.extensions, peer.post_quantum) = (true, mode);
        peer.preshared_key = preshared.cloned();
    });
    let drawn = Drawn::default();
    for (seed, side) in (1..).zip(&mut net.sides) {
        let (drawn, random) = (Arc::clone(&drawn), RefCell::new(random(seed)));
        side.tunnel.shared.random = Box::new(move |bytes| {
            (random.borrow_mut())(bytes);
            drawn.lock().unwrap().push(bytes.to_vec());
        });
    }
    let [first, later, last] = packets();
    net.send(0, &first);
    net.run(seconds(1));
    net.send(0, &later);
    net.run(seconds(121));
    net.send(0, &ipv4(0, 90));
    net.run(seconds(1));
    net.send(0, &last);
    net.run(seconds(1));
    assert_eq!(net.sides[1].packets().len(), 4);
    let is_active = net.status(0).post_quantum == PostQuantumStatus::Active;
    assert_eq!(is_active, mode != PostQuantum::Off);
    let (recording, ends) = (net.log.clone(), net.sides.iter().map(|side| side.at).collect());
    Attacker { recording, statics: [key(1), key(2)], drawn, ends }
}

#[test]
fn a_recording_stays_closed_although_all_keys_of_x25519_are_known() {
    let [first, later, last] = packets();
    let attacker = record(PostQuantum::Off, None);
    let (opened, closed) = attacker.open_handshakes(&PresharedKey::default());
    assert_eq!((opened.len(), closed), (2, 0));
    let all: Vec<_> = opened.iter().flat_map(|it| attacker.contents(it)).collect();
    assert!(packets().iter().all(|packet| sees(&all, packet)));

    let configured = PresharedKey::from_bytes([7; KEY_LEN]);
    for (mode, preshared) in [
        (PostQuantum::Prefer, None),
        (PostQuantum::Require, None),
        (PostQuantum::Require, Some(&configured)),
    ] {
        let attacker = record(mode, preshared);
        // The configured preshared key is known as well.
        let known = preshared.cloned().unwrap_or_default();
        let (opened, closed) = attacker.open_handshakes(&known);
        assert_eq!((opened.len(), closed), (1, 2), "the first one, without a post-quantum key");
        let contents = attacker.contents(&opened[0]);
        assert_eq!(sees(&contents, &first), mode == PostQuantum::Prefer);
        assert!(!sees(&contents, &later) && !sees(&contents, &last));
        assert_only_the_secret_is_missing(&attacker, &opened[0], &known);
    }
}

/// In the first session the attacker finds key and ciphertext: with the secret of ML-KEM the second session opens,
/// without it does not.
fn assert_only_the_secret_is_missing(attacker: &Attacker, first: &Opened, known: &PresharedKey) {
    let public: [u8; PUBLIC_LEN] = find(&attacker.contents(first), |message| match message {
        ExchangeMessage::Offer { public, .. } => Some(*public),
        ExchangeMessage::Accept { .. } => None,
    });
    let ciphertext: [u8; CIPHERTEXT_LEN] =
        find(&reverse(attacker, first), |message| match message {
            ExchangeMessage::Accept { ciphertext, .. } => Some(*ciphertext),
            ExchangeMessage::Offer { .. } => None,
        });
    let statics = attacker.statics.clone().map(|key| key.public_key());
    let key_of = |secret: &Secret| {
        let binding = Binding {
            session: &first.keys.exporter,
            preshared: known,
            statics: [&statics[first.initiator], &statics[1 - first.initiator]],
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
    let (opened, _) = attacker.open_handshakes(&key_of(&secret));
    assert_eq!(opened.len(), 1);
    let [_, later, last] = packets();
    let contents = attacker.contents(&opened[0]);
    assert!(sees(&contents, &later));
    assert!(!sees(&contents, &last), "the third session has a key of its own");
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
