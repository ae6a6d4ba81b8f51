//! The causes that are rules for names.

use super::CauseEntry;
use crate::{ErrorKind, NameError};

const fn name(code: &'static str, title: &'static str, explanation: &'static str) -> CauseEntry {
    let remedy = "choose a name of 1 to 15 bytes without space, '/', ':' and '%' ('tun%d' lets the \
                  kernel choose the number)";
    CauseEntry { code, kind: ErrorKind::InvalidName, title, explanation, remedy }
}

pub(super) const NAME_EMPTY: CauseEntry = name(
    "ADIT-E0201",
    "the name is empty",
    "An interface that is to be found needs a name; only a new one may leave it to the kernel.",
);
pub(super) const NAME_LONG: CauseEntry = name(
    "ADIT-E0202",
    "the name is longer than 15 bytes",
    "The kernel would cut the name off at 15 bytes (IFNAMSIZ) without a word, and make or find \
     another device than the one that was meant.",
);
pub(super) const NAME_DOTS: CauseEntry = name(
    "ADIT-E0203",
    "'.' and '..' are not names for an interface",
    "Each interface has a directory of its name in /proc and /sys, so the kernel answers EINVAL.",
);
pub(super) const NAME_BYTE: CauseEntry = name(
    "ADIT-E0204",
    "the name has a byte in it that the kernel does not take",
    "White space, '/', ':' and NUL are EINVAL to the kernel (dev_valid_name).",
);
pub(super) const NAME_PERCENT: CauseEntry = name(
    "ADIT-E0205",
    "'%' stands in a name only once and as '%d', and only for a new device",
    "The kernel fills the first free number in for '%d'; anything else with '%' is EINVAL.",
);

pub(super) fn name_entry(error: NameError) -> &'static CauseEntry {
    match error {
        NameError::Empty => &NAME_EMPTY,
        NameError::TooLong { .. } => &NAME_LONG,
        NameError::Dots => &NAME_DOTS,
        NameError::Byte { .. } => &NAME_BYTE,
        NameError::Percent => &NAME_PERCENT,
    }
}
