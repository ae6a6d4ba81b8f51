//! The options of the sockets to peers: fragments, trains, buffers.

use adit_engine::CoDel;
use quinn_udp::UdpSocketState;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

/// The size of the receive buffers: 10 ms at 6 Gbit/s, or 20,000 datagrams of 200 bytes (the kernel doubles the value for
/// its overhead). That is what comes while this thread waits for a core. How long packets wait there is limited by
/// [`LAW`], not by the size: with 512 KiB alone, two ends on one machine lost 2 % of the segments of four BBR streams, and
/// 10 % of 100,000 datagrams a second beside a program that filled a core.
pub(super) const RECEIVE_LEN: usize = 8 << 20;

/// The size of the send buffers. What exceeds it waits in the devices of the senders, whose queue is limited by [`LAW`].
pub(super) const SEND_LEN: usize = 512 << 10;

/// How long packets may wait before this thread reads them. The target is a third of the 99th percentile of pings beside
/// streams that fill the tunnel. The interval is that of paths of 20 ms: with 10 ms, BBR, which ignores single losses,
/// lost 0.2 % of its segments instead of 0.1 %; with 100 ms, streams that start fill the queue for half a second.
pub(crate) const LAW: CoDel =
    CoDel { target: Duration::from_millis(2), interval: Duration::from_millis(20) };

/// How long a packet may wait in a queue that stands for an interval, and is not made shorter by single losses: senders
/// ignore them. Older packets are dropped before they cost a decryption.
pub(super) const LATE: Duration = Duration::from_millis(20);

/// Returns the state of quinn-udp for a socket, and undoes the options that it sets and we do not want.
pub(super) fn state_of(socket: &UdpSocket, is_v4: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    if !is_v4 {
        adit_device::allow_ipv6_fragments(socket)?;
    }
    set_fragments(socket, is_v4, false)?;
    Ok(state)
}

/// Without fragments: DF, and EMSGSIZE for what exceeds the MTU of the link; the path MTU is the engine's concern.
/// With fragments over IPv4: no DF, so routers fragment, and the kernel ignores the path MTU that ICMP reported. Over
/// IPv6 routers cannot fragment: the kernel does it, to the path MTU that it knows, which is 1280 or more.
pub(super) fn set_fragments(socket: &UdpSocket, is_v4: bool, on: bool) -> io::Result<()> {
    if is_v4 {
        let mode = if on { Ipv4PathMtuDiscovery::OMIT } else { Ipv4PathMtuDiscovery::PROBE };
        sockopt::set_ip_mtu_discover(socket, mode)?;
    } else {
        let mode = if on { Ipv6PathMtuDiscovery::DONT } else { Ipv6PathMtuDiscovery::PROBE };
        sockopt::set_ipv6_mtu_discover(socket, mode)?;
    }
    Ok(())
}
