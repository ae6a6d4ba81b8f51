//! Random configurations, frames and changes: no switch panics, and none loses a packet.

mod exercise;

#[path = "../../packet/tests/cases/mod.rs"]
mod cases;

use proptest::prelude::*;

proptest! {
    #![proptest_config(cases::cases(5000))]

    #[test]
    fn any_bytes_conserve_packets(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        exercise::switch(&bytes);
    }
}

/// Bytes that make long frames, up to 64 KiB, on each port of a switch with everything on.
#[test]
fn long_frames_conserve_packets() {
    let (mut random, mut sent) = (1_u64, 0);
    for _ in 0..200 {
        let mut bytes = Vec::new();
        while bytes.len() < 400_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend(&random.to_be_bytes()[..5]);
        }
        sent += exercise::switch(&bytes);
    }
    assert!(sent > 1000, "{sent} frames went through");
}
