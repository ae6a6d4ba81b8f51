//! The command lines of pasta and passt, which share most of their options.

use super::call::{Call, Fault};
use super::getopt::{self, Known, Operands};
use super::ports::{self, Ports};
use adit_device::{IfName, MacAddr};
use adit_engine::Transport;
use adit_nat::dns::Name;
use adit_packet::ip_protocol;
use adit_service::namespace::attach::Target;
use adit_service::sandbox::Level;
use adit_vpn::drop_in::{
    Addressing, Forward, GuestOptions, GuestSocket, Outbound, Passt, Pasta, Place,
};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

static KNOWN: &[Known] = &[
    Known::flag("debug", Some('d')),
    Known::flag("quiet", Some('q')),
    Known::flag("foreground", Some('f')),
    Known::flag("stderr", Some('e')),
    Known::value("log-file", Some('l')),
    Known::value("log-size", None),
    Known::value("runas", None),
    Known::flag("help", Some('h')),
    Known::flag("version", None),
    Known::flag("trace", None),
    Known::flag("chroot-fallback", None),
    Known::value("pcap", Some('p')),
    Known::value("pid", Some('P')),
    Known::value("mtu", Some('m')),
    Known::value("address", Some('a')),
    Known::value("netmask", Some('n')),
    Known::value("gateway", Some('g')),
    Known::value("interface", Some('i')),
    Known::value("outbound", Some('o')),
    Known::value("outbound-if4", None),
    Known::value("outbound-if6", None),
    Known::value("dns-forward", None),
    Known::value("dns-host", None),
    Known::value("map-host-loopback", None),
    Known::value("map-guest-addr", None),
    Known::flag("no-map-gw", None),
    Known::flag("no-tcp", None),
    Known::flag("no-udp", None),
    Known::flag("no-icmp", None),
    Known::flag("no-dhcp", None),
    Known::flag("no-ndp", None),
    Known::flag("no-dhcpv6", None),
    Known::flag("no-ra", None),
    Known::flag("freebind", None),
    Known::flag("ipv4-only", Some('4')),
    Known::flag("ipv6-only", Some('6')),
    Known::value("tcp-ports", Some('t')),
    Known::value("udp-ports", Some('u')),
    Known::value("tcp-ns", Some('T')),
    Known::value("udp-ns", Some('U')),
    Known::value("ns-ifname", Some('I')),
    Known::flag("host-lo-to-ns-lo", None),
    Known::value("userns", None),
    Known::value("netns", None),
    Known::flag("netns-only", None),
    Known::flag("no-netns-quit", None),
    Known::flag("config-net", None),
    Known::flag("no-copy-routes", None),
    Known::flag("no-copy-addrs", None),
    Known::value("ns-mac-addr", None),
    Known::flag("no-splice", None),
    Known::flag("dhcp-dns", None),
    Known::flag("no-dhcp-dns", None),
    Known::flag("dhcp-search", None),
    Known::flag("no-dhcp-search", None),
    Known::value("dns", Some('D')),
    Known::value("search", Some('S')),
    Known::value("hostname", Some('H')),
    Known::value("fqdn", None),
    Known::value("mac-addr", Some('M')),
    Known::value("socket", Some('s')),
    Known::value("socket-path", None),
    Known::value("fd", Some('F')),
    Known::flag("one-off", Some('1')),
    Known::flag("vhost-user", None),
    Known::value("repair-path", None),
];

/// Which of the programs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A namespace.
    Pasta,
    /// A virtual machine.
    Passt,
}

/// Callers look for the names of the options in it.
const HELP_PASTA: &str = "\
Usage: pasta [OPTION]... [COMMAND [ARG]...]
       pasta [OPTION]... PID
       pasta [OPTION]... --netns PATH|NAME
