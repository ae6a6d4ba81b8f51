//! How the table of causes becomes an enum and its catalogue.

/// Makes the enum, its catalogue and the way from one to the other out of one table.
macro_rules! causes {
    ($($variant:ident $({ $($(#[$meta:meta])* $field:ident: $kind_of:ty),+ $(,)? })?
        = $code:literal $kind:ident, $title:literal, $explanation:literal, $remedy:literal;)+) => {
        /// The cause of an [`Error`](crate::Error), found out after the failure.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Cause {
            /// The name breaks a rule; each rule has its code, E0201 to E0205.
            Name(NameError),
            $(
                #[doc = concat!($code, ": ", $title, ".")]
                $variant $({ $($(#[$meta])* $field: $kind_of),+ })?,
            )+
        }

        impl Cause {
            /// Every cause there is: those of names first, then by code.
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

            /// The entry of the catalogue.
            #[must_use]
            pub fn entry(&self) -> &'static CauseEntry {
                match self {
                    Self::Name(error) => name_entry(*error),
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
