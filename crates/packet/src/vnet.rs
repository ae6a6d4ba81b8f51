//! The virtio-net header: it describes partial checksums and super-packets, in both directions.

use crate::Malformed;

/// Bits of the `gso_type` byte other than the type.
const GSO_ECN: u8 = 0x80;
const GSO_TUNNEL_V4: u8 = 0x20;
const GSO_TUNNEL_V6: u8 = 0x40;

/// How a super-packet is segmented (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gso {
    /// A single packet (0).
    #[default]
    None,
    /// TCP over IPv4 (1).
    Tcp4,
    /// UDP over IPv4 or IPv6, split into IP fragments (3, "UFO"). Linux no longer sends these.
    Udp,
    /// TCP over IPv6 (4).
    Tcp6,
    /// UDP over IPv4 or IPv6, split into datagrams (5, "USO").
    UdpL4,
}

impl Gso {
    const fn from_wire(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::None),
            1 => Some(Self::Tcp4),
            3 => Some(Self::Udp),
            4 => Some(Self::Tcp6),
            5 => Some(Self::UdpL4),
            _ => None,
        }
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Tcp4 => 1,
            Self::Udp => 3,
            Self::Tcp6 => 4,
            Self::UdpL4 => 5,
        }
    }
}

/// The outer network header of a super-packet inside a UDP tunnel (VXLAN, Geneve).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// `VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4` (0x20).
    Ipv4,
    /// `VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6` (0x40).
    Ipv6,
}

/// The fields that a hash was computed over (`VIRTIO_NET_HASH_REPORT_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum HashReport {
    /// No hash.
    #[default]
    None = 0,
    /// IPv4 addresses.
    Ipv4 = 1,
    /// IPv4 addresses and TCP ports.
    Tcp4 = 2,
    /// IPv4 addresses and UDP ports.
    Udp4 = 3,
    /// IPv6 addresses.
    Ipv6 = 4,
    /// IPv6 addresses and TCP ports.
    Tcp6 = 5,
    /// IPv6 addresses and UDP ports.
    Udp6 = 6,
    /// IPv6 home addresses.
    Ipv6Ex = 7,
    /// IPv6 home addresses and TCP ports.
    Tcp6Ex = 8,
    /// IPv6 home addresses and UDP ports.
    Udp6Ex = 9,
}

impl HashReport {
    /// The number in the header.
    #[must_use]
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Ipv4 => 1,
            Self::Tcp4 => 2,
            Self::Udp4 => 3,
            Self::Ipv6 => 4,
            Self::Tcp6 => 5,
            Self::Udp6 => 6,
            Self::Ipv6Ex => 7,
            Self::Tcp6Ex => 8,
            Self::Udp6Ex => 9,
        }
    }

    /// The report of this number; `None` for an undefined number.
    #[must_use]
    pub const fn from_wire(report: u16) -> Option<Self> {
        Some(match report {
            0 => Self::None,
            1 => Self::Ipv4,
            2 => Self::Tcp4,
            3 => Self::Udp4,
            4 => Self::Ipv6,
            5 => Self::Tcp6,
            6 => Self::Udp6,
            7 => Self::Ipv6Ex,
            8 => Self::Tcp6Ex,
            9 => Self::Udp6Ex,
            _ => return None,
        })
    }
}

/// The flow hash in a header of 20 bytes or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VnetHash {
    /// The Toeplitz hash.
    pub value: u32,
    /// The report type, as [`HashReport::to_wire`] encodes it; unknown numbers are kept.
    pub report: u16,
}

/// The length of the header on one queue (`TUNSETVNETHDRSZ`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VnetLen {
    /// 10 bytes: `struct virtio_net_hdr`.
    #[default]
    Legacy = 10,
    /// 12 bytes: with `num_buffers`.
    Mergeable = 12,
    /// 20 bytes: with the hash.
    Hash = 20,
    /// 24 bytes: with the offsets of a UDP tunnel.
    Tunnel = 24,
}

