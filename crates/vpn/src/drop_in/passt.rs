//! In place of passt: a virtual machine has the host's addresses, by DHCP and router advertisements, on a stream
//! socket of frames as QEMU's `-netdev stream` has it.

use super::addressing::Addressing;
use super::background::{Caller, close_inherited, detach, inherited, write_pid};
use super::guests::GuestOptions;
use super::ports::{Forward, flows};
use super::server::Server;
use adit_runtime::port::kinds::unix::StreamListener;
use adit_runtime::port::stream::StreamPort;
use adit_service::error::{Error, Result};
use adit_service::sandbox::Level;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// What the command line of passt asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passt {
    /// Where the guest is.
    pub socket: GuestSocket,
    /// The program ends with its first guest.
    pub one_off: bool,
    /// The addresses of the guest.
    pub addressing: Addressing,
    /// What it is told beside them.
    pub guest: GuestOptions,
    /// Ports of the host that lead to the guest.
    pub forwards: Vec<Forward>,
    /// Where the id of the process is written.
    pub pid_file: Option<PathBuf>,
    /// The program stays in the foreground.
    pub foreground: bool,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

/// The socket of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestSocket {
    /// It connects here.
    Path(PathBuf),
    /// It is connected: the number of an inherited descriptor.
    Descriptor(RawFd),
}

impl Passt {
    /// Returns when the socket listens and the ports are open; a copy of this process serves the guest from then
    /// on. In the foreground, runs until the guest or a signal ends it.
    ///
    /// # Errors
    /// What failed before it was ready.
    pub fn run(&self) -> Result<()> {
        let connected = match self.socket {
            GuestSocket::Path(_) => None,
            GuestSocket::Descriptor(number) => inherited(Some(number))?,
        };
        close_inherited();
        if self.foreground {
            self.serve(connected, Caller::none())
        } else {
            detach(|caller| self.serve(connected, caller))
        }
    }

    fn serve(&self, connected: Option<OwnedFd>, caller: Caller) -> Result<()> {
        let mut resolved = self.addressing.resolve()?;
        resolved.inside.ports = flows(&self.forwards);
        let guests = resolved.guests(&self.guest);
        let engine = resolved.inside.engine()?;
        let follower = resolved.inside.follow(&engine, self.sandbox)?;
        let mut server = Server::new(engine)?;
        server.set_outbound(&self.addressing.outbound)?;
        follower.map_or(Ok(()), |follower| server.follow(follower))?;
        server.has_guest(guests, self.one_off || connected.is_some());
        let mut folder = None;
        if let Some(socket) = connected {
            let failed = |error| Error::io("use", "the guest's socket", &error);
            server.connect(Box::new(StreamPort::socket("guest", socket).map_err(failed)?))?;
        } else if let GuestSocket::Path(path) = &self.socket {
            let listener = StreamListener::bind(path);
            let listener =
                listener.map_err(|error| Error::io("listen on", path.display(), &error))?;
            folder = listener.path().parent().map(Path::to_owned);
            server.listen(Box::new(listener))?;
        }
        server.open(&self.forwards, &resolved.devices())?;
        self.pid_file.as_deref().map_or(Ok(()), write_pid)?;
        caller.leave()?;
        // What it lacks is not printed: callers take all output for errors.
        let _lacking = Server::enter_sandbox(self.sandbox, folder.into_iter().collect())?;
        caller.ready()?;
        server.run()
    }
}
