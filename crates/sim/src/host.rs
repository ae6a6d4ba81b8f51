//! A host: addresses, ping, UDP and TCP, all of it smoltcp's.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use adit_packet::{Instant, Layer, MacAddr, Meta, PacketBuf};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::device::Device;
use crate::hops::Hops;
use crate::receiver::Receiver;
use crate::reno::Reno;
use crate::seen::Seen;
use adit_engine::DropReason;

/// The configuration of a host.
///
/// Later versions may add fields: build it with [`HostConfig::new`].
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its addresses with the lengths of their prefixes, at most [`Self::ADDRESSES_MAX`].
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where packets for other networks go.
    pub gateway: Option<IpAddr>,
    /// The same for IPv6, if the other one is of IPv4.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Its MAC address; `None` takes one that no other host of the simulation has.
    pub mac: Option<MacAddr>,
    /// The longest IP packet that it sends and takes.
    pub mtu: usize,
    /// Whether it sends TCP and UDP as super-packets, checksums left to be finished.
    pub super_packets: bool,
    /// [`Layer::Frame`] for Ethernet (TAP), [`Layer::Packet`] for IP alone (TUN).
    pub layer: Layer,
    /// Bytes of the send and of the receive buffer of each TCP connection.
    pub tcp_buffer: usize,
    /// How long an acknowledgment may wait for a second segment; `None` sends it at once. Those of the first segments
    /// and of the last one of a write do not wait.
    pub tcp_ack_delay: Option<Duration>,
}

impl HostConfig {
    /// Addresses that a host can have.
    pub const ADDRESSES_MAX: usize = 8;

    /// An Ethernet host with an address such as `192.0.2.1/24`, MTU 1500 and no super-packets.
    ///
    /// # Panics
    ///
    /// If it is not an address, a slash and the length of a prefix.
    #[must_use]
    pub fn new(address: &str) -> Self {
        let parsed = address
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
        let Some(address) = parsed else { panic!("{address:?} is not ADDRESS/PREFIX") };
        Self {
            addresses: vec![address],
            gateway: None,
            gateway_v6: None,
            mac: None,
            mtu: 1500,
            super_packets: false,
            layer: Layer::Frame,
            tcp_buffer: 256 * 1024,
            tcp_ack_delay: Some(Duration::from_millis(40)),
        }
    }

    /// The same with super-packets.
    #[must_use]
    pub fn with_super_packets(self) -> Self {
        Self { super_packets: true, ..self }
    }

    /// The same without Ethernet: a TUN device.
    #[must_use]
    pub fn without_ethernet(self) -> Self {
        Self { layer: Layer::Packet, ..self }
    }
}

impl From<&str> for HostConfig {
    /// As [`Self::new`].
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

pub(crate) struct Host {
    pub(crate) layer: Layer,
    /// With Ethernet.
    mac: Option<MacAddr>,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    echoes: Vec<Echo>,
    /// The echoes that have no answer yet, by their numbers, each with a socket of its own: one to a
    /// neighbour who is not there holds up none of the others.
    waiting: Vec<(usize, SocketHandle)>,
    streams: Vec<Stream>,
    hops: Vec<Hops>,
    datagrams: Vec<Datagrams>,
    tcp_buffer: usize,
    tcp_ack_delay: Option<Duration>,
    mss: usize,
    next_port: u16,
    /// Something happened since it was last polled.
    is_touched: bool,
    /// When the stack wants to be polled; [`Instant::MAX`]: never.
    wake: Instant,
}

#[derive(Clone, Copy)]
struct Echo {
    sent: Instant,
    rtt: Option<Duration>,
}

/// A UDP socket.
struct Datagrams {
    handle: SocketHandle,
    /// Whether what is received waits for the test.
    keeps: bool,
    /// Bytes that were received otherwise, and when.
    read: u64,
    last_read: Instant,
}

/// A TCP connection with what the test wants to send and what came.
struct Stream {
    handle: SocketHandle,
    to_send: Vec<u8>,
    taken: usize,
    is_closing: bool,
    received: Vec<u8>,
    /// Zeros to send after that.
    fill: u64,
    /// Whether what is received is kept.
    keeps: bool,
    /// Bytes that were received, and when.
    read: u64,
    last_read: Instant,
    reno: Reno,
    receiver: Receiver,
}

impl Host {
    /// Datagrams that wait in a socket.
    const QUEUE: usize = 64;
    /// How long an echo request waits for its neighbour's address and for its answer.
    const ECHO_WAIT: Duration = Duration::from_secs(3);
    /// Bytes of an echo request's payload, as ping sends them.
    const ECHO_LEN: usize = 56;
    /// Bytes of TCP's header with timestamps.
    const TCP_HEADERS: usize = 32;
    /// The first port of connections that we open (RFC 6335).
    const FIRST_PORT: u16 = 49_152;

