//! `adit tunnel invite` and `accept`: the machine that has the tunnel.

use super::keys::no_random;
use super::line::read_line;
use super::qr;
use super::up::start;
use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::IpPrefix;
use adit_device::{IfName, Mode};
use adit_service::control::client::Client;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::file;
use adit_service::file::LockFile;
use adit_tunnel::{PresharedKey, PrivateKey, PublicKey};
use adit_vpn::file::conf::HookPolicy;
use adit_vpn::file::config::PeerEndpoint;
use adit_vpn::file::invitation;
use adit_vpn::file::invitation::{Invitation, OPEN_FOR, Open};
use adit_vpn::file::keys::{Key, fill_random};
use adit_vpn::file::load::{Loaded, find, load, name_of};
use adit_vpn::file::reply::Reply;
use adit_vpn::file::values;
use schemars::JsonSchema;
use serde::Serialize;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The folder of a new tunnel that is given by its name.
pub(super) const FOLDER: &str = "/etc/adit";

/// The mode of files with keys.
pub(super) const SECRET: u32 = 0o600;

/// The port of a new server: WireGuard's usual one.
const PORT: u16 = 51820;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a line for 'adit tunnel join' on the other machine. If the file does not exist, it creates a server \
with random networks. Pass the output of 'join' to 'accept' here within a day.

  server$ adit tunnel invite site --endpoint vpn.example.net
  client$ adit tunnel join --up < LINE
  server$ adit tunnel accept site --up < REPLY

The line is a secret, and nothing in it is signed: send it where others can neither read nor change it. A \
reader could reply in place of the other machine. A person who changes it could lead the other machine to \
another server. The reply is no secret: the preshared key in the line authenticates it.

With --wg it prints a configuration for phones and other WireGuard programs instead. It includes the \
private key of the other machine, which is created here, is not stored, and becomes a peer at once, without \
'accept' and without a time limit.

  server$ adit tunnel invite site --endpoint vpn.example.net --wg --qr")]
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
    /// Print a wg-quick configuration and add its peer now
    #[arg(long)]
    wg: bool,
    /// Print the configuration as a QR code too
    #[arg(long, requires = "wg")]
    qr: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the line that 'adit tunnel join' printed on the other machine, and adds that machine as a peer. A \
running tunnel is reloaded. A line that was not made with an open invitation is refused.

  server$ adit tunnel accept site --up < REPLY")]
pub(crate) struct AcceptArgs {
    /// The file of the tunnel, or its name
    #[arg(value_name = "FILE|NAME")]
    file: PathBuf,
    /// Start the tunnel in the background unless it is running
    #[arg(long)]
    up: bool,
}

/// What `invite` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit tunnel invite")]
pub(crate) struct Invited<'a> {
    /// The line for `adit tunnel join`: a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<&'a str>,
    /// Seconds until the invitation expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_s: Option<u64>,
    /// With `--wg`: the configuration of the other machine, with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a str>,
    /// With `--qr`: the configuration as a QR code of half blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<&'a str>,
    /// With `--wg`: the public key of the other machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// The public key of the server.
    server: String,
    /// The addresses of the other machine.
    addresses: Vec<String>,
}

/// What `accept` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit tunnel accept")]
pub(crate) struct Accepted {
    /// The file that has the new peer.
    file: String,
    /// The public key of the peer.
    peer: String,
    /// Its addresses.
    addresses: Vec<String>,
}

