//! Plain data as bytes, between two processes of the same program.
//!
//! There is no version: both ends are the same executable. Numbers have a fixed length in the machine's order,
//! lists and texts have their length before them, and what an enumeration is comes first, as one byte. Whatever the bytes
//! are, reading ends, allocates no more than they are long, and returns `None` for what was not written here.

use adit_packet::{Endian, HashTypes, IpFamily, IpPrefix, MacAddr, VnetLen};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
#[must_use]
pub fn decode<T: Wire>(bytes: &[u8]) -> Option<T> {
    let mut from = Reader(bytes);
    let value = T::take(&mut from)?;
    from.0.is_empty().then_some(value)
}

/// Implements [`Wire`] for structs by their fields, all of them.
#[macro_export]
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
#[macro_export]
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
                let bytes = from.take(size_of::<Self>())?;
                bytes.try_into().ok().map(Self::from_ne_bytes)
            }
        }
    )+};
}

numbers! { u8 u16 u32 u64 u128 i16 i32 }

/// Implements [`Wire`] for types that are another one with conditions.
#[macro_export]
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
    usize as u64: |number| u64::try_from(*number).unwrap_or(u64::MAX), |number| number.try_into().ok();
    String as Vec<u8>: |text| text.as_bytes().to_vec(), |bytes| Self::from_utf8(bytes).ok();
    OsString as Vec<u8>: |text| text.as_bytes().to_vec(), |bytes| Some(Self::from_vec(bytes));
    PathBuf as OsString: |path| path.as_os_str().to_owned(), |path| Some(path.into());
    Ipv4Addr as u32: |ip| ip.to_bits(), |bits| Some(Self::from_bits(bits));
    Ipv6Addr as u128: |ip| ip.to_bits(), |bits| Some(Self::from_bits(bits));
    Duration as (u64, u32): |time| (time.as_secs(), time.subsec_nanos()),
        |(seconds, nanos)| (nanos < 1_000_000_000).then(|| Self::new(seconds, nanos));
    RangeInclusive<u32> as (u32, u32): |range| (*range.start(), *range.end()),
        |(first, last)| Some(first..=last);
    SocketAddr as (IpAddr, (u16, u32)): |at| match at {
        Self::V4(at) => ((*at.ip()).into(), (at.port(), 0)),
        Self::V6(at) => ((*at.ip()).into(), (at.port(), at.scope_id())),
    }, |(ip, (port, scope))| Some(match ip {
        IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    });
    MacAddr as (u32, u16): |mac| {
        let [a, b, c, d, e, f] = mac.0;
        (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]))
    }, |(high, low)| {
        let ([a, b, c, d], [e, f]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Self([a, b, c, d, e, f]))
    };
    IpPrefix as (IpAddr, u8): |prefix| (prefix.ip(), prefix.len()), |(ip, len)| Self::new(ip, len).ok();
    HashTypes as u32: |types| types.0, |bits| Some(Self(bits));
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        self.iter().for_each(|one| one.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        // Not by its length, of which only the bytes tell whether it is true.
        let count = u32::take(from)?;
        let mut list = Self::new();
        for _ in 0..count {
            list.push(T::take(from)?);
        }
        Some(list)
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

impl<T: Wire> Wire for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        T::take(from).map(Self::new)
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        T::take(from).map(Self::new)
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

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_ok().put(out);
        match self {
            Ok(value) => value.put(out),
            Err(error) => error.put(out),
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::take(from)? { Ok(T::take(from)?) } else { Err(E::take(from)?) })
    }
}

impl Wire for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut Reader<'_>) -> Option<Self> {
        Some(())
    }
}

wire_enum! { IpAddr { 4 = V4(ip), 6 = V6(ip) } }
wire_enum! { IpFamily { 4 = V4, 6 = V6 } }
wire_enum! { Endian { 0 = Native, 1 = Little, 2 = Big } }
wire_enum! { VnetLen { 0 = Legacy, 1 = Mergeable, 2 = Hash, 3 = Tunnel } }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Debug;

    fn comes_back<T: Wire + PartialEq + Debug>(value: &T) {
        let bytes = encode(value);
        assert_eq!(decode::<T>(&bytes).as_ref(), Some(value));
        for len in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..len]).is_none(), "{len}");
        }
        assert!(decode::<T>(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn what_is_written_is_read_and_nothing_shorter_or_longer() {
        comes_back(&MacAddr([1, 2, 3, 4, 5, 6]));
        comes_back(&vec![Some(IpPrefix::ALL_V6), "192.0.2.0/24".parse().ok(), None]);
        comes_back::<SocketAddr>(&"[fe80::1%3]:53".parse().unwrap());
        comes_back::<Result<String, u32>>(&Ok("text".to_owned()));
        comes_back(&(Duration::from_millis(1500), 3..=8));
        assert!(decode::<Vec<u64>>(&u32::MAX.to_ne_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (decode::<Vec<Option<IpPrefix>>>(&bytes), decode::<Vec<SocketAddr>>(&bytes));
        }
    }
}
