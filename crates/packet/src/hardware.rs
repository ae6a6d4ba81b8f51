//! Hardware types and addresses.

use crate::MacAddr;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The maximum length of a hardware address: `MAX_ADDR_LEN` of `linux/netdevice.h`.
pub const HARDWARE_ADDRESS_LEN_MAX: usize = 32;

/// The hardware type that a link reports: `ARPHRD_*` of `linux/if_arp.h`.
///
/// It prints as in `ip` (`ether`, `none` for TUN), or as the number in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardwareType(pub u16);

impl HardwareType {
    /// Ethernet, and TAP.
    pub const ETHER: Self = Self(1);
    /// No link layer: TUN.
    pub const NONE: Self = Self(0xfffe);
    /// The loopback interface.
    pub const LOOPBACK: Self = Self(772);
}

/// `ip`'s words, in the order of the numbers.
const WORDS: [(u16, &str); 75] = [
    (0, "netrom"),
    (1, "ether"),
    (2, "eether"),
    (3, "ax25"),
    (4, "pronet"),
    (5, "chaos"),
    (6, "ieee802"),
    (7, "arcnet"),
    (8, "atalk"),
    (15, "dlci"),
    (19, "atm"),
    (23, "metricom"),
    (24, "ieee1394"),
    (32, "infiniband"),
    (256, "slip"),
    (257, "cslip"),
    (258, "slip6"),
    (259, "cslip6"),
    (260, "rsrvd"),
    (264, "adapt"),
    (270, "rose"),
    (271, "x25"),
    (272, "hwx25"),
    (280, "can"),
    (512, "ppp"),
    (513, "hdlc"),
    (516, "lapb"),
    (517, "ddcmp"),
    (518, "rawhdlc"),
    (768, "ipip"),
    (769, "tunnel6"),
    (770, "frad"),
    (771, "skip"),
    (772, "loopback"),
    (773, "ltalk"),
    (774, "fddi"),
    (775, "bif"),
    (776, "sit"),
    (777, "ip/ddp"),
    (778, "gre"),
    (779, "pimreg"),
    (780, "hippi"),
    (781, "ash"),
    (782, "econet"),
    (783, "irda"),
    (784, "fcpp"),
    (785, "fcal"),
    (786, "fcpl"),
    (787, "fcfb0"),
    (788, "fcfb1"),
    (789, "fcfb2"),
    (790, "fcfb3"),
    (791, "fcfb4"),
    (792, "fcfb5"),
    (793, "fcfb6"),
    (794, "fcfb7"),
    (795, "fcfb8"),
    (796, "fcfb9"),
    (797, "fcfb10"),
    (798, "fcfb11"),
    (799, "fcfb12"),
    (800, "tr"),
    (801, "ieee802.11"),
    (802, "ieee802.11/prism"),
    (803, "ieee802.11/radiotap"),
    (804, "ieee802.15.4"),
    (805, "ieee802.15.4/monitor"),
    (820, "phonet"),
    (821, "phonet_pipe"),
    (822, "caif"),
    (823, "gre6"),
    (824, "netlink"),
    (825, "6lowpan"),
    (0xfffe, "none"),
    (0xffff, "void"),
];

impl fmt::Display for HardwareType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WORDS.iter().find(|(number, _)| *number == self.0) {
            Some((_, word)) => f.pad(word),
            None => f.pad(&format!("[{}]", self.0)),
        }
    }
}

/// A hardware address of 1 to 32 bytes, printed with colons.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HardwareAddress(Box<[u8]>);

impl HardwareAddress {
    /// An address of these bytes; `None` for none and for more than 32.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=HARDWARE_ADDRESS_LEN_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The address as a MAC address, if it has six bytes.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddr> {
        <[u8; 6]>::try_from(self.as_bytes()).ok().map(MacAddr)
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.pad(&hex.join(":"))
    }
}

impl From<MacAddr> for HardwareAddress {
    fn from(mac: MacAddr) -> Self {
        Self(Box::new(mac.0))
    }
}
