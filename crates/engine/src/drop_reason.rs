//! Why a packet went no further.

use core::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a packet was discarded: one flat list for all engines, so that it can be counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason there is, in the order of their numbers.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name,)*];

            /// The same as its `Display`, for a counter's label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Its headers are not what they should be.
    Malformed => "malformed",
    /// No buffer was left for it.
    NoBuffer => "no buffer",
    /// The outbox was full.
    OutboxFull => "outbox full",
    /// The engine's queue for it was full.
    QueueFull => "queue full",
    /// There is nowhere to send it.
    NoDestination => "no destination",
    /// It is longer than what it goes to takes.
    TooBig => "too big",
    /// A rule forbids it.
    Filtered => "filtered",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
