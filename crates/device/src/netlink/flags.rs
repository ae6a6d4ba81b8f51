//! A link's flags and states, printed as `ip` prints them.

use std::fmt;

bitflags::bitflags! {
    /// The flags of a link: `IFF_*` of `linux/if.h`. Bits that are not named here are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LinkFlags: u32 {
        /// Administratively up.
        const UP = 1;
        /// Has a broadcast address.
        const BROADCAST = 1 << 1;
        /// Its driver is asked for more messages.
        const DEBUG = 1 << 2;
        /// The loopback interface.
        const LOOPBACK = 1 << 3;
        /// One peer at the other end, as a TUN device has.
        const POINTOPOINT = 1 << 4;
        /// Kept for history.
        const NOTRAILERS = 1 << 5;
        /// Up and operational (RFC 2863).
        const RUNNING = 1 << 6;
        /// No address resolution.
        const NOARP = 1 << 7;
        /// Takes every frame.
        const PROMISC = 1 << 8;
        /// Takes every multicast frame.
        const ALLMULTI = 1 << 9;
        /// Has slaves.
        const MASTER = 1 << 10;
        /// Is one of a master's slaves (bonding; a bridge's port has no such flag).
        const SLAVE = 1 << 11;
        /// Supports multicast.
        const MULTICAST = 1 << 12;
        /// Can choose its media.
        const PORTSEL = 1 << 13;
        /// Chooses its media by itself.
        const AUTOMEDIA = 1 << 14;
        /// Loses its addresses when it goes down.
        const DYNAMIC = 1 << 15;
        /// The layer below is up: there is a carrier.
        const LOWER_UP = 1 << 16;
        /// Waits for something outside (802.1X).
        const DORMANT = 1 << 17;
        /// Echoes what is sent (CAN).
        const ECHO = 1 << 18;
        const _ = !0;
    }
}

/// `ip`'s words in `ip`'s order; it shows no RUNNING, but NO-CARRIER where that is missing.
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
            /// A number that this library has no word for.
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
    /// Whether packets pass: RFC 2863's operational state, `IF_OPER_*` of `linux/if.h`.
    OperState {
        /// The driver does not say; a TUN device that is up and attached says so.
        Unknown = 0 "UNKNOWN",
        /// The hardware is gone.
        NotPresent = 1 "NOTPRESENT",
        /// Down, or up without a carrier.
        Down = 2 "DOWN",
        /// What it stands on is down.
        LowerLayerDown = 3 "LOWERLAYERDOWN",
        /// Being tested.
        Testing = 4 "TESTING",
        /// Waits for something outside (802.1X).
        Dormant = 5 "DORMANT",
        /// Packets pass.
        Up = 6 "UP",
    }
}

words! {
    /// Who takes a link from dormant to up: `IF_LINK_MODE_*` of `linux/if.h`.
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
    /// How a link makes its IPv6 link-local address: `IN6_ADDR_GEN_MODE_*` of `linux/if_link.h`.
    AddrGenMode {
        /// From the hardware address (RFC 4291, appendix A).
        Eui64 = 0 "eui64",
        /// Not at all.
        None = 1 "none",
        /// From a secret that is set (RFC 7217).
        StablePrivacy = 2 "stable_secret",
        /// From a secret that the kernel makes up.
        Random = 3 "random",
    }
}