    pub(crate) fn new(config: &HostConfig, node: usize, seed: u64, now: Instant) -> Self {
        let mut device = Device::new(config.layer, config.mtu, config.super_packets);
        let mac = (config.layer == Layer::Frame).then(|| mac_of(config, node));
        let hardware = mac
            .map_or(HardwareAddress::Ip, |mac| HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        let mut smoltcp_config = Config::new(hardware);
        smoltcp_config.random_seed = seed;
        let mut interface = Interface::new(smoltcp_config, &mut device, moment(now));
        interface.update_ip_addrs(|addresses| {
            for &(address, prefix) in &config.addresses {
                let pushed = addresses.push(IpCidr::new(address.into(), prefix));
                assert!(
                    pushed.is_ok(),
                    "a host has at most {} addresses",
                    HostConfig::ADDRESSES_MAX
                );
            }
        });
        let routed = match config.gateway {
            Some(IpAddr::V4(gateway)) => {
                interface.routes_mut().add_default_ipv4_route(gateway).is_ok()
            }
            Some(IpAddr::V6(gateway)) => {
                interface.routes_mut().add_default_ipv6_route(gateway).is_ok()
            }
            None => true,
        };
        if let Some(gateway) = config.gateway_v6 {
            let _ = interface.routes_mut().add_default_ipv6_route(gateway);
        }
        assert!(routed, "a new host has room for a route");
        let is_v6 = config.addresses.first().is_some_and(|(address, _)| address.is_ipv6());
        Self {
            layer: config.layer,
            mac,
            device,
            interface,
            sockets: SocketSet::new(Vec::new()),
            echoes: Vec::new(),
            waiting: Vec::new(),
            streams: Vec::new(),
            hops: Vec::new(),
            datagrams: Vec::new(),
            tcp_buffer: config.tcp_buffer,
            tcp_ack_delay: config.tcp_ack_delay,
            mss: config.mtu.saturating_sub(Self::TCP_HEADERS + if is_v6 { 40 } else { 20 }).max(1),
            next_port: Self::FIRST_PORT,
            is_touched: true,
            wake: Instant::MAX,
        }
    }

    pub(crate) fn receive(&mut self, packet: &PacketBuf) -> Result<(), DropReason> {
        self.is_touched = true;
        self.device.receive(packet)
    }

    /// Runs the stack, then hands over what it sends.
    pub(crate) fn poll(&mut self, now: Instant, send: impl FnMut(&[u8], Meta)) {
        let (layer, mac) = (self.layer, self.mac);
        let mut answers = Vec::new();
        self.device.review(|packet, inbox| {
            let Some(seen) = Seen::arrived(packet.bytes(), mac) else {
                return inbox.push_back(packet);
            };
            let stream = self
                .streams
                .iter_mut()
                .find(|stream| stream.owns(&self.sockets, seen.destination, seen.source));
            let Some(stream) = stream else { return inbox.push_back(packet) };
            if !stream.reno.arrived(now, &seen) {
                answers.extend(stream.receiver.arrived(packet, &seen, layer));
            }
        });
        for stream in &mut self.streams {
            answers.extend(stream.receiver.poll(now));
            answers.extend(stream.reno.poll(now));
        }
        answers.iter().for_each(|packet| self.device.repeat(packet));
        let mut noted = self.device.outgoing();
        loop {
            for stream in &mut self.streams {
                stream.receiver.feed(self.device.inbox_mut());
            }
            self.interface.poll(moment(now), &mut self.device, &mut self.sockets);
            self.device.review_outgoing(noted, |packet| {
                let Some(seen) = Seen::parse(packet, layer) else { return true };
                let stream = self
                    .streams
                    .iter_mut()
                    .find(|stream| stream.owns(&self.sockets, seen.source, seen.destination));
                stream.is_none_or(|stream| {
                    stream.reno.sent(now, &seen, packet);
                    stream.receiver.leaves(now, &seen, packet)
                })
            });
            noted = self.device.outgoing();
            let moved = self.streams.iter_mut().any(|stream| {
                let socket = self.sockets.get_mut(stream.handle);
                stream.pump(socket, now)
            });
            if !moved && !self.streams.iter().any(|stream| stream.receiver.has_more()) {
                break;
            }
        }
        self.read_echoes(now);
        self.read_datagrams(now);
        self.hops.iter_mut().for_each(|hops| hops.read(&mut self.sockets));
        self.is_touched = false;
        let wake = self.interface.poll_at(moment(now), &self.sockets);
        // Its clock counts microseconds: asked again within one, it would answer the same.
        self.wake = wake.map_or(Instant::MAX, |at| instant(at).max(now + Duration::from_micros(1)));
        for stream in &self.streams {
            self.wake = self.wake.min(stream.reno.due()).min(stream.receiver.due());
        }
        self.device.sent(send);
    }

    pub(crate) const fn due(&self, now: Instant) -> Instant {
        if self.is_touched { now } else { self.wake }
    }

    pub(crate) fn ping(&mut self, now: Instant, to: IpAddr) -> usize {
        let number = self.echoes.len();
        self.echoes.push(Echo { sent: now, rtt: None });
        let id = u16::try_from(number & 0xffff).unwrap_or_default();
        let mut message = [0; Self::ECHO_LEN + 8];
        message[0] = if to.is_ipv4() { 8 } else { 128 };
        message[4..6].copy_from_slice(&id.to_be_bytes());
        let buffer = || {
            const PACKETS: usize = 4;
            let len = PACKETS * (Self::ECHO_LEN + 8);
            icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; PACKETS], vec![0; len])
        };
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Ident(id)).expect("a new socket");
        socket.send_slice(&message, to.into()).expect("a new socket has room for a packet");
        self.waiting.push((number, self.sockets.add(socket)));
        self.is_touched = true;
        number
    }

    pub(crate) fn rtt(&self, echo: usize) -> Option<Duration> {
        self.echoes.get(echo)?.rtt
    }

    fn read_echoes(&mut self, now: Instant) {
        let Self { waiting, sockets, echoes, .. } = self;
        waiting.retain(|&(number, handle)| {
            let (Some(echo), socket) =
                (echoes.get_mut(number), sockets.get_mut::<icmp::Socket<'_>>(handle))
            else {
                return false;
            };
            let elapsed = now.since(echo.sent);
            // It also gets the requests of others that have the same number.
            while let Ok((message, _)) = socket.recv() {
                if matches!(message.first(), Some(0 | 129)) {
                    echo.rtt = Some(elapsed);
                }
            }
            let waits = echo.rtt.is_none() && elapsed < Self::ECHO_WAIT;
            if !waits {
                sockets.remove(handle);
            }
            waits
        });
    }

    pub(crate) fn udp_bind(&mut self, port: u16) -> usize {
        let buffer = || {
            let metadata = vec![udp::PacketMetadata::EMPTY; Self::QUEUE];
            udp::PacketBuffer::new(metadata, vec![0; Self::QUEUE * 1500])
        };
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("a port that is not 0");
        let handle = self.sockets.add(socket);
        self.datagrams.push(Datagrams { handle, keeps: true, read: 0, last_read: Instant::ZERO });
        self.datagrams.len() - 1
    }

    pub(crate) fn udp_discard(&mut self, socket: usize) {
        self.datagrams[socket].keeps = false;
    }

    pub(crate) fn udp_read(&self, socket: usize) -> (u64, Instant) {
        let socket = &self.datagrams[socket];
        (socket.read, socket.last_read)
    }

    fn read_datagrams(&mut self, now: Instant) {
        for datagrams in self.datagrams.iter_mut().filter(|socket| !socket.keeps) {
            let socket: &mut udp::Socket<'_> = self.sockets.get_mut(datagrams.handle);
            while let Ok((payload, _)) = socket.recv() {
                datagrams.read += u64::try_from(payload.len()).unwrap_or_default();
                datagrams.last_read = now;
            }
        }
    }

    pub(crate) fn hops(&mut self, to: IpAddr, count: u8) -> usize {
        self.is_touched = true;
        let started = Hops::start(to, count, self.next_port, &mut self.sockets);
        self.next_port = self.next_port.checked_add(u16::from(count)).unwrap_or(Self::FIRST_PORT);
        self.hops.push(started);
        self.hops.len() - 1
    }

    pub(crate) fn hops_seen(&self, hops: usize) -> &[Option<IpAddr>] {
        self.hops[hops].seen()
    }

    /// Whether the socket had room for it.
    pub(crate) fn udp_send(&mut self, socket: usize, to: SocketAddr, payload: &[u8]) -> bool {
        self.is_touched = true;
        let socket: &mut udp::Socket<'_> = self.sockets.get_mut(self.datagrams[socket].handle);
        socket.send_slice(payload, smoltcp::wire::IpEndpoint::from(to)).is_ok()
    }

    pub(crate) fn udp_recv(&mut self, socket: usize) -> Option<(SocketAddr, Vec<u8>)> {
        let socket: &mut udp::Socket<'_> = self.sockets.get_mut(self.datagrams[socket].handle);
        let (payload, meta) = socket.recv().ok()?;
        Some((meta.endpoint.into(), payload.to_vec()))
    }

    pub(crate) fn tcp_listen(&mut self, port: u16) -> usize {
        let mut socket = self.tcp_socket();
        socket.listen(port).expect("a new socket, and a port that is not 0");
        self.add_stream(socket)
    }

    pub(crate) fn tcp_connect(&mut self, to: SocketAddr) -> usize {
        let mut socket = self.tcp_socket();
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(Self::FIRST_PORT);
        let to = smoltcp::wire::IpEndpoint::from(to);
        socket.connect(self.interface.context(), to, port).expect("an address that can be reached");
        self.is_touched = true;
        self.add_stream(socket)
    }

    fn tcp_socket(&self) -> tcp::Socket<'static> {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.tcp_buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        // What waits, and how long, is decided outside of it.
        socket.set_ack_delay(None);
        // What is in flight is limited by what the socket is fed with.
        socket.set_congestion_control(tcp::CongestionControl::None);
        // Linux sends the option, which takes room from every segment. Nothing here reads the time in it.
        socket.set_tsval_generator(Some(|| 1));
        socket
    }

    fn add_stream(&mut self, socket: tcp::Socket<'static>) -> usize {
        self.streams.push(Stream {
            handle: self.sockets.add(socket),
            to_send: Vec::new(),
            taken: 0,
            is_closing: false,
            received: Vec::new(),
            fill: 0,
            keeps: true,
            read: 0,
            last_read: Instant::ZERO,
            reno: Reno::new(self.mss),
            receiver: Receiver::new(self.mss, self.tcp_ack_delay, self.tcp_buffer),
        });
        self.streams.len() - 1
    }

    pub(crate) fn tcp_send(&mut self, stream: usize, bytes: &[u8]) {
        self.is_touched = true;
        self.streams[stream].to_send.extend_from_slice(bytes);
    }

    /// Zeros to send: so many, or until it is closed.
    pub(crate) fn tcp_fill(&mut self, stream: usize, bytes: Option<u64>) {
        self.is_touched = true;
        let fill = &mut self.streams[stream].fill;
        *fill = bytes.map_or(u64::MAX, |bytes| fill.saturating_add(bytes));
    }

    /// Counts what is received, and does not keep it.
    pub(crate) fn tcp_discard(&mut self, stream: usize) {
        self.streams[stream].keeps = false;
    }

    /// Bytes that were received, and when the last one was.
    pub(crate) fn tcp_read(&self, stream: usize) -> (u64, Instant) {
        let stream = &self.streams[stream];
        (stream.read, stream.last_read)
    }

    pub(crate) fn tcp_close(&mut self, stream: usize) {
        self.is_touched = true;
        let stream = &mut self.streams[stream];
        stream.is_closing = true;
        // An endless one ends now.
        if stream.fill == u64::MAX {
            stream.fill = 0;
        }
    }

    pub(crate) fn tcp_abort(&mut self, stream: usize) {
        self.is_touched = true;
        let stream = &mut self.streams[stream];
        (stream.fill, stream.is_closing) = (0, true);
        stream.to_send.clear();
        stream.taken = 0;
        self.sockets.get_mut::<tcp::Socket<'_>>(stream.handle).abort();
    }

    pub(crate) fn tcp_received(&self, stream: usize) -> &[u8] {
        &self.streams[stream].received
    }

    /// Whether the peer closed its side and everything was read.
    pub(crate) fn tcp_is_finished(&self, stream: usize) -> bool {
        let socket: &tcp::Socket<'_> = self.sockets.get(self.streams[stream].handle);
        let opened = !matches!(
            socket.state(),
            tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived
        );
        opened && !socket.may_recv()
    }
}