impl InviteArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let path = place(&self.file)?;
        let is_new = !path.exists();
        let what = match (is_new, self.wg) {
            (true, _) => "create a server in",
            (false, false) => "reserve an address in",
            (false, true) => "add a peer to",
        };
        if context.is_rehearsal(&[format!("{what} {}", path.display())])? {
            return Ok(Exit::Ok);
        }
        let port = self.port()?;
        // Before a file is created.
        self.endpoint(port.unwrap_or(PORT))?;
        let lock = LockFile::wait_for(&path)?;
        if !path.exists() {
            make_server(&path, port.unwrap_or(PORT))?;
            context.output.note(format!("created {}", path.display()));
        }
        let mut open = open_invitations(&path)?;
        let invitation = self.invitation(&path, port, &open)?;
        invitation.check().map_err(Error::usage)?;
        if self.wg {
            let name = invitation.name;
            self.add_other(context, &path, &invitation)?;
            drop(lock);
            return reload(context, name, &path, false);
        }
        open.push(Open {
            addresses: invitation.addresses.clone(),
            preshared_key: invitation.preshared_key.clone(),
            until: now() + OPEN_FOR,
        });
        write_open(&path, &open)?;
        let (line, server) = (invitation.to_line(), invitation.server.to_base64().to_string());
        if context.output.json {
            context.output.value(&Invited {
                invitation: Some(&line),
                expires_s: Some(OPEN_FOR),
                config: None,
                qr: None,
                peer: None,
                server,
                addresses: texts(&invitation.addresses),
            })?;
            return Ok(Exit::Ok);
        }
        context.output.line(&*line)?;
        context.output.note(format!(
            "This line is valid for one machine and one day. Send it where others can neither read nor change \
             it: a reader could reply in place of that machine, and a changed line could lead it to another \
             server. 'adit tunnel join' must show this server key: {server}"
        ));
        Ok(Exit::Ok)
    }

    /// A new invitation with free addresses.
    fn invitation(&self, path: &PathBuf, port: Option<u16>, open: &[Open]) -> Result<Invitation> {
        let Loaded { name, config, .. } = load(std::slice::from_ref(path), HookPolicy::Skip)?;
        if config.mode() == Mode::Tap {
            let message = format!(
                "the peers of {} carry Ethernet frames; invitations are for tunnels of IP packets",
                path.display()
            );
            return Err(Error::usage(message)
                .hint("Use another file, or write the files of both machines yourself."));
        }
        let interface = &config.interface;
        let private = interface
            .private_key
            .as_ref()
            .ok_or_else(|| Error::usage(format!("{} has no private key", path.display())))?;
        let listen = interface.listen_port.filter(|&port| port != 0);
        let port = port.or(listen).ok_or_else(|| {
            Error::usage("the endpoint has no port").hint("Add it: --endpoint HOST:PORT.")
        })?;
        let taken: Vec<IpPrefix> = open.iter().flat_map(|open| &open.addresses).copied().collect();
        let addresses = invitation::free_addresses(&config, &taken).ok_or_else(|| {
            Error::usage("the networks of the tunnel have no free address")
                .hint("Give Address in [Interface] a prefix length, such as 10.9.0.1/24.")
        })?;
        let of_tunnel = || interface.addresses.iter().map(|address| address.network()).collect();
        let allowed_ips = Some(self.allowed_ips.clone()).filter(|given| !given.is_empty());
        Ok(Invitation {
            name,
            endpoint: self.endpoint(port)?,
            server: private.public_key(),
            preshared_key: PresharedKey::generate().map_err(no_random)?,
            addresses,
            allowed_ips: allowed_ips.unwrap_or_else(of_tunnel),
        })
    }

    /// Adds a peer whose keys are created here, and prints its configuration.
    fn add_other(&self, context: &Context, path: &Path, invitation: &Invitation) -> Result<()> {
        let key = PrivateKey::generate().map_err(no_random)?;
        let public_key = key.public_key();
        let config = invitation.to_file(&key);
        // Before the peer is added: a configuration may be too long for a code.
        let code = if self.qr { Some(qr::draw(&config)?) } else { None };
        add_peer(path, &public_key, &invitation.preshared_key, &invitation.addresses)?;
        let peer = public_key.to_base64().to_string();
        if context.output.json {
            let code = code.as_ref().map(qr::Drawn::plain);
            context.output.value(&Invited {
                invitation: None,
                expires_s: None,
                config: Some(&config),
                qr: code.as_ref().map(|code| code.as_str()),
                peer: Some(peer),
                server: invitation.server.to_base64().to_string(),
                addresses: texts(&invitation.addresses),
            })?;
            return Ok(());
        }
        context.output.bytes(config.as_bytes())?;
        if let Some(code) = code {
            context.output.bytes(code.for_terminal(&context.output).as_bytes())?;
            let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| size.ws_col);
            if columns.is_ok_and(|columns| columns > 0 && usize::from(columns) < code.width()) {
                let width = code.width();
                context.output.note(format!(
                    "warning: the QR code is {width} columns wide, and the terminal is narrower"
                ));
            }
        }
        context.output.note(format!(
            "{} has the new peer {peer}; 'accept' is not needed, and it does not expire. This configuration \
             includes its private key, which is stored nowhere else: send it where others cannot read it. To \
             revoke it, remove the peer from the file and reload the tunnel.",
            path.display()
        ));
        Ok(())
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

