//! Random frames of guests and random DNS messages: nothing panics, no packet is lost, and memory has its
//! bounds.

#[path = "../../packet/tests/cases/mod.rs"]
mod cases;
#[path = "exercise/dns.rs"]
mod dns;
#[path = "exercise/guests.rs"]
mod guests;

use proptest::prelude::*;

proptest! {
    #![proptest_config(cases::cases(2000))]

    #[test]
    fn any_bytes_of_guests_conserve_packets(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        guests::guests(&bytes);
    }

    #[test]
    fn any_messages_of_dns_conserve_packets(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        dns::dns(&bytes);
    }
}

/// That random bytes get as far as answers and packets.
#[test]
fn random_bytes_reach_the_servers() {
    let (mut random, mut sums) = (1_u64, (0, 0, 0));
    for _ in 0..200 {
        let mut bytes = Vec::new();
        while bytes.len() < 4000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend(&random.to_be_bytes()[..5]);
        }
        let (sent, passed) = guests::guests(&bytes);
        sums = (sums.0 + sent, sums.1 + passed, sums.2 + dns::dns(&bytes));
    }
    assert!(sums.0 > 1000 && sums.1 > 1000 && sums.2 > 1000, "{sums:?}");
}
