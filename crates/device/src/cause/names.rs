//! The causes that concern names.

use super::entry::CauseEntry;
use crate::{ErrorKind, NameError};

const fn name(code: &'static str, title: &'static str, explanation: &'static str) -> CauseEntry {
    let remedy = "Choose a name of 1 to 15 bytes without space, '/', ':' and '%'. In 'tun%d' the \
                  kernel chooses the number.";
    CauseEntry { code, kind: ErrorKind::InvalidName, title, explanation, remedy }
}

pub(super) const NAME_EMPTY: CauseEntry = name(
    "ADIT-E0201",
    "the name is empty",
    "Only a new interface may leave its name to the kernel.",
);
pub(super) const NAME_LONG: CauseEntry = name(
    "ADIT-E0202",
    "the name is longer than 15 bytes",
    "The kernel would silently truncate the name to 15 bytes (IFNAMSIZ) and use another device.",
);
pub(super) const NAME_DOTS: CauseEntry = name(
    "ADIT-E0203",
    "'.' and '..' are not valid interface names",
    "EINVAL: each interface has a directory of its name in /proc and /sys.",
);
pub(super) const NAME_BYTE: CauseEntry = name(
    "ADIT-E0204",
    "the name contains an invalid byte",
    "EINVAL: the kernel rejects white space, '/', ':' and NUL (dev_valid_name).",
);
pub(super) const NAME_PERCENT: CauseEntry = name(
    "ADIT-E0205",
    "a name may contain '%' only once, as '%d', and only for a new device",
    "EINVAL: the kernel replaces '%d' with the first free number and rejects any other '%'.",
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
