//! What the command line of another program means.

use adit_vpn::drop_in::{Gvproxy, Passt, Pasta, Slirp4netns};

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Help, or the version.
    Print(String),
    /// What slirp4netns does.
    Slirp4netns(Slirp4netns),
    /// What pasta does.
    Pasta(Box<Pasta>),
    /// What passt does.
    Passt(Box<Passt>),
    /// What gvproxy does.
    Gvproxy(Box<Gvproxy>),
}

/// Why a command line is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be read: the help follows.
    Usage(String),
    /// A value is not valid, or adit does not have it.
    Refused(String),
}
