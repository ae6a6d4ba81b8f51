//! The options of the sockets to peers: fragments, trains, buffers.

use quinn_udp::UdpSocketState;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use std::io;
use std::net::UdpSocket;

/// The size of the socket buffers. If this thread is the bottleneck, TCP inside the tunnel fills the receive
/// buffer, and all other packets wait behind it: 512 KiB are 1 ms at 5 Gbit/s (the kernel doubles the value
/// for its overhead). With 2 MiB the 99th percentile of pings beside a saturating stream was 5.7 ms instead
/// of 3.3 ms, for 4 % more throughput; with 256 KiB 2.4 ms, for 8 % less.
const BUFFER_LEN: usize = 512 << 10;

/// Returns the state of quinn-udp for a socket, and undoes the options that it sets and we do not want.
pub(super) fn state_of(socket: &UdpSocket, is_v4: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    // Receive timestamps are unused, and with them the ECN codepoint does not fit into the control buffer.
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

/// Enlarges the buffers as far as allowed: beyond the limit of the system only with `CAP_NET_ADMIN`.
pub(super) fn enlarge(socket: &UdpSocket) {
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER_LEN).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, BUFFER_LEN);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, BUFFER_LEN).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, BUFFER_LEN);
    }
}