A network namespace gets a way out through sockets of this process (adit), which goes
to the background once the network is there. COMMAND, or a shell, runs in a new one.

  --config-net             set addresses, routes and MTU
  -I, --ns-ifname NAME     the interface inside (default: as the host's)
  -a, --address ADDR[/LEN] an address in place of the host's; once for each family
  -n, --netmask MASK       the IPv4 netmask, as address or number of bits
  -g, --gateway ADDR       a gateway in place of the host's
  -i, --interface NAME     the interface of the host to copy from
  -m, --mtu MTU            the MTU (default 65520)
  -4, --ipv4-only          no IPv6
  -6, --ipv6-only          no IPv4
  -t, --tcp-ports SPEC     forward TCP ports of the host: none; [ADDR/]auto for what listens
                           inside (default); [ADDR/]all; or
                           [ADDR/]PORT[-PORT][:[ADDR/]PORT[-PORT]],... without ~PORT[-PORT]
  -u, --udp-ports SPEC     the same for UDP; auto leaves out the ports of clients
  -T, --tcp-ns SPEC        forward TCP ports of the namespace's loopback to the host's: none
                           (default); or as -t
  -U, --udp-ns SPEC        the same for UDP
  --host-lo-to-ns-lo       accepted: forwarded connections go to the address inside
  -o, --outbound ADDR      connections come from this address of the host
  --dns-forward ADDR       a name server at ADDR, which asks those of the host
  --dns-host ADDR          ask this name server
  --map-host-loopback ADDR the host's loopback is reached at ADDR (default: the gateway)
  --map-guest-addr ADDR    the host's own address is reached at ADDR
  --no-map-gw              the gateway is not the host
  --no-tcp, --no-udp, --no-icmp
                           drop that protocol; --no-icmp implies --no-ndp
  --no-ndp, --no-ra        no answers to neighbour solicitations; no router advertisements
  --no-dhcp, --no-dhcpv6   no addresses by DHCP, DHCPv6
  -H, --hostname NAME      the name of the inside, by DHCP
  --fqdn NAME              the same with its domains, by DHCP and DHCPv6
  --netns PATH|NAME        the namespace
  --userns PATH            its user namespace, which is found without it
  --netns-only             accepted
  --no-netns-quit          go on when the namespace is gone
  -P, --pid FILE           write the process id to FILE
  -p, --pcap FILE          record packets to FILE (pcapng)
  -f, --foreground         do not go to the background
  -q, --quiet              print only errors, as is done anyway
  -h, --help               print this help
  --version                print the version
";

/// The same of passt.
const HELP_PASST: &str = "\
Usage: passt [OPTION]...
A virtual machine gets a way out through sockets of this process (adit), which goes
to the background once it listens.

  -s, --socket PATH        where the machine connects, as QEMU's -netdev stream
                           (default /tmp/passt_1.socket)
  -F, --fd FD              its connected socket
  -1, --one-off            end with the first machine
  -a, --address ADDR[/LEN] an address in place of the host's; once for each family
  -n, --netmask MASK       the IPv4 netmask, as address or number of bits
  -g, --gateway ADDR       a gateway in place of the host's
  -i, --interface NAME     the interface of the host to copy from
  -M, --mac-addr ADDR      accepted: the gateway has 9a:55:9a:55:9a:55
  -m, --mtu MTU            the MTU (default 65520)
  -4, --ipv4-only          no IPv6
  -6, --ipv6-only          no IPv4
  -t, --tcp-ports SPEC     forward TCP ports of the host: none; [ADDR/]all; or
                           [ADDR/]PORT[-PORT][:[ADDR/]PORT[-PORT]],... without ~PORT[-PORT]
  -u, --udp-ports SPEC     the same for UDP
  -D, --dns ADDR           a name server in place of the NAT's; none for no name server
  -S, --search LIST        domains to search; none for no domain
  --no-dhcp-dns            no name server
  --no-dhcp-search         no domains to search
  --no-dhcp, --no-dhcpv6   no addresses by DHCP, DHCPv6
  --no-ndp, --no-ra        no answers to neighbour solicitations; no router advertisements
  --no-tcp, --no-udp, --no-icmp
                           drop that protocol; --no-icmp implies --no-ndp
  -H, --hostname NAME      the name of the machine, by DHCP
  --fqdn NAME              the same with its domains, by DHCP and DHCPv6
  -o, --outbound ADDR      connections come from this address of the host
  --dns-forward ADDR       a name server at ADDR, which asks those of the host
  --dns-host ADDR          ask this name server
  --map-host-loopback ADDR the host's loopback is reached at ADDR (default: the gateway)
  --map-guest-addr ADDR    the host's own address is reached at ADDR
  --no-map-gw              the gateway is not the host
  -P, --pid FILE           write the process id to FILE
  -f, --foreground         do not go to the background
  -q, --quiet              print only errors, as is done anyway
  -h, --help               print this help
  --version                print the version
";

/// Where a machine connects if no option says it.
const SOCKET: &str = "/tmp/passt_1.socket";

/// The largest MTU: what a frame of 64 KiB holds, in whole words.
const MTU_MAX: u16 = 65520;

/// The MTU of the device when pasta leaves it alone (0).
const MTU_KERNEL: u16 = 1500;

impl Mode {
    /// The help.
    pub(super) const fn help(self) -> &'static str {
        match self {
            Self::Pasta => HELP_PASTA,
            Self::Passt => HELP_PASST,
        }
    }

    /// Reads a command line, without the program's name.
    pub(super) fn read(self, words: &[String]) -> Result<Call, Fault> {
        let line = getopt::read(KNOWN, Operands::Last, words).map_err(Fault::Usage)?;
        let mut options = Options::of(self);
        for &(name, value) in &line.options {
            match name {
                "help" => return Ok(Call::Print(self.help().to_owned())),
                "version" => return Ok(Call::Print(self.version())),
                _ => options.set(name, value)?,
            }
        }
        match self {
            Self::Pasta => options.pasta(&line.operands),
            Self::Passt => options.passt(&line.operands),
        }
    }

    fn version(self) -> String {
        let name = if self == Self::Pasta { "pasta" } else { "passt" };
        // The format is that of passt, whose callers only look at the exit status.
        format!("{name} 2026_07_16 (adit {})\n", env!("CARGO_PKG_VERSION"))
    }
}

