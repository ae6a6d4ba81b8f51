//! `adit run`: a command in namespaces of its own, and its only way out.
//!
//! ```text
//! host                                          namespaces of the command
//! adit: engine (NAT or tunnel) <-- queue --     TUN device, private resolv.conf
//!        |                                      COMMAND
//!      sockets of the host
//! ```
//!
//! The command has no other interface than `lo` and that device, so nothing can pass by the engine: if adit
//! ends, the network of the command ends.

mod nat;
mod options;
mod tunnel;

pub use options::{Net, Options, WantedTunnel, needs};

use adit_service::error::{Error, Result};
use adit_service::event::Events;
use adit_service::namespace::{PrivateFiles, Running};
use adit_service::sandbox::Needs;

/// Runs the command until it ends, and returns its status as shells do: 128 + n after signal n.
///
/// # Errors
/// What failed before the command ran; nothing is left then.
pub fn run(options: &Options, events: &Events) -> Result<u8> {
    match &options.net {
        Net::Tunnel(wanted) => tunnel::run(options, wanted, events),
        Net::Nat(wanted) => nat::run(options, wanted, events),
        Net::None => {
            let namespaces =
                options.create(PrivateFiles::default(), &mut Vec::<()>::new(), events)?;
            let failed = |error| Error::io("wait for", "the command", &error);
            let signals = Running::signals().map_err(failed)?;
            options.enter_sandbox(Needs::default(), events)?;
            namespaces.start()?.serve(&signals).map_err(failed)
        }
    }
}
