//! Counters with stable names, of which every output is made: JSON, text, schemas, metrics.

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its stable name: `queue_full`.
    pub name: &'static str,
    /// What it counts, in one sentence.
    pub help: &'static str,
    /// For packets that were dropped, why, in a few words: `queue full`.
    pub dropped: Option<&'static str>,
    /// The count.
    pub value: u64,
}

/// Declares a struct of counters once: its fields, their documentation and names, and which of them
/// count drops (`drop "why"`).
macro_rules! counters {
    (
        $(#[$outer:meta])*
        pub struct $name:ident {
            $($(#[doc = $help:literal])+ $field:ident $(drop $why:literal)?,)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $help])+ pub $field: u64,)*
        }

        impl $name {
            /// All counters, in the order of the fields.
            pub fn each(&self) -> impl Iterator<Item = $crate::Counter> + use<> {
                let all = [$($crate::Counter {
                    name: stringify!($field),
                    help: concat!($($help),+).trim_ascii(),
                    dropped: counters!(@dropped $($why)?),
                    value: self.$field,
                }),*];
                all.into_iter()
            }

            /// Adds the counts of `other`.
            pub(crate) const fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
    (@dropped) => { None };
    (@dropped $why:literal) => { Some($why) };
}

pub(crate) use counters;