impl Stream {
    /// Whether this is the connection between these ports.
    fn owns(&self, sockets: &SocketSet<'_>, ours: u16, theirs: u16) -> bool {
        let socket: &tcp::Socket<'_> = sockets.get(self.handle);
        socket.local_endpoint().is_some_and(|local| local.port == ours)
            && socket.remote_endpoint().is_some_and(|remote| remote.port == theirs)
    }

    /// Moves bytes between the socket and the test; whether there were any.
    fn pump(&mut self, socket: &mut tcp::Socket<'_>, now: Instant) -> bool {
        let mut moved = false;
        // Whole segments, but for the last one.
        let room = self.reno.window().saturating_sub(socket.send_queue());
        let left = self.to_send.len() - self.taken;
        let count = if room >= left { left } else { room - room % self.reno.mss() };
        if let Some(bytes) = self.to_send.get(self.taken..self.taken + count)
            && let Ok(sent) = socket.send_slice(bytes)
        {
            self.taken += sent;
            moved = sent > 0;
        }
        if self.taken == self.to_send.len() {
            self.to_send.clear();
            self.taken = 0;
            moved |= self.pump_zeros(socket);
            if self.is_closing && self.fill == 0 && socket.may_send() {
                socket.close();
                moved = true;
            }
        }
        while socket.can_recv() {
            let read = socket.recv(|bytes| {
                if self.keeps {
                    self.received.extend_from_slice(bytes);
                }
                self.read += u64::try_from(bytes.len()).unwrap_or_default();
                self.last_read = now;
                (bytes.len(), bytes.len())
            });
            moved |= read.is_ok();
        }
        moved
    }

