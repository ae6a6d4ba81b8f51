//! Plain data as bytes, between two processes of the same program.
//!
//! There is no version. Numbers have a fixed length, lists and texts have their length before them, an enumeration begins
//! with a byte. Reading ends whatever the bytes are, and allocates no more than they are long.

use adit_device::netlink::{
    Address, AddressFlags, FwMark, IpFamily, IpPrefix, Mode, NextHop, Route, RouteKind, Rule,
    RuleAction, Scope,
};
use adit_device::{IfIndex, IfName, MacAddr, NamePattern};
use adit_runtime::text::user::{Group, User};
use std::ffi::OsStr;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The bytes that were not read yet.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

/// A type that crosses as bytes.
pub trait Wire: Sized {
    /// Appends its bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads it; `None` if the bytes are not one.
    fn take(from: &mut Reader<'_>) -> Option<Self>;
}

/// The bytes of a value.
pub fn encode(value: &impl Wire) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(&mut out);
    out
}

/// The value of bytes; `None` unless all of them are one value.
pub fn decode<T: Wire>(bytes: &[u8]) -> Option<T> {
    let mut from = Reader(bytes);
    let value = T::take(&mut from)?;
    from.0.is_empty().then_some(value)
}

/// Implements [`Wire`] for structs by their fields, all of them.
macro_rules! wire_structs {
    ($($type:ty { $($field:ident),* $(,)? })+) => {$(
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::wire::Wire::put($field, out);)*
            }
            fn take(from: &mut $crate::wire::Reader<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::wire::Wire::take(from)?),* })
            }
        }
    )+};
}

/// Implements [`Wire`] for an enumeration: a number for each variant, and its fields.
macro_rules! wire_enum {
    ($type:ty { $($number:literal = $variant:ident
        $(($($field:ident),+))? $({ $($named:ident),+ })?),+ $(,)? }) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($($field),+))? $({ $($named),+ })? => {
                        out.push($number);
                        $($($crate::wire::Wire::put($field, out);)+)?
                        $($($crate::wire::Wire::put($named, out);)+)?
                    })+
                }
            }
            fn take(from: &mut $crate::wire::Reader<'_>) -> Option<Self> {
                Some(match u8::take(from)? {
                    $($number => {
                        $($(let $field = $crate::wire::Wire::take(from)?;)+)?
                        $($(let $named = $crate::wire::Wire::take(from)?;)+)?
                        Self::$variant $(($($field),+))? $({ $($named),+ })?
                    })+
                    _ => return None,
                })
            }
        }
    };
}

macro_rules! numbers {
    ($($type:ident)+) => {$(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_ne_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                from.take(size_of::<Self>())?.try_into().ok().map(Self::from_ne_bytes)
            }
        }
    )+};
}

numbers! { u8 u16 u32 u64 u128 }

/// Implements [`Wire`] for types that are another one with conditions.
macro_rules! wire_as {
    ($($type:ty as $other:ty: $to:expr, $of:expr;)+) => {$(
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let to: fn(&Self) -> $other = $to;
                $crate::wire::Wire::put(&to(self), out);
            }
            fn take(from: &mut $crate::wire::Reader<'_>) -> Option<Self> {
                let of: fn($other) -> Option<Self> = $of;
                of($crate::wire::Wire::take(from)?)
            }
        }
    )+};
}

wire_as! {
    bool as u8: |on| u8::from(*on), |byte| [false, true].get(usize::from(byte)).copied();
    String as Vec<u8>: |text| text.as_bytes().to_vec(), |bytes| Self::from_utf8(bytes).ok();
    OsString as Vec<u8>: |text| text.as_bytes().to_vec(), |bytes| Some(Self::from_vec(bytes));
    Ipv4Addr as u32: |ip| ip.to_bits(), |bits| Some(Self::from_bits(bits));
    Ipv6Addr as u128: |ip| ip.to_bits(), |bits| Some(Self::from_bits(bits));
    std::time::Duration as u64: |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        |nanos| Some(Self::from_nanos(nanos));
    std::ops::RangeInclusive<u32> as (u32, u32): |range| (*range.start(), *range.end()), |(a, b)| Some(a..=b);
    MacAddr as Vec<u8>: |mac| mac.0.to_vec(), |bytes| bytes.try_into().ok().map(Self);
    IpPrefix as (IpAddr, u8): |prefix| (prefix.ip(), prefix.len()), |(ip, len)| Self::new(ip, len).ok();
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        self.iter().for_each(|one| one.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        // Not by its length, of which only the bytes tell whether it is true.
        (0..u32::take(from)?).map(|_| T::take(from)).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|one| one.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::take(from)? { Some(T::take(from)?) } else { None })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

wire_as! {
    IfIndex as u32: |index| index.get(), Self::new;
    IfName as OsString: |name| name.as_os_str().to_owned(), |name| Self::new(name).ok();
    NamePattern as OsString: |name| OsStr::from_bytes(name.as_bytes()).to_owned(), |name| Self::new(name).ok();
    AddressFlags as u32: |flags| flags.bits(), |bits| Some(Self::from_bits_retain(bits));
    Scope as u8: |scope| scope.number(), |number| Some(number.into());
    RouteKind as u8: |kind| kind.number(), |number| Some(number.into());
}
wire_structs! {
    Address { local, peer, broadcast, scope, label, flags, valid_lifetime, preferred_lifetime }
    NextHop { gateway, oif, weight, onlink }
    Route {
        destination, gateway, oif, metric, table, protocol, scope, kind, prefsrc, mtu, onlink, next_hops,
    }
    FwMark { mark, mask }
    Rule {
        family, priority, from, to, fwmark, iif, oif, uid_range, action, invert, suppress_prefixlength,
        protocol,
    }
    User { text, uid }
    Group { text, gid }
}
wire_as! {
    RuleAction as (u8, u32): |action| match action {
        Self::Table(table) => (0, *table),
        Self::Blackhole => (1, 0),
        Self::Unreachable => (2, 0),
        Self::Prohibit => (3, 0),
        Self::Other(number) => (4, (*number).into()),
        _ => (u8::MAX, 0),
    }, |(action, number)| Some(match action {
        0 => Self::Table(number),
        1 => Self::Blackhole,
        2 => Self::Unreachable,
        3 => Self::Prohibit,
        4 => Self::Other(number.try_into().ok()?),
        _ => return None,
    });
}
wire_enum! { Mode { 0 = Tun, 1 = Tap } }
wire_enum! { IpAddr { 4 = V4(ip), 6 = V6(ip) } }
wire_enum! { IpFamily { 4 = V4, 6 = V6 } }
pub(crate) use {wire_enum, wire_structs};

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
