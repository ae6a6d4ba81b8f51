//! The host's name servers, now and when they change.

use crate::sandbox::{self, Level, Needs};
use adit_device::process::Child;
use adit_nat::Gateway;
use adit_nat::dns::{self, Nameserver, ResolvConf};
use adit_runtime::Runner;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socketpair,
};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Where programs look for name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What is read of that file.
const FILE_LEN_MAX: u64 = 64 << 10;

/// How often the file is read. It may be replaced, written, mounted over, or be a link to any of these: no watch
/// reports all of them.
pub(super) const INTERVAL: Duration = Duration::from_millis(400);

/// The longest list of servers as text.
const MESSAGE_LEN_MAX: usize = 1024;

/// The system calls of the process that follows the file.
const SYSCALLS: &[&str] = &["openat", "open", "poll", "ppoll", "sendto", "socket"];

/// What the host's `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// The servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// All that it says.
    conf: ResolvConf,
}

impl Resolvers {
    /// Reads the file; none if it cannot be read.
    #[must_use]
    pub fn of_host() -> Self {
        let mut bytes = Vec::new();
        // What was read so far counts.
        let _ = File::open(RESOLV_CONF)
            .and_then(|file| file.take(FILE_LEN_MAX).read_to_end(&mut bytes));
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// The servers of the host, if they are others than these. Those that were there stay while the file has none: it
    /// may be written just now.
    pub(super) fn changed(known: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
        let servers = Self::of_host().servers;
        (servers != known && !servers.is_empty()).then_some(servers)
    }

    fn parse(text: &str) -> Self {
        let conf = ResolvConf::parse(text);
        Self { servers: conf.servers.iter().filter_map(address).collect(), conf }
    }

    /// The domains for short names.
    pub fn search(&self) -> impl Iterator<Item = &str> {
        self.conf.search.iter().map(String::as_str)
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
    _process: Child,
}

impl ServerFollower {
    /// Starts the process, which reports servers other than these. This process must have a single thread. The
    /// other one ends with it.
    ///
    /// # Errors
    /// EMFILE, EAGAIN.
    pub fn start(level: Level, known: &[SocketAddr]) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let process = Child::fork_apart(theirs, |socket| {
            // For `ps`; without it, it is called as its parent.
            let _ = rustix::thread::set_name(c"adit-resolvers");
            u8::from(!confine(level) || follow(&socket, known.to_vec()).is_err())
        })?;
        Ok(Self { socket: ours, _process: process })
    }

    /// Passes servers that have changed on to the name server of a NAT.
    ///
    /// # Errors
    /// The process has ended; the loop does not watch it any more.
    pub fn update(&self, runner: &mut Runner<Gateway>) -> io::Result<()> {
        let read = self.read();
        match &read {
            Ok(Some(servers)) => runner.engine_mut().set_name_servers(servers.iter().copied()),
            Ok(None) => {}
            // It would be ready forever.
            Err(_) => runner.unwatch(self),
        }
        read.map(drop)
    }

    fn read(&self) -> io::Result<Option<Vec<SocketAddr>>> {
        let mut bytes = [0; MESSAGE_LEN_MAX];
        match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, len)) => {
                let text = std::str::from_utf8(bytes.get(..len).unwrap_or_default());
                let words = text.unwrap_or_default().split(' ');
                Ok(Some(words.filter_map(|word| word.parse().ok()).collect()))
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

/// Reports the servers whenever they have changed.
fn follow(socket: &OwnedFd, mut known: Vec<SocketAddr>) -> io::Result<()> {
    let interval = Timespec::try_from(INTERVAL).map_err(io::Error::other)?;
    loop {
        if let Some(servers) = Resolvers::changed(&known) {
            let words: Vec<String> = servers.iter().map(ToString::to_string).collect();
            match send(socket, words.join(" ").as_bytes(), SendFlags::NOSIGNAL) {
                Ok(_) => known = servers,
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
