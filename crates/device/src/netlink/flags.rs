//! The flags and states of a link, printed as `ip` prints them.

use std::fmt;

bitflags::bitflags! {
    /// The flags of a link: `IFF_*` of `linux/if.h`. Bits that are not named here are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LinkFlags: u32 {
        /// Administratively up.
        const UP = 1;
        /// Has a broadcast address.
        const BROADCAST = 1 << 1;
        /// Its driver logs debug messages.
        const DEBUG = 1 << 2;
        /// The loopback interface.
        const LOOPBACK = 1 << 3;
        /// Point-to-point: one peer at the other end, as for a TUN device.
        const POINTOPOINT = 1 << 4;
        /// Unused.
        const NOTRAILERS = 1 << 5;
        /// Up and operational (RFC 2863).
        const RUNNING = 1 << 6;
        /// No address resolution.
        const NOARP = 1 << 7;
        /// Promiscuous: receives every frame.
        const PROMISC = 1 << 8;
        /// Receives every multicast frame.
        const ALLMULTI = 1 << 9;
        /// Has slaves (bonding).
        const MASTER = 1 << 10;
        /// Is a slave of a master (bonding; ports of a bridge do not have the flag).
        const SLAVE = 1 << 11;
        /// Supports multicast.
        const MULTICAST = 1 << 12;
        /// Can select its media.
        const PORTSEL = 1 << 13;
        /// Selects its media automatically.
        const AUTOMEDIA = 1 << 14;
        /// Loses its addresses when it goes down.
        const DYNAMIC = 1 << 15;
        /// The lower layer is up: there is a carrier.
        const LOWER_UP = 1 << 16;
        /// Dormant: waits for an external event (802.1X).
        const DORMANT = 1 << 17;
        /// Echoes sent frames (CAN).
        const ECHO = 1 << 18;
        const _ = !0;
    }
}

/// The words of `ip` in its order; it shows NO-CARRIER instead of RUNNING.
const WORDS: [(LinkFlags, &str); 18] = [
    (LinkFlags::LOOPBACK, "LOOPBACK"),
    (LinkFlags::BROADCAST, "BROADCAST"),
    (LinkFlags::POINTOPOINT, "POINTOPOINT"),
    (LinkFlags::MULTICAST, "MULTICAST"),
    (LinkFlags::NOARP, "NOARP"),
    (LinkFlags::ALLMULTI, "ALLMULTI"),
    (LinkFlags::PROMISC, "PROMISC"),
    (LinkFlags::MASTER, "MASTER"),
    (LinkFlags::SLAVE, "SLAVE"),
    (LinkFlags::DEBUG, "DEBUG"),
    (LinkFlags::DYNAMIC, "DYNAMIC"),
    (LinkFlags::AUTOMEDIA, "AUTOMEDIA"),
    (LinkFlags::PORTSEL, "PORTSEL"),
    (LinkFlags::NOTRAILERS, "NOTRAILERS"),
    (LinkFlags::UP, "UP"),
    (LinkFlags::LOWER_UP, "LOWER_UP"),
    (LinkFlags::DORMANT, "DORMANT"),
    (LinkFlags::ECHO, "ECHO"),
];

impl LinkFlags {
    /// The words that `ip` shows, in its order: `NO-CARRIER` comes first.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let no_carrier = self.contains(Self::UP) && !self.contains(Self::RUNNING);
        let set = WORDS.iter().filter(move |(flag, _)| self.contains(*flag));
        no_carrier.then_some("NO-CARRIER").into_iter().chain(set.map(|(_, word)| *word))
    }
}

impl fmt::Display for LinkFlags {
    /// `BROADCAST,MULTICAST,UP,LOWER_UP`: what `ip` prints between `<` and `>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.words().collect::<Vec<_>>().join(","))
    }
}

/// Declares an enumeration of the kernel's numbers with `ip`'s word for each.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A number without a name in this library.
            Other(u8),
        }

        impl $name {
            /// The kernel's number.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }
        }

        impl From<u8> for $name {
            fn from(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$variant => f.pad($word),)*
                    Self::Other(number) => f.pad(&number.to_string()),
                }
            }
        }
    };
}
pub(super) use words;

words! {
    /// The operational state (RFC 2863): `IF_OPER_*` of `linux/if.h`.
    OperState {
        /// Unknown: the driver does not report it, as TUN devices that are up and attached.
        Unknown = 0 "UNKNOWN",
        /// The hardware is gone.
        NotPresent = 1 "NOTPRESENT",
        /// Down, or up without a carrier.
        Down = 2 "DOWN",
        /// The lower link is down.
        LowerLayerDown = 3 "LOWERLAYERDOWN",
        /// Being tested.
        Testing = 4 "TESTING",
        /// Dormant: waits for an external event (802.1X).
        Dormant = 5 "DORMANT",
        /// Up: packets pass.
        Up = 6 "UP",
    }
}

words! {
    /// What takes a link from dormant to up: `IF_LINK_MODE_*` of `linux/if.h`.
    LinkMode {
        /// The kernel.
        Default = 0 "DEFAULT",
        /// A program.
        Dormant = 1 "DORMANT",
        /// A program, from the state "testing".
        Testing = 2 "TESTING",
    }
}

words! {
    /// How the kernel generates a link's IPv6 link-local address: `IN6_ADDR_GEN_MODE_*` of
    /// `linux/if_link.h`.
    AddrGenMode {
        /// From the hardware address (RFC 4291, appendix A).
        Eui64 = 0 "eui64",
        /// It generates none.
        None = 1 "none",
        /// From a configured secret (RFC 7217).
        StablePrivacy = 2 "stable_secret",
        /// From a random secret of the kernel.
        Random = 3 "random",
    }
}