#[derive(Debug)]
struct Options {
    mode: Mode,
    addressing: Addressing,
    guest: GuestOptions,
    ports: Ports,
    /// From the namespace to the host.
    outward: Ports,
    /// Of which no ports are opened.
    excluded: Vec<Transport>,
    pid_file: Option<PathBuf>,
    foreground: bool,
    // Of pasta.
    netns: Option<Target>,
    stays: bool,
    device: Option<IfName>,
    mac: Option<MacAddr>,
    configures: bool,
    capture: Option<PathBuf>,
    // Of passt.
    socket: GuestSocket,
    one_off: bool,
}

impl Options {
    fn of(mode: Mode) -> Self {
        let addressing = Addressing {
            families: [true, true],
            interface: None,
            addresses: Vec::new(),
            netmask: None,
            gateways: Vec::new(),
            without: Vec::new(),
            mtu: MTU_MAX,
            dns_forward: Vec::new(),
            dns_host: Vec::new(),
            outbound: Vec::new(),
            map_gateway: true,
            map_host: Vec::new(),
            map_guest: Vec::new(),
        };
        // Only passt gives name servers by itself.
        let name_servers = (mode == Mode::Pasta).then(Vec::new);
        Self {
            mode,
            addressing,
            guest: GuestOptions { name_servers, ..GuestOptions::default() },
            ports: Ports::default(),
            outward: Ports::default(),
            excluded: Vec::new(),
            pid_file: None,
            foreground: false,
            netns: None,
            stays: false,
            device: None,
            mac: None,
            configures: false,
            capture: None,
            socket: GuestSocket::Path(SOCKET.into()),
            one_off: false,
        }
    }

