//! `adit dev`: TUN and TAP devices.

pub(crate) mod add;
pub(crate) mod del;
pub(crate) mod holders;
pub(crate) mod list;
pub(crate) mod model;
pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod values;
pub(crate) mod watch;

use crate::commands::Context;
use adit_device::Link;
use adit_device::netlink::{LinkInfo, TunInfo};
use adit_service::error::{Error, Exit, NOT_A_DEVICE, Result};
use clap::Subcommand;
use std::ffi::OsStr;
use std::fmt;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a persistent device and print the name that it got
    Add(Box<add::Args>),
    /// Change a device
    Set(Box<set::Args>),
    /// Delete devices
    Del(del::Args),
    /// Show all devices, or one in detail
    Show(show::Args),
    /// Print each change of the devices as it happens
    Watch(watch::Args),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Add(args) => args.run(context),
            Self::Set(args) => args.run(context),
            Self::Del(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Watch(args) => args.run(context),
        }
    }
}

/// The TUN or TAP device of this name; an interface of another kind is an error.
pub(crate) fn find(name: impl AsRef<OsStr> + fmt::Display) -> Result<(Link, LinkInfo, TunInfo)> {
    let link = Link::find_altname(&name)?;
    let info = link.info()?;
    match info.tun {
        Some(tun) => Ok((link, info, tun)),
        None => Err(not_a_device(&name, info.kind.as_deref())),
    }
}

pub(crate) fn not_a_device(name: impl fmt::Display, kind: Option<&str>) -> Error {
    let kind = kind.map_or(String::new(), |kind| format!(", but a {kind}"));
    let message = format!("{name} is no TUN or TAP device{kind}");
    Error::new(Exit::Conflict, &NOT_A_DEVICE, message).object(name)
}
