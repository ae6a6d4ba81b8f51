//! `adit tunnel`.

mod invite;
mod keys;
mod show;
mod up;

use crate::context::Context;
use adit_service::error::{Exit, Result};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a tunnel
    Up(up::UpArgs),
    /// Stop a tunnel
    Down(up::DownArgs),
    /// Show tunnels and their peers
    Show(show::Args),
    /// Read the files of a tunnel again
    Reload(up::ReloadArgs),
    /// Look for mistakes in files
    Check(up::CheckArgs),
    /// Invite another machine: prints one line for it
    Invite(invite::InviteArgs),
    /// Join by an invitation: reads its line
    Join(invite::JoinArgs),
    /// Accept the machine that has joined
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
