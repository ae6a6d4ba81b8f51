//! In place of gvproxy: a virtual machine has a network of its own, and ports of the host are exposed by requests.

use super::addressing::{Family, Resolved};
use super::api::Api;
use super::api::gvproxy::Exposed;
use super::background::write_pid;
use super::guests::GuestOptions;
use super::inside::{INSIDE, Inside};
use super::ports::Forward;
use super::server::Server;
use adit_nat::guest::GuestConfig;
use adit_packet::IpPrefix;
use adit_runtime::port::datagram::DatagramHub;
use adit_runtime::port::kinds::unix::StreamListener;
use adit_service::error::{Error, Result};
use adit_service::sandbox::Level;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

/// The number of addresses are those of gvproxy.
const NETWORK: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 0);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 2);
const LAST_GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 253);
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 254);
const LEN: u8 = 24;

/// The port of HTTP.
const HTTP: u16 = 80;

/// The names of the gateway and of the host.
const NAMES: [(&str, Ipv4Addr); 4] = [
    ("gateway.containers.internal", GATEWAY),
    ("host.containers.internal", HOST),
    ("gateway.docker.internal", GATEWAY),
    ("host.docker.internal", HOST),
];

/// What the command line of gvproxy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gvproxy {
    /// Where guests connect: a stream of frames, as QEMU's.
    pub listen_qemu: Option<PathBuf>,
    /// Where guests send datagrams, one for each frame, as vfkit does.
    pub listen_vfkit: Option<PathBuf>,
    /// Where requests come.
    pub listen: Vec<PathBuf>,
    /// Ports of the host that lead to the guest from the start.
    pub forwards: Vec<Forward>,
    /// The IP MTU.
    pub mtu: u16,
    /// Where the id of the process is written.
    pub pid_file: Option<PathBuf>,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

impl Gvproxy {
    /// Runs until a signal ends it. `note` takes what is good to know.
    ///
    /// # Errors
    /// What failed before it was ready.
    pub fn run(&self, note: impl Fn(&str)) -> Result<()> {
        let mut resolved = self.resolved()?;
        // The inside reaches the requests as gvproxy has them, at the gateway.
        let of_inside = SocketAddr::new(GATEWAY.into(), HTTP);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, listener) = bound.map_err(|error| Error::io("listen on", "lo", &error))?;
        resolved.inside.served = Some((of_inside, port));
        let mut guests = resolved.guests(&GuestOptions::default());
        if let Some(pool) = guests.v4.as_mut().and_then(|v4| v4.pool.as_mut()) {
            pool.last = LAST_GUEST;
        }
        let guests = GuestConfig { off_link: false, ..guests };
        let engine = resolved.inside.engine()?;
        let follower = resolved.inside.follow(&engine, self.sandbox)?;
        let mut server = Server::new(engine)?;
        follower.map_or(Ok(()), |follower| server.follow(follower))?;
        server.has_guest(guests, false);
        let failed = |path: &PathBuf| {
            let path = path.display().to_string();
            move |error| Error::io("listen on", path, &error)
        };
        if let Some(path) = &self.listen_qemu {
            server.listen(Box::new(StreamListener::bind(path).map_err(failed(path))?))?;
        }
        if let Some(path) = &self.listen_vfkit {
            server.listen(Box::new(DatagramHub::bind(path).map_err(failed(path))?))?;
        }
        let mut api = Api::new(Box::new(Exposed::new(INSIDE)));
        api.serve_inside(listener, of_inside)
            .map_err(|error| Error::io("listen on", "lo", &error))?;
        for path in &self.listen {
            api.listen(path).map_err(failed(path))?;
        }
        server.serve(api)?;
        server.open(&self.forwards, &resolved.devices())?;
        self.pid_file.as_deref().map_or(Ok(()), write_pid)?;
        // To remove the sockets.
        let sockets = self.listen.iter().chain(&self.listen_qemu).chain(&self.listen_vfkit);
        let folder =
            |path: &PathBuf| Some(adit_device::rights::absolute(path).ok()?.parent()?.to_owned());
        if let Some(lacking) =
            Server::enter_sandbox(self.sandbox, sockets.filter_map(folder).collect())?
        {
            note(&lacking);
        }
        server.run()?;
        // What other programs have replaced is theirs.
        self.listen.iter().for_each(|path| drop(std::fs::remove_file(path)));
        Ok(())
    }

    fn resolved(&self) -> Result<Resolved> {
        let prefix = |ip: Ipv4Addr| IpPrefix::new(ip.into(), LEN).map_err(Error::usage);
        let gateway = IpAddr::V4(GATEWAY);
        Ok(Resolved {
            interface: None,
            families: vec![Family {
                is_v4: true,
                addresses: vec![prefix(GUEST)?],
                gateway: Some(gateway),
            }],
            inside: Inside {
                sources: vec![prefix(NETWORK)?],
                own: vec![gateway],
                loopback: vec![HOST.into()],
                name_servers: vec![gateway],
                names: NAMES.map(|(name, ip)| (name, ip.into())).to_vec(),
                mtu: self.mtu,
                ..Inside::default()
            },
        })
    }
}
