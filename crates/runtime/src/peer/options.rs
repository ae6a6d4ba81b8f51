//! The options of the sockets to peers: fragments, trains, buffers.

use quinn_udp::UdpSocketState;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use std::io;
use std::net::UdpSocket;

/// The buffers of the sockets. Where this thread is what is slowest, TCP inside the tunnel fills the one
/// that it reads from, and all else waits behind that: 512 KiB (the kernel counts twice as much, with what
/// it needs besides) are 1 ms at 5 Gbit/s. With 2 MiB the 99th percentile of pings beside a stream that
/// takes all was 5.7 ms in place of 3.3, for 4 % more throughput; with 256 KiB 2.4 ms, for 8 % less.
const BUFFER_LEN: usize = 512 << 10;

/// What the kernel can do with a socket, which asks it for more than we want.
pub(super) fn state_of(socket: &UdpSocket, is_v4: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    // Nobody asks when a datagram came, and with that told the codepoint of ECN has no room.
    adit_device::disable_timestamps(socket)?;
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

/// Enlarges the buffers as far as is allowed: beyond the system's limit with `CAP_NET_ADMIN` only.
pub(super) fn enlarge(socket: &UdpSocket) {
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER_LEN).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, BUFFER_LEN);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, BUFFER_LEN).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, BUFFER_LEN);
    }
}
