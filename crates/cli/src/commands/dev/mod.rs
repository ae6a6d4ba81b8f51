//! `adit dev`: TUN and TAP devices.

pub(crate) mod add;
pub(crate) mod del;
pub(crate) mod find;
pub(crate) mod holders;
pub(crate) mod list;
pub(crate) mod model;
pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod values;
pub(crate) mod watch;

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a persistent device and print its name
    Add(Box<add::Args>),
    /// Change a device
    Set(Box<set::Args>),
    /// Delete devices
    Del(del::Args),
    /// List all devices, or show one in detail
    #[command(visible_aliases = ["list", "ls"])]
    Show(show::Args),
    /// Print each change to the devices as it happens
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
