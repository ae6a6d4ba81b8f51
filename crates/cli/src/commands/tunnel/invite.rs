//! `adit tunnel invite`, `join`, `accept`.

use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::IpPrefix;
use adit_service::control::client::Client;
use adit_service::control::http::Method;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::file;
use adit_service::file::LockFile;
use adit_tunnel::{PresharedKey, PrivateKey, PublicKey};
use adit_vpn::file::conf::HookPolicy;
use adit_vpn::file::config::PeerEndpoint;
use adit_vpn::file::invitation;
use adit_vpn::file::invitation::{Invitation, LINE_LEN_MAX, OPEN_FOR, Open};
use adit_vpn::file::keys::{Key, fill_random};
use adit_vpn::file::load::{Loaded, find, load, name_of};
use adit_vpn::file::values;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The folder of a new tunnel that is given by its name.
const FOLDER: &str = "/etc/adit";

/// The mode of files with keys.
const SECRET: u32 = 0o600;

/// The port of a new server: WireGuard's usual one.
const PORT: u16 = 51820;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a line for 'adit tunnel join' on the other machine. The line is a secret. If the file does not \
exist, it creates a server with random networks. Pass the output of 'join' to 'accept' here within a \
day.

  server$ adit tunnel invite site --endpoint vpn.example.net
  client$ adit tunnel join --up < LINE
  server$ adit tunnel accept site ADDRESS KEY --up")]
pub(crate) struct InviteArgs {
    /// The file of the tunnel, or its name
    #[arg(value_name = "FILE|NAME")]
    file: PathBuf,
    /// The address or name of this machine for others; the port is optional
    #[arg(long, value_name = "HOST[:PORT]")]
    endpoint: String,
    /// The networks they send through the tunnel; the default is the tunnel's own
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = values::network)]
    allowed_ips: Vec<IpPrefix>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the line that 'adit tunnel invite' printed, creates a private key, writes the file of the tunnel \
and prints the command to run on the other machine. The private key stays here.")]
pub(crate) struct JoinArgs {
    /// The file to write; the default is /etc/adit/NAME.conf
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Start the tunnel in the background
    #[arg(long)]
    up: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "'adit tunnel join' prints this command. A running tunnel is reloaded.")]
pub(crate) struct AcceptArgs {
    /// The file of the tunnel, or its name
    #[arg(value_name = "FILE|NAME")]
    file: PathBuf,
    /// The reserved address
    address: IpAddr,
    /// The public key of the other machine
    key: String,
    /// Start the tunnel in the background unless it is running
    #[arg(long)]
    up: bool,
}

