//! `adit tunnel genkey`, `genpsk` and `pubkey`, as in `wg`.

use crate::context::Context;
use crate::exit::Exit;
use adit_device::rights::stat_of;
use adit_service::error::{Error, Result};
use adit_tunnel::{PresharedKey, PrivateKey};
use adit_vpn::file::keys::Key;
use adit_vpn::file::secret::SecretSource;
use rustix::fs::FileType;
use std::io;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Like 'wg genkey'. Keep the key where nobody else can read it:
  umask 077; adit tunnel genkey > site.key; adit tunnel pubkey < site.key")]
pub(crate) struct GenkeyArgs {}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Like 'wg genpsk'. Both peers need the same preshared key in addition to their own keys."
)]
pub(crate) struct GenpskArgs {}

#[derive(Debug, clap::Args)]
#[command(after_help = "Like 'wg pubkey': adit tunnel pubkey < site.key")]
pub(crate) struct PubkeyArgs {}

impl GenkeyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let key = PrivateKey::generate().map_err(no_random)?;
        print_secret(context, &key.to_base64())
    }
}

impl GenpskArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let key = PresharedKey::generate().map_err(no_random)?;
        print_secret(context, &key.to_base64())
    }
}

impl PubkeyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let source = SecretSource::Stdin;
        let text = source.read().map_err(|error| Error::io("read", &source, &error))?;
        let key = PrivateKey::from_base64(&text).map_err(|error| {
            Error::usage(format!("standard input is not a private key: {error}"))
        })?;
        print(context, &key.public_key().to_base64())
    }
}

pub(super) fn no_random(error: io::Error) -> Error {
    Error::io("read", "random numbers", &error)
}

/// Prints a secret, with a warning if standard output is a file that others can read.
fn print_secret(context: &Context, key: &str) -> Result<Exit> {
    let open_file = stat_of(io::stdout()).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.stx_mode.into()).is_file() && stat.stx_mode & 0o007 != 0
    });
    if open_file {
        context
            .output
            .note("warning: the output file is readable by everybody; run 'umask 077' first");
    }
    print(context, key)
}

fn print(context: &Context, key: &str) -> Result<Exit> {
    if context.output.json {
        context.output.value(&key)?;
    } else {
        context.output.line(key)?;
    }
    Ok(Exit::Ok)
}
