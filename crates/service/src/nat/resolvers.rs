//! The host's name servers, now and when they change.

use crate::helper::open_file;
use crate::namespace::ResolvConfWriter;
use crate::nat::publish::INSIDE;
use crate::sandbox::{self, Level, Needs};
use adit_device::process::Child;
use adit_nat::Gateway;
use adit_nat::dns::{self, Name, Nameserver, ResolvConf};
use adit_nat::guest::GuestConfig;
use adit_runtime::Runner;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socketpair,
};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Where programs look for name servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What is read of that file.
const FILE_LEN_MAX: u64 = 64 << 10;

/// How often the file is read. It may be replaced, written, mounted over, or be a link to any of these: no watch
/// reports all of them.
pub(super) const INTERVAL: Duration = Duration::from_millis(400);

/// The longest message of the process that follows the file.
const MESSAGE_LEN_MAX: usize = 16 << 10;

/// The system calls of the process that follows the file.
const SYSCALLS: &[&str] = &["openat", "open", "poll", "ppoll", "sendto", "socket"];

/// What the host's `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// The servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// All that it says.
    pub conf: ResolvConf,
}

impl Resolvers {
    /// Reads the file; none if it cannot be read.
    #[must_use]
    pub fn of_host() -> Self {
        let mut bytes = Vec::new();
        // What was read so far counts.
        let _ = open_file(Path::new(RESOLV_CONF))
            .and_then(|file| file.take(FILE_LEN_MAX).read_to_end(&mut bytes));
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// What the file says, if it is something else. What is known stays while the file has no server: it may be
    /// written just now.
    pub(super) fn changed(known: &Self) -> Option<Self> {
        let new = Self::of_host();
        let is_same = |a: &Self, b: &Self| {
            let words = |one: &Self| (one.conf.search.clone(), one.conf.options.clone());
            a.servers == b.servers && words(a) == words(b)
        };
        (!is_same(known, &new) && !new.servers.is_empty()).then_some(new)
    }

    /// The servers, then the rest as a file has it.
    fn message(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let servers = servers.join(" ");
        let whole = format!("{servers}\n{}", self.conf.with_server(Ipv4Addr::LOCALHOST.into()));
        // Domains of that length are of no use.
        if whole.len() <= MESSAGE_LEN_MAX { whole } else { servers }
    }

    fn of_message(text: &str) -> Self {
        let (servers, rest) = text.split_once('\n').unwrap_or((text, ""));
        let servers = servers.split(' ').filter_map(|word| word.parse().ok()).collect();
        Self { servers, conf: ResolvConf::parse(rest) }
    }

    fn parse(text: &str) -> Self {
        let conf = ResolvConf::parse(text);
        Self { servers: conf.servers.iter().filter_map(address).collect(), conf }
    }

    /// The domains for short names, as far as they are names.
    pub(super) fn search(&self) -> Vec<Name> {
        self.conf.search.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Gives them to guests.
    pub(super) fn search_at(&self, gateway: &mut Gateway) {
        if let Some(guests) = gateway.guests_mut(INSIDE)
            && guests.config().search != self.search()
        {
            let config = GuestConfig { search: self.search(), ..guests.config().clone() };
            // All else is as before.
            let _ = guests.set(config);
        }
    }

    /// The text of a file with this server in place of the host's.
    #[must_use]
    pub fn file(&self, server: IpAddr) -> String {
        self.conf.with_server(server)
    }
}

/// The address of a server; `None` if its interface does not exist.
fn address(server: &Nameserver) -> Option<SocketAddr> {
    match (server.ip, &server.zone) {
        (IpAddr::V6(ip), Some(zone)) => {
            let index = zone.parse().ok().or_else(|| {
                let any = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
                netdevice::name_to_index(any, zone).ok()
            });
            Some(SocketAddrV6::new(ip, dns::PORT, 0, index?).into())
        }
        (ip, _) => Some(SocketAddr::new(ip, dns::PORT)),
    }
}

/// Follows the host's name servers by a process of its own: this one sees no file of the host once it is in its
/// sandbox. Readable when they have changed, or when that process has ended.
#[derive(Debug)]
pub struct ServerFollower {
    socket: OwnedFd,
    /// A resolv.conf with the host's domains, and the server in it.
    file: Option<(ResolvConfWriter, IpAddr)>,
    _process: Child,
}

impl ServerFollower {
    /// Starts the process, which reports what differs from this. This process must have a single thread. The
    /// other one ends with it.
    ///
    /// # Errors
    /// EMFILE, EAGAIN.
    pub fn start(level: Level, known: &Resolvers) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let process = Child::fork_apart(theirs, |socket| {
            // For `ps`; without it, it is called as its parent.
            let _ = rustix::thread::set_name(c"adit-resolvers");
            u8::from(!confine(level) || follow(&socket, known.clone()).is_err())
        })?;
        Ok(Self { socket: ours, file: None, _process: process })
    }

    /// Writes the host's domains and options into a resolv.conf as well, with this server.
    pub fn rewrites(&mut self, file: ResolvConfWriter, server: IpAddr) {
        self.file = Some((file, server));
    }

    /// Passes servers that have changed on to the name server of a NAT, and returns what has changed.
    ///
    /// # Errors
    /// The process has ended, and the loop does not watch it any more; or the file cannot be written.
    pub fn update(&self, runner: &mut Runner<Gateway>) -> io::Result<Option<Resolvers>> {
        // It would be ready forever.
        let read = self.read().inspect_err(|_| runner.unwatch(self))?;
        let Some(new) = read else { return Ok(None) };
        runner.engine_mut().set_name_servers(new.servers.iter().copied());
        if let Some((file, server)) = &self.file {
            file.write(new.file(*server))?;
        }
        Ok(Some(new))
    }

    fn read(&self) -> io::Result<Option<Resolvers>> {
        let mut bytes = [0; MESSAGE_LEN_MAX];
        match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, len)) => {
                let text = std::str::from_utf8(bytes.get(..len).unwrap_or_default());
                Ok(text.ok().map(Resolvers::of_message))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for ServerFollower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn confine(level: Level) -> bool {
    let needs = Needs { syscalls: vec![SYSCALLS], ..Needs::default() };
    sandbox::confine(level, &needs).is_ok() || level != Level::Require
}

/// Reports what the file says whenever it has changed.
fn follow(socket: &OwnedFd, mut known: Resolvers) -> io::Result<()> {
    let interval = Timespec::try_from(INTERVAL).map_err(io::Error::other)?;
    loop {
        if let Some(new) = Resolvers::changed(&known) {
            match send(socket, new.message().as_bytes(), SendFlags::NOSIGNAL) {
                Ok(_) => known = new,
                // It has not read what came before: later.
                Err(rustix::io::Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&interval)))? > 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_the_follower_are_known_to_the_sandbox() {
        assert_eq!(SYSCALLS.iter().find(|name| !sandbox::is_known(name)), None);
    }

    #[test]
    fn the_servers_are_replaced_and_the_rest_stays() {
        let text = "# nameserver 9.9.9.9\nsearch lan example.org\nnameserver 127.0.0.53\n\
                    nameserver fe80::1%7\nnameserver fe80::1%nowhere0\nnameserver 192.0.2.1\noptions edns0\n";
        let resolvers = Resolvers::parse(text);
        let servers = ["127.0.0.53:53", "[fe80::1%7]:53", "192.0.2.1:53"];
        assert_eq!(resolvers.servers, servers.map(|server| server.parse().unwrap()));
        assert_eq!(
            resolvers.file("10.0.2.3".parse().unwrap()),
            "nameserver 10.0.2.3\nsearch lan example.org\noptions edns0\n"
        );
    }
}