impl InviteArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let path = place(&self.file)?;
        let is_new = !path.exists();
        let what = if is_new { "create a server in" } else { "reserve an address in" };
        if context.is_rehearsal(&[format!("{what} {}", path.display())])? {
            return Ok(Exit::Ok);
        }
        let port = self.port()?;
        let _lock = LockFile::wait_for(&path)?;
        if !path.exists() {
            make_server(&path, port.unwrap_or(PORT))?;
            context.output.note(format!("created {}", path.display()));
        }
        let Loaded { name, config, .. } = load(std::slice::from_ref(&path), HookPolicy::Skip)?;
        let interface = &config.interface;
        let private = interface
            .private_key
            .as_ref()
            .ok_or_else(|| Error::usage(format!("{} has no private key", path.display())))?;
        let listen = interface.listen_port.filter(|&port| port != 0);
        let port = port.or(listen).ok_or_else(|| {
            Error::usage("the endpoint has no port").hint("Add it: --endpoint HOST:PORT.")
        })?;
        let endpoint = self.endpoint(port)?;
        let mut open = open_invitations(&path)?;
        let taken: Vec<IpPrefix> = open.iter().flat_map(|open| &open.addresses).copied().collect();
        let addresses = invitation::free_addresses(&config, &taken).ok_or_else(|| {
            Error::usage("the networks of the tunnel have no free address")
                .hint("Give Address in [Interface] a prefix length, such as 10.9.0.1/24.")
        })?;
        let preshared_key = PresharedKey::generate().map_err(no_random)?;
        let until = now() + OPEN_FOR;
        open.push(Open {
            addresses: addresses.clone(),
            preshared_key: preshared_key.clone(),
            until,
        });
        write_open(&path, &open)?;
        let allowed_ips = if self.allowed_ips.is_empty() {
            interface.addresses.iter().map(|address| address.network()).collect()
        } else {
            self.allowed_ips
        };
        let server = private.public_key();
        let invitation =
            Invitation { name, endpoint, server, preshared_key, addresses, allowed_ips };
        let line = invitation.to_line();
        if context.output.json {
            context.output.value(&*line)?;
        } else {
            context.output.line(&*line)?;
        }
        Ok(Exit::Ok)
    }

    /// The port in the endpoint, if it has one.
    fn port(&self) -> Result<Option<u16>> {
        let text = &self.endpoint;
        if text.parse::<IpAddr>().is_ok() || !text.contains(':') {
            return Ok(None);
        }
        match values::endpoint(text).map_err(Error::usage)? {
            PeerEndpoint::Address(address) => Ok(Some(address.port())),
            PeerEndpoint::Name { port, .. } => Ok(Some(port)),
        }
    }

    fn endpoint(&self, port: u16) -> Result<PeerEndpoint> {
        let text = &self.endpoint;
        let whole = match text.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            Ok(IpAddr::V4(ip)) => format!("{ip}:{port}"),
            Err(_) if text.contains(':') => text.clone(),
            Err(_) => format!("{text}:{port}"),
        };
        values::endpoint(&whole).map_err(Error::usage)
    }
}

impl JoinArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        if io::stdin().is_terminal() {
            context.output.note("paste the invitation, then press Enter and Ctrl-D");
        }
        let limit = u64::try_from(LINE_LEN_MAX * 2).unwrap_or(u64::MAX);
        let mut line = Zeroizing::new(String::with_capacity(LINE_LEN_MAX * 2));
        let read = io::stdin().lock().take(limit).read_to_string(&mut line);
        read.map_err(|error| Error::io("read", "standard input", &error))?;
        let invitation = Invitation::parse(&line).map_err(Error::usage)?;
        let path =
            self.to.unwrap_or_else(|| Path::new(FOLDER).join(format!("{}.conf", invitation.name)));
        name_of(&path)?;
        if context.is_rehearsal(&[format!("write {}", path.display())])? {
            return Ok(Exit::Ok);
        }
        let key = PrivateKey::generate().map_err(no_random)?;
        file::create(&path, invitation.to_file(&key).as_bytes(), SECRET).map_err(|error| {
            let new = Error::io("write", path.display(), &error);
            match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    new.hint("Choose another file with --to FILE, or remove this one first.")
                }
                _ => new,
            }
        })?;
        context.output.note(format!("wrote {}; run on the other machine:", path.display()));
        let address = invitation.addresses.first().map_or(String::new(), |a| a.ip().to_string());
        let public = key.public_key().to_base64();
        let command = format!("adit tunnel accept {} {address} {}", invitation.name, *public);
        if context.output.json {
            context.output.value(&command)?;
        } else {
            context.output.line(command)?;
        }
        if self.up { start(&path) } else { Ok(Exit::Ok) }
    }
}

