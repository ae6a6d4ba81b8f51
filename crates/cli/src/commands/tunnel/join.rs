//! `adit tunnel join`: the machine that was invited.

use super::invite::{FOLDER, SECRET, texts};
use super::keys::no_random;
use super::line::read_line;
use super::up::start;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::{Error, Result};
use adit_service::file;
use adit_tunnel::PrivateKey;
use adit_vpn::file::invitation::Invitation;
use adit_vpn::file::keys::Key;
use adit_vpn::file::load::name_of;
use adit_vpn::file::reply::Reply;
use schemars::JsonSchema;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the line that 'adit tunnel invite' printed, prints what it will apply, creates a private key and \
writes the file of the tunnel. It prints a line for 'adit tunnel accept' on the other machine. The line is \
plain data and no secret. The private key stays here.

Nothing in an invitation is signed. Compare the key of the server with the one that 'invite' printed if \
others could have changed the line.")]
pub(crate) struct Args {
    /// The file to write; the default is /etc/adit/NAME.conf
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Allow an invitation that sends all traffic of this machine through the server
    #[arg(long)]
    allow_default: bool,
    /// Start the tunnel in the background
    #[arg(long)]
    up: bool,
}

/// What `join` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit tunnel join")]
pub(crate) struct Joined {
    /// The file that was written.
    file: String,
    /// The endpoint of the server.
    endpoint: String,
    /// The public key of the server.
    server: String,
    /// The addresses of this machine.
    addresses: Vec<String>,
    /// The networks that this machine sends through the tunnel.
    allowed_ips: Vec<String>,
    /// The public key of this machine.
    public_key: String,
    /// The line for `adit tunnel accept`.
    reply: String,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let line = read_line(context, "the invitation")?;
        let invitation = Invitation::parse(&line).map_err(Error::usage)?;
        let default = || Path::new(FOLDER).join(format!("{}.conf", invitation.name));
        let path = self.to.clone().unwrap_or_else(default);
        name_of(&path)?;
        let server = invitation.server.to_base64();
        let (addresses, networks) = (texts(&invitation.addresses), texts(&invitation.allowed_ips));
        let steps = [
            format!("server: {}, key {}", invitation.endpoint, *server),
            format!("addresses of this machine: {}", addresses.join(", ")),
            format!("networks through the tunnel: {}", networks.join(", ")),
            format!("write {}", path.display()),
        ];
        if !self.allow_default && invitation.takes_default_route() {
            let message = format!(
                "the invitation sends all traffic of this machine through {}: its networks are {}",
                invitation.endpoint,
                networks.join(", ")
            );
            return Err(Error::usage(message).hint(
                "If you trust the server with that, join again with --allow-default; else ask for an \
                 invitation with fewer --allowed-ips.",
            ));
        }
        if context.is_rehearsal(&steps)? {
            return Ok(Exit::Ok);
        }
        steps.iter().for_each(|step| context.output.note(step));
        let key = PrivateKey::generate().map_err(no_random)?;
        write_new(&path, invitation.to_file(&key).as_bytes())?;
        let public_key = key.public_key();
        // `Invitation::parse` requires an address.
        let address = invitation.addresses.first().ok_or_else(|| Error::usage("no address"))?;
        let reply = Reply::new(address.ip(), public_key, &invitation.preshared_key).to_line();
        if context.output.json {
            context.output.value(&Joined {
                file: path.display().to_string(),
                endpoint: invitation.endpoint.to_string(),
                server: server.to_string(),
                addresses,
                allowed_ips: networks,
                public_key: public_key.to_base64().to_string(),
                reply,
            })?;
        } else {
            context.output.note("done; pass this line to 'adit tunnel accept' on the server:");
            context.output.line(reply)?;
        }
        if self.up { start(&path) } else { Ok(Exit::Ok) }
    }
}

/// An invitation never overwrites a file.
fn write_new(path: &Path, text: &[u8]) -> Result<()> {
    file::create(path, text, SECRET).map_err(|error| {
        let new = Error::io("write", path.display(), &error);
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                new.hint("Choose another file with --to FILE, or remove this one first.")
            }
            _ => new,
        }
    })
}
