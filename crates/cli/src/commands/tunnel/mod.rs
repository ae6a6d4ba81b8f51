//! `adit tunnel`.

pub(crate) mod invite;
pub(crate) mod join;
mod keys;
mod line;
mod qr;
mod show;
mod up;

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a tunnel
    Up(up::UpArgs),
    /// Stop a tunnel
    Down(up::DownArgs),
    /// Show running tunnels and their peers
    #[command(visible_aliases = ["list", "ls"])]
    Show(show::Args),
    /// Reload the files of a tunnel
    Reload(up::ReloadArgs),
    /// Continue a tunnel as the installed program
    Upgrade(up::UpgradeArgs),
    /// Check tunnel files
    Check(up::CheckArgs),
    /// Print an invitation for another machine
    Invite(invite::InviteArgs),
    /// Join a tunnel by an invitation from standard input
    Join(join::Args),
    /// Accept a machine that joined by its reply from standard input
    Accept(invite::AcceptArgs),
    /// Print a new private key
    Genkey(keys::GenkeyArgs),
    /// Print a new preshared key
    Genpsk(keys::GenpskArgs),
    /// Read a private key from standard input and print its public key
    Pubkey(keys::PubkeyArgs),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Up(args) => args.run(context),
            Self::Down(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Reload(args) => args.run(context),
            Self::Upgrade(args) => args.run(context),
            Self::Check(args) => args.run(context),
            Self::Invite(args) => args.run(context),
            Self::Join(args) => args.run(context),
            Self::Accept(args) => args.run(context),
            Self::Genkey(args) => args.run(context),
            Self::Genpsk(args) => args.run(context),
            Self::Pubkey(args) => args.run(context),
        }
    }
}
