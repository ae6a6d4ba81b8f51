//! Failures of a tunnel on its host.

use adit_runtime::PeerOptions;
use adit_service::error::{Error, Kind};
use std::io;

/// Why a port cannot be listened on.
pub fn port_error(what: &str, options: &PeerOptions, error: &io::Error) -> Error {
    let at = options.source.map_or(String::new(), |source| format!(" at {source}"));
    let new = Error::io("listen on", format!("{what}{at}"), error);
    match error.kind() {
        io::ErrorKind::AddrInUse => Error { kind: Kind::Conflict, ..new }.hint(
            "Another program uses the port: 'ss -tulpn' shows it. End it, or choose another port.",
        ),
        _ => new,
    }
}
