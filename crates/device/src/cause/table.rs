//! The macro that builds the enum of causes and its catalogue from one table.

/// Defines the enum, its catalogue and `entry`, which leads from one to the other.
macro_rules! causes {
    ($($variant:ident $({ $($(#[$meta:meta])* $field:ident: $kind_of:ty),+ $(,)? })?
        = $code:literal $kind:ident, $title:literal, $explanation:literal, $remedy:literal;)+) => {
        /// The cause of an [`Error`](crate::Error), determined after the failure.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Cause {
            /// The name is invalid; each rule has its own code, E0201 to E0205.
            Name(NameError),
            /// What another process found, which did the work for this one.
            Reported(Reported),
            $(
                #[doc = concat!($code, ": ", $title, ".")]
                $variant $({ $($(#[$meta])* $field: $kind_of),+ })?,
            )+
        }

        impl Cause {
            /// Every cause: those of names first, then by code.
            pub const CATALOG: &'static [CauseEntry] = &[
                NAME_EMPTY, NAME_LONG, NAME_DOTS, NAME_BYTE, NAME_PERCENT,
                $(CauseEntry {
                    code: $code,
                    kind: ErrorKind::$kind,
                    title: $title,
                    explanation: $explanation,
                    remedy: $remedy,
                },)+
            ];

            /// The entry of this cause in the catalogue.
            #[must_use]
            pub fn entry(&self) -> &'static CauseEntry {
                match self {
                    Self::Name(error) => name_entry(*error),
                    Self::Reported(reported) => reported.entry,
                    $(Self::$variant $({ $($field: _),+ })? => const { &CauseEntry {
                        code: $code,
                        kind: ErrorKind::$kind,
                        title: $title,
                        explanation: $explanation,
                        remedy: $remedy,
                    } },)+
                }
            }
        }
    };
}

pub(super) use causes;