    /// Sends zeros, in whole segments but for the last one.
    fn pump_zeros(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
        let mut moved = false;
        while self.fill > 0 {
            let room = self.reno.window().saturating_sub(socket.send_queue());
            let left = usize::try_from(self.fill).unwrap_or(usize::MAX);
            let most = (ZEROS.len() - ZEROS.len() % self.reno.mss()).max(1);
            let count = if room >= left { left } else { room - room % self.reno.mss() }.min(most);
            match socket.send_slice(&ZEROS[..count]) {
                Ok(sent) if sent > 0 => {
                    moved = true;
                    // An endless one stays endless.
                    if self.fill != u64::MAX {
                        self.fill -= u64::try_from(sent).unwrap_or_default();
                    }
                }
                _ => break,
            }
        }
        moved
    }
}

/// The configured one, or `02:00:5e:10:` and the node's number (a locally administered address).
fn mac_of(config: &HostConfig, node: usize) -> MacAddr {
    let [.., high, low] = u64::try_from(node).unwrap_or_default().to_be_bytes();
    config.mac.unwrap_or(MacAddr([2, 0, 0x5e, 0x10, high, low]))
}

/// The microsecond that has begun.
fn moment(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_nanos() / 1000).unwrap_or(i64::MAX))
}

/// The start of a microsecond.
fn instant(at: smoltcp::time::Instant) -> Instant {
    let micros = u64::try_from(at.total_micros()).unwrap_or_default();
    Instant::from_nanos(micros.saturating_mul(1000))
}
