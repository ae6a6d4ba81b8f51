//! `adit tunnel`.

mod keys;

use super::Context;
use crate::error::{Exit, Result};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
            Self::Genkey(args) => args.run(context),
            Self::Genpsk(args) => args.run(context),
            Self::Pubkey(args) => args.run(context),
        }
    }
}