impl AcceptArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let path = find(&self.file)?;
        let line = read_line(context, "the reply of 'adit tunnel join'")?;
        let reply = Reply::parse(&line).map_err(Error::usage)?;
        let (address, key) = (reply.address, reply.public_key);
        let lock = if context.dry_run { None } else { Some(LockFile::wait_for(&path)?) };
        let Loaded { name, config, .. } = load(std::slice::from_ref(&path), HookPolicy::Skip)?;
        if config.peers.iter().any(|peer| peer.public_key == key) {
            let message = format!("{} already has this peer", path.display());
            return Err(Error::new(Kind::Conflict, &SYSTEM, message).object(path.display()));
        }
        let mut open = open_invitations(&path)?;
        let is_it = |open: &Open| open.addresses.iter().any(|known| known.ip() == address);
        let at = open.iter().position(is_it).ok_or_else(|| {
            let message = format!("{} has no open invitation for {address}", path.display());
            Error::new(Kind::NotFound, &SYSTEM, message)
                .hint("An invitation is valid for one day and one peer. Invite the machine again.")
        })?;
        let Open { addresses, preshared_key, .. } = open.remove(at);
        if !reply.is_of(&preshared_key) {
            let message = format!("the reply was not made with the open invitation for {address}");
            return Err(Error::new(Kind::Permission, &SYSTEM, message).hint(
                "It was changed on its way, or replies to an older invitation. Run 'join' with the latest \
                 invitation and pass on its whole output.",
            ));
        }
        let peer = key.to_base64();
        if context.is_rehearsal(&[format!("add the peer {} to {}", *peer, path.display())])? {
            return Ok(Exit::Ok);
        }
        add_peer(&path, &key, &preshared_key, &addresses)?;
        // Remove the invitation only after the peer is saved.
        write_open(&path, &open)?;
        drop(lock);
        if context.output.json {
            context.output.value(&Accepted {
                file: path.display().to_string(),
                peer: peer.to_string(),
                addresses: texts(&addresses),
            })?;
        } else {
            context.output.note(format!("{} has the new peer {address}", path.display()));
        }
        reload(context, name, &path, self.up)
    }
}

/// Adds a peer to the end of a file.
fn add_peer(
    path: &Path,
    key: &PublicKey,
    preshared_key: &PresharedKey,
    addresses: &[IpPrefix],
) -> Result<()> {
    let is_toml = path.extension() == Some(OsStr::new("toml"));
    let peer = invitation::peer_text(is_toml, key, preshared_key, addresses);
    let before = Zeroizing::new(read(path)?);
    replace(path, &Zeroizing::new(format!("{}{}", *before, *peer)))
}

/// Reloads the tunnel if it is running; else starts it, if `up`.
fn reload(context: &Context, name: IfName, path: &Path, up: bool) -> Result<Exit> {
    let client = name.to_string().parse().map_err(Error::usage)?;
    match Client::find(Some(client), "tunnel") {
        Ok(client) => {
            super::up::reload(&client)?;
            context.output.note(format!("{name} was reloaded"));
            Ok(Exit::Ok)
        }
        Err(_) if up => {
            let exit = start(path)?;
            if exit == Exit::Ok {
                context.output.note(format!("{name} is up"));
            }
            Ok(exit)
        }
        Err(_) => {
            let start = format!("start the tunnel: adit tunnel up --detach {}", path.display());
            context.output.note(start);
            Ok(Exit::Ok)
        }
    }
}

pub(super) fn texts(prefixes: &[IpPrefix]) -> Vec<String> {
    prefixes.iter().map(ToString::to_string).collect()
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
    invitation::check_name(name_of(path)?).map_err(Error::usage)?;
    let mut random = [0; 8];
    fill_random(&mut random).map_err(no_random)?;
    let key = PrivateKey::generate().map_err(no_random)?;
    let text = invitation::new_server(&key, port, random);
    file::create(path, text.as_bytes(), SECRET)
        .map_err(|error| Error::io("write", path.display(), &error))
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
