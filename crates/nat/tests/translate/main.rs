//! Random packets, events and time: no NAT panics, loses a packet or breaks the contract of flows.

#[path = "../../../packet/tests/cases/mod.rs"]
mod cases;
mod exercise;

use proptest::prelude::*;

proptest! {
    #![proptest_config(cases::cases(3000))]

    #[test]
    fn any_bytes_keep_the_laws_of_a_nat(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        exercise::nat(&bytes);
    }
}

/// That random bytes get as far as streams and datagrams.
#[test]
fn random_bytes_reach_the_flows_of_a_nat() {
    let (mut random, mut sent) = (1_u64, 0);
    for _ in 0..100 {
        let mut bytes = Vec::new();
        while bytes.len() < 4000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend(&random.to_be_bytes()[..5]);
        }
        sent += exercise::nat(&bytes);
    }
    assert!(sent > 5000, "{sent}");
}