    fn pasta(mut self, operands: &[&str]) -> Result<Call, Fault> {
        self.ports.exclude(&self.excluded);
        self.outward.exclude(&self.excluded);
        let place = match (self.netns, operands) {
            (Some(target), []) => Place::There(target),
            (Some(_), _) => return Err(fault("Both --netns and PID or command given")),
            (None, [pid]) if pid.bytes().all(|byte| byte.is_ascii_digit()) => {
                let number = pid.parse().ok().filter(|&pid: &u32| pid > 0);
                let number = number.ok_or_else(|| fault(format!("Invalid PID {pid}")))?;
                Place::There(Target::Process(number))
            }
            (None, command) => Place::Command(command.iter().map(Into::into).collect()),
        };
        let guest =
            GuestOptions { advertises: self.guest.advertises && !self.configures, ..self.guest };
        // What listens inside is reached by itself unless an option says something else.
        let usual = [Transport::Tcp, Transport::Udp].into_iter();
        let usual = usual.filter(|transport| !self.ports.given.contains(transport));
        let follows = self.ports.follows.into_iter().chain(usual.map(|one| (one, None))).collect();
        Ok(Call::Pasta(Box::new(Pasta {
            place,
            stays: self.stays,
            device: self.device,
            mac: self.mac,
            configures: self.configures,
            addressing: self.addressing,
            guest,
            forwards: self.ports.forwards,
            follows,
            outward: self.outward.forwards,
            pid_file: self.pid_file,
            capture: self.capture,
            foreground: self.foreground,
            sandbox: Level::Try,
        })))
    }

