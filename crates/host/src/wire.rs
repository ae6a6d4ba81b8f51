//! Plain data as bytes, between two processes of the same program: that of [`adit_device::wire`], for actions too.

pub use adit_device::wire::{Reader, Wire, decode, encode};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
        assert_eq!(decode::<T>(&encode(value)).as_ref(), Some(value));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut address = Address::new("2001:db8::1/64".parse().unwrap());
        address.peer = Some("2001:db8::2".parse().unwrap());
        address.valid_lifetime = Some(std::time::Duration::from_millis(1500));
        comes_back(&address);
        let mut rule = Rule::new(IpFamily::V6, RuleAction::Table(7));
        (rule.fwmark, rule.uid_range) = (Some(FwMark::from(9)), Some(3..=8));
        comes_back(&rule);
        let route =
            Route { gateway: Some("192.0.2.1".parse().unwrap()), ..Route::new(IpPrefix::ALL_V4) };
        comes_back(&route);
        comes_back(&MacAddr([1, 2, 3, 4, 5, 6]));
        comes_back(&vec![Some(NamePattern::KERNEL), "tap%d".parse().ok(), None]);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused() {
        let bytes = encode(&Route::new(IpPrefix::ALL_V6));
        for len in 0..bytes.len() {
            assert!(decode::<Route>(&bytes[..len]).is_none(), "{len}");
        }
        assert!(decode::<Route>(&[&bytes[..], &[0]].concat()).is_none());
        assert!(decode::<Vec<u64>>(&u32::MAX.to_ne_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (decode::<Vec<Rule>>(&bytes), decode::<Vec<Route>>(&bytes), decode::<Address>(&bytes));
        }
    }
}
