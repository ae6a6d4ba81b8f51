//! What the command line of another program means.

use adit_vpn::drop_in::Wanted;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Help, or the version.
    Print(String),
    /// A way out for a namespace.
    Attach(Wanted),
}

/// Why a command line is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be read: the help follows.
    Usage(String),
    /// A value is not valid, or adit does not have it.
    Refused(String),
}