    fn passt(mut self, operands: &[&str]) -> Result<Call, Fault> {
        self.ports.exclude(&self.excluded);
        if let Some(operand) = operands.first() {
            return Err(fault(format!("Extra non-option argument: {operand}")));
        }
        if !self.ports.follows.is_empty() {
            return Err(fault("'auto' is for pasta mode only"));
        }
        Ok(Call::Passt(Box::new(Passt {
            socket: self.socket,
            one_off: self.one_off,
            addressing: self.addressing,
            guest: self.guest,
            forwards: self.ports.forwards,
            pid_file: self.pid_file,
            foreground: self.foreground,
            sandbox: Level::Try,
        })))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            // adit prints nothing but errors, and its sandbox is always on.
            "debug" | "quiet" | "trace" | "stderr" | "log-size" | "chroot-fallback" | "runas" => {}
            "log-file" => create(value)?,
            "foreground" => self.foreground = true,
            "pid" => self.pid_file = Some(PathBuf::from(value)),
            "tcp-ports" => forward(Transport::Tcp, "-t", value, &mut self.ports)?,
            "udp-ports" => forward(Transport::Udp, "-u", value, &mut self.ports)?,
            "no-dhcp" => self.guest.dhcp = false,
            "no-dhcpv6" => self.guest.dhcp_v6 = false,
            "no-ra" => self.guest.advertises = false,
            "no-tcp" => self.without(Some(Transport::Tcp), &[ip_protocol::TCP]),
            "no-udp" => self.without(Some(Transport::Udp), &[ip_protocol::UDP]),
            "no-icmp" => {
                self.without(None, &[ip_protocol::ICMP, ip_protocol::ICMP6]);
                (self.guest.solicited, self.guest.advertises) = (false, false);
            }
            "no-ndp" => (self.guest.solicited, self.guest.advertises) = (false, false),
            "hostname" => self.guest.hostname = Some(host_name("hostname", value)?),
            "fqdn" => self.guest.fqdn = Some(host_name("FQDN", value)?),
            "dns" if value == "none" => self.guest.name_servers = Some(Vec::new()),
            "dns" => {
                let server = ip("DNS address", value)?;
                self.guest.name_servers.get_or_insert_default().push(server);
            }
            "search" if value == "none" => self.guest.search.clear(),
            "search" => {
                for name in value.split_whitespace() {
                    let name = name.parse();
                    let why = |_| fault(format!("Cannot use DNS search domain {value}"));
                    self.guest.search.push(name.map_err(why)?);
                }
            }
            _ => {
                let is_known = match self.mode {
                    Mode::Pasta => self.set_pasta(name, value)?,
                    Mode::Passt => self.set_passt(name, value)?,
                };
                if !is_known {
                    address_option(&mut self.addressing, name, value)?;
                }
            }
        }
        Ok(())
    }

    /// Neither translates packets of these protocols nor opens ports of this transport.
    fn without(&mut self, transport: Option<Transport>, protocols: &[u8]) {
        self.addressing.without.extend(protocols);
        self.excluded.extend(transport);
    }

    /// An option of pasta alone; `false`: it is another one.
    fn set_pasta(&mut self, name: &str, value: &str) -> Result<bool, Fault> {
        match name {
            // What adit has no counterpart of, or does anyway.
            "netns-only" | "userns" | "no-copy-routes" | "no-copy-addrs" | "host-lo-to-ns-lo"
            | "no-splice" | "dhcp-search" => {}
            "pcap" => self.capture = Some(PathBuf::from(value)),
            "ns-ifname" => self.device = Some(interface(value)?),
            "ns-mac-addr" => self.mac = Some(mac(value)?),
            "no-netns-quit" => self.stays = true,
            "config-net" => self.configures = true,
            "netns" => self.netns = Some(namespace(value)?),
            "dhcp-dns" => self.guest.name_servers = None,
            "tcp-ns" => outward(Transport::Tcp, "-T", value, &mut self.outward)?,
            "udp-ns" => outward(Transport::Udp, "-U", value, &mut self.outward)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An option of passt alone.
    fn set_passt(&mut self, name: &str, value: &str) -> Result<bool, Fault> {
        match name {
            "socket" | "socket-path" => self.socket = GuestSocket::Path(value.into()),
            "fd" => {
                let number = value.parse().ok().filter(|&number| number > 2);
                let number = number.ok_or_else(|| fault(format!("Invalid --fd: {value}")))?;
                self.socket = GuestSocket::Descriptor(number);
            }
            "one-off" => self.one_off = true,
            // libvirt gives the guest's own address, which cannot be the gateway's as well.
            "mac-addr" => drop(mac(value)?),
            "no-dhcp-dns" => self.guest.name_servers = Some(Vec::new()),
            "no-dhcp-search" => self.guest.search.clear(),
            "repair-path" if value == "none" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// An option for addresses, which pasta and passt share.
fn address_option(addressing: &mut Addressing, name: &str, value: &str) -> Result<(), Fault> {
    match name {
        "mtu" => {
            let mtu: u16 = value.parse().map_err(|_| fault(format!("Invalid MTU: {value}")))?;
            if mtu > MTU_MAX {
                return Err(fault(format!("MTU {mtu} too large (max {MTU_MAX})")));
            }
            addressing.mtu = if mtu == 0 { MTU_KERNEL } else { mtu };
        }
        "address" => addressing.addresses.push(address(value)?),
        "netmask" => addressing.netmask = Some(netmask(value)?),
        "gateway" => addressing.gateways.push(ip("gateway address", value)?),
        "interface" => addressing.interface = Some(interface(value)?),
        "dns-forward" => addressing.dns_forward.push(ip("DNS forwarding address", value)?),
        "dns-host" => addressing.dns_host.push(ip("host nameserver address", value)?),
        "outbound" => {
            let ip: IpAddr = value
                .parse()
                .map_err(|_| fault(format!("Invalid or redundant outbound address: {value}")))?;
            addressing.outbound.push(Outbound::Address(ip));
        }
        "map-host-loopback" if value == "none" => {
            addressing.map_gateway = false;
            addressing.map_host.clear();
        }
        "map-host-loopback" => addressing.map_host.push(ip("address to remap to host", value)?),
        "map-guest-addr" if value == "none" => addressing.map_guest.clear(),
        "map-guest-addr" => addressing.map_guest.push(ip("address to remap to host", value)?),
        "no-map-gw" => addressing.map_gateway = false,
        "ipv4-only" => addressing.families = [true, false],
        "ipv6-only" => addressing.families = [false, true],
        _ if value.is_empty() => return Err(fault(format!("--{name} is not supported by adit"))),
        _ => return Err(fault(format!("--{name} {value} is not supported by adit"))),
    }
    Ok(())
}

fn fault(message: impl Into<String>) -> Fault {
    Fault::Refused(message.into())
}

fn interface(text: &str) -> Result<IfName, Fault> {
    IfName::new(text).map_err(|_| fault(format!("Invalid interface name {text}")))
}

fn mac(text: &str) -> Result<MacAddr, Fault> {
    text.parse().map_err(|_| fault(format!("Invalid MAC address: {text}")))
}

fn ip(what: &str, text: &str) -> Result<IpAddr, Fault> {
    let ip: Option<IpAddr> = text.parse().ok();
    let ip = ip.filter(|ip| !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast()));
    ip.ok_or_else(|| fault(format!("Invalid {what}: {text}")))
}

fn address(text: &str) -> Result<(IpAddr, Option<u8>), Fault> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let address = ip("address", address)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let len = len.map(|len| len.parse().ok().filter(|len| *len <= longest));
    match len {
        Some(None) => Err(fault(format!("Invalid address: {text}"))),
        len => Ok((address, len.flatten())),
    }
}

/// A netmask as a number of bits, or as an address of ones before zeros.
fn netmask(text: &str) -> Result<u8, Fault> {
    let of_mask = |mask: Ipv4Addr| {
        let ones = mask.to_bits().leading_ones();
        (mask.to_bits().count_ones() == ones).then_some(ones)
    };
    let bits = match text.parse() {
        Ok(mask) => of_mask(mask),
        Err(_) => text.parse().ok().filter(|bits| *bits <= 32),
    };
    let bits = bits.and_then(|bits| u8::try_from(bits).ok());
    bits.ok_or_else(|| fault(format!("Invalid prefix length: {text}")))
}

fn namespace(text: &str) -> Result<Target, Fault> {
    let path = if text.contains('/') { text.to_owned() } else { format!("/run/netns/{text}") };
    match std::fs::metadata(&path) {
        Ok(_) => Ok(Target::Text(path)),
        Err(error) => Err(fault(format!("Couldn't open network namespace {path}: {error}"))),
    }
}

fn forward(transport: Transport, option: &str, text: &str, all: &mut Ports) -> Result<(), Fault> {
    ports::add(transport, option, text, all).map_err(fault)
}

/// Ports of the namespace. What listens at the host's loopback is not opened inside by itself.
fn outward(transport: Transport, option: &str, text: &str, all: &mut Ports) -> Result<(), Fault> {
    forward(transport, option, text, all)?;
    all.follows.clear();
    let is_refused = |one: &Forward| one.as_possible || one.interface.is_some();
    if all.forwards.iter().any(is_refused) {
        return Err(fault(format!("{option} {text} is not supported by adit: name the ports")));
    }
    Ok(())
}

fn host_name(what: &str, text: &str) -> Result<Name, Fault> {
    text.parse().map_err(|_| fault(format!("Invalid {what}: {text}")))
}

/// Creates a log file. adit has nothing to write to it: errors go to the caller.
fn create(path: &str) -> Result<(), Fault> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.map(drop).map_err(|error| fault(format!("Couldn't open log file {path}: {error}")))
}

#[cfg(test)]
mod tests;