impl AcceptArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let path = find(&self.file)?;
        let key = PublicKey::from_base64(&self.key).map_err(Error::usage)?;
        let lock = if context.dry_run { None } else { Some(LockFile::wait_for(&path)?) };
        let Loaded { name, config, .. } = load(std::slice::from_ref(&path), HookPolicy::Skip)?;
        if config.peers.iter().any(|peer| peer.public_key == key) {
            let message = format!("{} already has this peer", path.display());
            return Err(Error::new(Kind::Conflict, &SYSTEM, message).object(path.display()));
        }
        let mut open = open_invitations(&path)?;
        let is_it = |open: &Open| open.addresses.iter().any(|known| known.ip() == self.address);
        let at = open.iter().position(is_it).ok_or_else(|| {
            let message = format!("no open invitation for {}", self.address);
            Error::new(Kind::NotFound, &SYSTEM, message)
                .hint("An invitation is valid for one day and one peer. Create a new one: 'adit tunnel invite'.")
        })?;
        let actions = [format!("add the peer {} to {}", self.key, path.display())];
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let Open { addresses, preshared_key, .. } = open.remove(at);
        let is_toml = path.extension() == Some(OsStr::new("toml"));
        let peer = invitation::peer_text(is_toml, &key, &preshared_key, &addresses);
        let before = Zeroizing::new(read(&path)?);
        replace(&path, &Zeroizing::new(format!("{}{}", *before, *peer)))?;
        // Remove the invitation only after the peer is saved.
        write_open(&path, &open)?;
        drop(lock);
        let client = name.to_string().parse().map_err(Error::usage)?;
        match Client::find(Some(client), "tunnel") {
            Ok(client) => {
                client.send(Method::Post, "/reload", &Value::Null)?;
                context.output.note(format!("{name} has the new peer {}", self.address));
                Ok(Exit::Ok)
            }
            Err(_) if self.up => {
                let exit = start(&path)?;
                if exit == Exit::Ok {
                    context.output.note(format!("{name} is up; {} is a peer", self.address));
                }
                Ok(exit)
            }
            Err(_) => {
                context
                    .output
                    .note(format!("start the tunnel: adit tunnel up --detach {}", path.display()));
                Ok(Exit::Ok)
            }
        }
    }
}

/// Finds the file, or the place of a new one.
fn place(file: &Path) -> Result<PathBuf> {
    let is_name = file.components().count() == 1 && file.extension().is_none();
    match find(file) {
        Ok(path) => Ok(path),
        Err(_) if is_name => Ok(Path::new(FOLDER).join(file).with_extension("conf")),
        Err(error) => Err(error),
    }
}

fn make_server(path: &Path, port: u16) -> Result<()> {
    name_of(path)?;
    let mut random = [0; 8];
    fill_random(&mut random).map_err(no_random)?;
    let key = PrivateKey::generate().map_err(no_random)?;
    let text = invitation::new_server(&key, port, random);
    file::create(path, text.as_bytes(), SECRET)
        .map_err(|error| Error::io("write", path.display(), &error))
}

/// Starts a tunnel in the background with this program.
fn start(path: &Path) -> Result<Exit> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::io("find", "this program", &error))?;
    let status = Command::new(&program).args(["tunnel", "up", "--detach"]).arg(path).status();
    let status = status.map_err(|error| Error::io("start", program.display(), &error))?;
    if status.success() {
        return Ok(Exit::Ok);
    }
    // The process has printed the reason.
    let code = status.code().and_then(|code| u64::try_from(code).ok());
    Ok(code.and_then(Exit::from_code).unwrap_or(Exit::Refused))
}

/// The file with the open invitations of a tunnel.
fn open_path(path: &Path) -> PathBuf {
    path.with_extension("invited")
}

fn open_invitations(path: &Path) -> Result<Vec<Open>> {
    let path = open_path(path);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = Zeroizing::new(read(&path)?);
    Ok(invitation::read_open(&text, now()))
}

fn write_open(path: &Path, open: &[Open]) -> Result<()> {
    let text = invitation::write_open(open).ok_or_else(|| {
        Error::usage("too many open invitations").hint("They expire after a day.")
    })?;
    replace(&open_path(path), &text)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Error::io("read", path.display(), &error))
}

fn replace(path: &Path, text: &str) -> Result<()> {
    file::replace(path, text, SECRET).map_err(|error| Error::io("write", path.display(), &error))
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

fn no_random(error: io::Error) -> Error {
    Error::io("read", "random numbers", &error)
}
