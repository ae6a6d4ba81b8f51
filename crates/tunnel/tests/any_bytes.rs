//! The tunnel on random bytes and bytes that are nearly right.

mod exercise;

#[path = "../../packet/tests/cases/mod.rs"]
mod cases;

use proptest::prelude::*;

/// A packet of TCP over IPv4, and a super-packet's virtio-net header before it.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let ip = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 1, 1];
    let tcp = [0, 80, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
    (0_usize..3000, 0_u16..2000, prop::collection::vec((0_usize..120, any::<u8>()), 0..6)).prop_map(
        move |(len, size, changes)| {
            let mut bytes = vec![1, 1, 40, 0];
            bytes.extend(size.to_le_bytes());
            bytes.extend([20, 0, 16, 0]);
            bytes.resize(24, 0);
            bytes.extend(ip);
            bytes.extend(tcp);
            bytes.resize(64 + len, 7);
            let total = u16::try_from(40 + len).expect("it is short").to_be_bytes();
            bytes[26..28].copy_from_slice(&total);
            for (at, byte) in changes {
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            bytes
        },
    )
}

/// Control messages, known kinds among them.
fn controls() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0..=8_u8, any::<u8>()];
    let text = prop_oneof![0_usize..16, 0_usize..1400];
    let text = text.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len));
    let piece = (kind, text).prop_map(|(kind, mut text)| {
        text.insert(0, kind);
        let len = u16::try_from(text.len()).expect("it is short").to_le_bytes();
        [&len[..], &text].concat()
    });
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// Pieces whose first byte says what they are.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x45), Just(0x60), 0x10..=0x3f_u8, any::<u8>()];
    let piece = (kind, prop::collection::vec(any::<u8>(), 0..250)).prop_map(|(kind, mut bytes)| {
        bytes.insert(0, kind);
        bytes.insert(0, u8::try_from(bytes.len()).expect("it is short"));
        bytes
    });
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases::cases(256))]

    #[test]
    fn datagrams(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        exercise::datagrams(&bytes);
    }

    #[test]
    fn inside(bytes in pieces()) {
        exercise::inside(&bytes);
    }

    #[test]
    fn control(bytes in controls()) {
        exercise::control(&bytes);
    }

    #[test]
    fn state(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise::state(&bytes);
    }

    #[test]
    fn exchange(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        exercise::exchange(&bytes);
    }

    #[test]
    fn device(bytes in packet()) {
        exercise::device(&bytes);
    }

    #[test]
    fn handshake(kind in any::<u8>(), at in 0_usize..148, change in any::<u8>()) {
        let mut bytes = vec![0; 149];
        bytes[0] = kind;
        bytes[1 + at] = change;
        exercise::handshake(&bytes);
    }
}
