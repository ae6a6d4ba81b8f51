//! State as bytes, for a process that continues in the place of this one.
//!
//! Integers are little endian, an `Option` and an enum begin with a byte, a list with its length. There are no names and
//! no lengths of structs: both processes must have the same version of the format
//! ([`STATE_VERSION`](crate::STATE_VERSION)). A value that is out of range is no value: nothing decoded can make the
//! engine panic or use memory without bound.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use core::time::Duration;

use adit_engine::{Endpoint, FlowId, PortId};
use adit_packet::{Instant, IpPrefix};
use zeroize::Zeroizing;

/// Bytes with secrets in them, which are cleared when they move and when they are dropped.
#[derive(Default)]
pub(crate) struct Encoder(Zeroizing<Vec<u8>>);

impl Encoder {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let len = self.0.len() + bytes.len();
        if len > self.0.capacity() {
            // A vector that grows by itself leaves its old memory as it is.
            let mut larger = Zeroizing::new(Vec::with_capacity(len.next_power_of_two().max(4096)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// What is left to decode.
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(bytes)
    }
}

/// A part of the state.
pub(crate) trait Codec: Sized {
    fn encode(&self, to: &mut Encoder);
    /// `None` if the bytes are not those of a value.
    fn decode(from: &mut Decoder<'_>) -> Option<Self>;
}

/// Encodes a struct as its fields, in the order of the list. The compiler rejects a list without all of them.
macro_rules! codec {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Codec for $type {
            fn encode(&self, to: &mut $crate::codec::Encoder) {
                let Self { $($field),* } = self;
                $($crate::codec::Codec::encode($field, to);)*
            }

            fn decode(from: &mut $crate::codec::Decoder<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::codec::Codec::decode(from)?),* })
            }
        }
    };
}

/// Encodes an enum without fields as the number of each variant.
macro_rules! codec_of_variants {
    ($type:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl $crate::codec::Codec for $type {
            fn encode(&self, to: &mut $crate::codec::Encoder) {
                to.bytes(&[match self { $(Self::$variant => $number),* }]);
            }

            fn decode(from: &mut $crate::codec::Decoder<'_>) -> Option<Self> {
                match u8::decode(from)? {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {codec, codec_of_variants};

macro_rules! codec_of_integers {
    ($($type:ident)*) => {$(
        impl Codec for $type {
            fn encode(&self, to: &mut Encoder) {
                to.bytes(&self.to_le_bytes());
            }

            fn decode(from: &mut Decoder<'_>) -> Option<Self> {
                from.array().copied().map(Self::from_le_bytes)
            }
        }
    )*};
}

codec_of_integers! { u8 u16 u32 u64 }

impl Codec for bool {
    fn encode(&self, to: &mut Encoder) {
        u8::from(*self).encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        match u8::decode(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Codec> Codec for Option<T> {
    fn encode(&self, to: &mut Encoder) {
        self.is_some().encode(to);
        self.iter().for_each(|value| value.encode(to));
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        if bool::decode(from)? { T::decode(from).map(Some) } else { Some(None) }
    }
}

impl<A: Codec, B: Codec> Codec for (A, B) {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
        self.1.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Some((A::decode(from)?, B::decode(from)?))
    }
}

impl<T: Codec> Codec for Vec<T> {
    fn encode(&self, to: &mut Encoder) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).encode(to);
        self.iter().for_each(|value| value.encode(to));
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let count = u32::decode(from)?;
        // Each value has a byte at least, so the list is no longer than the bytes that are left.
        (0..count).map(|_| T::decode(from)).collect()
    }
}

impl<const N: usize> Codec for [u8; N] {
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        from.array().copied()
    }
}

/// Key material: copied from the bytes to its place.
impl<const N: usize> Codec for Zeroizing<[u8; N]> {
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self.as_slice());
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let bytes = from.array::<N>()?;
        let mut key = Self::new([0; N]);
        key.copy_from_slice(bytes);
        Some(key)
    }
}

impl Codec for Instant {
    fn encode(&self, to: &mut Encoder) {
        self.as_nanos().encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        u64::decode(from).map(Self::from_nanos)
    }
}

impl Codec for Duration {
    fn encode(&self, to: &mut Encoder) {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX).encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        u64::decode(from).map(Self::from_nanos)
    }
}

impl Codec for IpAddr {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::V4(ip) => {
                4_u8.encode(to);
                ip.octets().encode(to);
            }
            Self::V6(ip) => {
                6_u8.encode(to);
                ip.octets().encode(to);
            }
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        match u8::decode(from)? {
            4 => <[u8; 4]>::decode(from).map(Self::from),
            6 => <[u8; 16]>::decode(from).map(Self::from),
            _ => None,
        }
    }
}

impl Codec for IpPrefix {
    fn encode(&self, to: &mut Encoder) {
        self.ip().encode(to);
        self.len().encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Self::new(Codec::decode(from)?, Codec::decode(from)?).ok()
    }
}

impl Codec for SocketAddr {
    fn encode(&self, to: &mut Encoder) {
        self.ip().encode(to);
        self.port().encode(to);
        if let Self::V6(address) = self {
            address.scope_id().encode(to);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let (ip, port) = Codec::decode(from)?;
        Some(match ip {
            IpAddr::V4(_) => Self::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, Codec::decode(from)?).into(),
        })
    }
}

impl Codec for PortId {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Codec::decode(from).map(Self)
    }
}

impl Codec for Endpoint {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Port(port) => (0_u8, *port).encode(to),
            Self::Udp(address) => (1_u8, *address).encode(to),
            Self::Flow(flow) => (2_u8, flow.0).encode(to),
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        match u8::decode(from)? {
            0 => Codec::decode(from).map(Self::Port),
            1 => Codec::decode(from).map(Self::Udp),
            2 => Codec::decode(from).map(|flow| Self::Flow(FlowId(flow))),
            _ => None,
        }
    }
}
