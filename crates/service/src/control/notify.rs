//! Messages to the service manager: `sd_notify(3)`, without its library.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The start, or a reload, is done.
    Ready,
    /// A reload begins.
    Reloading,
    /// The end begins.
    Stopping,
}

/// Sends it to the socket in `NOTIFY_SOCKET`; without that variable it does nothing.
pub fn notify(status: Status) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text = match status {
        Status::Ready => "READY=1".to_owned(),
        Status::Stopping => "STOPPING=1".to_owned(),
        Status::Reloading => {
            // systemd wants to know that the READY=1 after this is not an older one.
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
            format!("RELOADING=1\nMONOTONIC_USEC={usec}")
        }
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    // A manager that has gone is not worth more than this.
    let _ = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(text.as_bytes(), &address)
    });
}