impl VnetLen {
    /// The length in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Legacy => 10,
            Self::Mergeable => 12,
            Self::Hash => 20,
            Self::Tunnel => VnetHeader::LEN_MAX,
        }
    }

    /// The header of exactly that many bytes, if there is one.
    #[must_use]
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            10 => Some(Self::Legacy),
            12 => Some(Self::Mergeable),
            20 => Some(Self::Hash),
            24 => Some(Self::Tunnel),
            _ => None,
        }
    }
}

/// The byte order of the first 12 bytes of the header (`TUNSETVNETLE`, `TUNSETVNETBE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Endian {
    /// The machine's own: the kernel's default.
    #[default]
    Native,
    /// Little endian, as in virtio 1.0.
    Little,
    /// Big endian.
    Big,
}

impl Endian {
    const fn read(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Native => u16::from_ne_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    const fn write(self, value: u16) -> [u8; 2] {
        match self {
            Self::Native => value.to_ne_bytes(),
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// The virtio-net header of one packet, decoded.
///
/// ```text
///  0     1        2        4         6           8            10           12
///  |flags|gso_type| hdr_len| gso_size| csum_start| csum_offset| num_buffers|
///  12           16            18     20                22                24
///  | hash value | hash report |  0   | outer_th_offset | inner_nh_offset |
/// ```
///
/// Bytes 0 to 11 are in the queue's [`Endian`], bytes 12 to 23 always in little endian. Offsets
/// count from the first byte of the packet (of the frame on TAP).
///
/// Source: Linux `include/uapi/linux/virtio_net.h`; virtio 1.3, section 5.1.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VnetHeader {
    /// [`Self::NEEDS_CSUM`] and the other flags.
    pub flags: u8,
    /// How to segment the packet.
    pub gso: Gso,
    /// A TCP super-packet with CWR set, which only its first segment keeps.
    pub ecn: bool,
    /// The outer address family of a super-packet inside a UDP tunnel.
    pub tunnel: Option<Tunnel>,
    /// The length of all headers of a super-packet. A hint: a forwarding kernel may set it wrong.
    pub hdr_len: u16,
    /// The payload length in bytes of each segment but the last.
    pub gso_size: u16,
    /// The offset where a partial checksum starts.
    pub csum_start: u16,
    /// The offset of the checksum field, from `csum_start`.
    pub csum_offset: u16,
    /// The number of buffers used (12 bytes or more): 0 or 1 on a TUN queue.
    pub num_buffers: u16,
    /// The flow hash (20 bytes or more).
    pub hash: VnetHash,
    /// The offset of the outer transport header (24 bytes).
    pub outer_th_offset: u16,
    /// The offset of the inner network header (24 bytes).
    pub inner_nh_offset: u16,
}

impl VnetHeader {
    /// Flag: the transport checksum is partial: the field holds the sum of the pseudo header only.
    pub const NEEDS_CSUM: u8 = 1;
    /// Flag: the checksum was verified.
    pub const DATA_VALID: u8 = 2;
    /// Flag: the checksum fields hold coalescing counts instead.
    pub const RSC_INFO: u8 = 4;
    /// Flag: the outer UDP header of a tunnel has a checksum.
    pub const UDP_TUNNEL_CSUM: u8 = 8;
    /// The maximum length of the header in bytes.
    pub const LEN_MAX: usize = 24;

    /// Whether the transport checksum is partial.
    #[must_use]
    pub const fn needs_csum(&self) -> bool {
        self.flags & Self::NEEDS_CSUM != 0
    }

    /// Whether this is a super-packet.
    #[must_use]
    pub const fn is_super_packet(&self) -> bool {
        !matches!(self.gso, Gso::None)
    }

    /// The header for the same packet after headers before it were pushed or removed: `shift` moves each
    /// offset that is in use. `None` if `shift` returns that for one of them.
    #[must_use]
    pub fn shifted(&self, shift: impl Fn(u16) -> Option<u16>) -> Option<Self> {
        let mut vnet = *self;
        let fields = [
            (&mut vnet.csum_start, self.needs_csum()),
            (&mut vnet.hdr_len, self.is_super_packet()),
            (&mut vnet.outer_th_offset, self.tunnel.is_some()),
            (&mut vnet.inner_nh_offset, self.tunnel.is_some()),
        ];
        for (field, _) in fields.into_iter().filter(|(field, is_used)| *is_used && **field != 0) {
            *field = shift(*field)?;
        }
        Some(vnet)
    }

    /// Decodes the header from the first `len` bytes. Fields that a shorter header lacks are zero.
    ///
    /// # Errors
    ///
    /// [`Malformed::VnetShort`] if there are fewer bytes; [`Malformed::VnetGso`] for an unknown GSO
    /// type.
    pub fn decode(bytes: &[u8], len: VnetLen, endian: Endian) -> Result<Self, Malformed> {
        let bytes = bytes.get(..len.bytes()).ok_or(Malformed::VnetShort)?;
        let (head, rest) = bytes.split_first_chunk::<10>().ok_or(Malformed::VnetShort)?;
        let [flags, gso_type, l0, l1, g0, g1, s0, s1, o0, o1] = *head;
        let tunnel = match gso_type & (GSO_TUNNEL_V4 | GSO_TUNNEL_V6) {
            0 => None,
            GSO_TUNNEL_V4 => Some(Tunnel::Ipv4),
            GSO_TUNNEL_V6 => Some(Tunnel::Ipv6),
            _ => return Err(Malformed::VnetGso),
        };
        let mut header = Self {
            flags,
            gso: Gso::from_wire(gso_type & !(GSO_ECN | GSO_TUNNEL_V4 | GSO_TUNNEL_V6))
                .ok_or(Malformed::VnetGso)?,
            ecn: gso_type & GSO_ECN != 0,
            tunnel,
            hdr_len: endian.read([l0, l1]),
            gso_size: endian.read([g0, g1]),
            csum_start: endian.read([s0, s1]),
            csum_offset: endian.read([o0, o1]),
            ..Self::default()
        };
        if let Some((&buffers, rest)) = rest.split_first_chunk() {
            header.num_buffers = endian.read(buffers);
            if let Some((&[v0, v1, v2, v3, r0, r1, _, _], rest)) = rest.split_first_chunk() {
                header.hash.value = u32::from_le_bytes([v0, v1, v2, v3]);
                header.hash.report = u16::from_le_bytes([r0, r1]);
                if let Some((&[t0, t1, n0, n1], _)) = rest.split_first_chunk() {
                    header.outer_th_offset = u16::from_le_bytes([t0, t1]);
                    header.inner_nh_offset = u16::from_le_bytes([n0, n1]);
                }
            }
        }
        Ok(header)
    }

    /// Encodes the header into the first `len` bytes, and returns `len` in bytes. A hash that does
    /// not fit is omitted.
    ///
    /// # Errors
    ///
    /// [`Malformed::VnetShort`] if `bytes` is shorter than `len`; [`Malformed::VnetLen`] for a
    /// super-packet inside a tunnel unless `len` is [`VnetLen::Tunnel`]: the kernel would take the
    /// offsets as zero.
    pub fn encode(
        &self,
        bytes: &mut [u8],
        len: VnetLen,
        endian: Endian,
    ) -> Result<usize, Malformed> {
        if self.tunnel.is_some() && len != VnetLen::Tunnel {
            return Err(Malformed::VnetLen);
        }
        let out = bytes.get_mut(..len.bytes()).ok_or(Malformed::VnetShort)?;
        let all = self.to_bytes(endian);
        out.copy_from_slice(all.get(..len.bytes()).ok_or(Malformed::VnetShort)?);
        Ok(len.bytes())
    }

    fn to_bytes(self, endian: Endian) -> [u8; Self::LEN_MAX] {
        let tunnel = match self.tunnel {
            None => 0,
            Some(Tunnel::Ipv4) => GSO_TUNNEL_V4,
            Some(Tunnel::Ipv6) => GSO_TUNNEL_V6,
        };
        let gso_type = self.gso.to_wire() | tunnel | if self.ecn { GSO_ECN } else { 0 };
        let [l0, l1] = endian.write(self.hdr_len);
        let [g0, g1] = endian.write(self.gso_size);
        let [s0, s1] = endian.write(self.csum_start);
        let [o0, o1] = endian.write(self.csum_offset);
        let [b0, b1] = endian.write(self.num_buffers);
        let [v0, v1, v2, v3] = self.hash.value.to_le_bytes();
        let [r0, r1] = self.hash.report.to_le_bytes();
        let [t0, t1] = self.outer_th_offset.to_le_bytes();
        let [n0, n1] = self.inner_nh_offset.to_le_bytes();
        [
            self.flags, gso_type, l0, l1, g0, g1, s0, s1, o0, o1, b0, b1, // virtio_net_hdr_v1
            v0, v1, v2, v3, r0, r1, 0, 0, // hash
            t0, t1, n0, n1, // tunnel
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: VnetHeader = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp6,
        ecn: true,
        tunnel: Some(Tunnel::Ipv4),
        hdr_len: 0x0102,
        gso_size: 0x0304,
        csum_start: 0x0506,
        csum_offset: 0x0708,
        num_buffers: 0x090a,
        hash: VnetHash { value: 0x0b0c_0d0e, report: 5 },
        outer_th_offset: 0x0f10,
        inner_nh_offset: 0x1112,
    };
    const LITTLE: [u8; 24] = [
        1, 0xa4, 2, 1, 4, 3, 6, 5, 8, 7, 0x0a, 9, 0x0e, 0x0d, 0x0c, 0x0b, 5, 0, 0, 0, 0x10, 0x0f,
        0x12, 0x11,
    ];
    const BIG: [u8; 24] = [
        1, 0xa4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0a, 0x0e, 0x0d, 0x0c, 0x0b, 5, 0, 0, 0, 0x10, 0x0f,
        0x12, 0x11,
    ];

    #[test]
    fn bytes_both_ways_in_every_order() {
        let native = if cfg!(target_endian = "little") { LITTLE } else { BIG };
        for (endian, bytes) in
            [(Endian::Little, LITTLE), (Endian::Big, BIG), (Endian::Native, native)]
        {
            let mut out = [0xee; 24];
            assert_eq!(HEADER.encode(&mut out, VnetLen::Tunnel, endian), Ok(24));
            assert_eq!(out, bytes);
            assert_eq!(VnetHeader::decode(&bytes, VnetLen::Tunnel, endian), Ok(HEADER));
        }
    }

    #[test]
    fn a_shorter_header_keeps_what_fits() {
        let plain = VnetHeader { tunnel: None, ..HEADER };
        for len in [VnetLen::Legacy, VnetLen::Mergeable, VnetLen::Hash] {
            let mut out = [0xee; 24];
            assert_eq!(plain.encode(&mut out, len, Endian::Little), Ok(len.bytes()));
            assert!(out[len.bytes()..].iter().all(|&byte| byte == 0xee), "{len:?}");
            let read = VnetHeader::decode(&out, len, Endian::Little).unwrap();
            assert_eq!(read.csum_offset, plain.csum_offset);
            assert_eq!(read.num_buffers, if len == VnetLen::Legacy { 0 } else { 0x090a });
            assert_eq!(
                read.hash,
                if len == VnetLen::Hash { plain.hash } else { VnetHash::default() }
            );
            assert_eq!(read.outer_th_offset, 0);
            assert_eq!(VnetLen::from_bytes(len.bytes()), Some(len));
        }
    }

    #[test]
    fn impossible_headers_are_refused() {
        let mut out = [0; 24];
        let refused = HEADER.encode(&mut out, VnetLen::Hash, Endian::Native);
        assert_eq!(refused, Err(Malformed::VnetLen));
        let short = HEADER.encode(&mut out[..23], VnetLen::Tunnel, Endian::Native);
        assert_eq!(short, Err(Malformed::VnetShort));
        let decode = |bytes: &[u8]| VnetHeader::decode(bytes, VnetLen::Legacy, Endian::Little);
        assert_eq!(decode(&LITTLE[..9]), Err(Malformed::VnetShort));
        for gso_type in [2, 6, 0x10, 0x61, 99] {
            let mut bytes = LITTLE;
            bytes[1] = gso_type;
            assert_eq!(decode(&bytes), Err(Malformed::VnetGso), "{gso_type:#x}");
        }
    }
}
