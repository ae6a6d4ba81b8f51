//! The socket that `wg` connects to: `/run/wireguard/NAME.sock`.

use crate::uapi::format::errno;
use crate::uapi::parse::{end_of_request, parse};
use crate::uapi::{BadRequest, REQUEST_LEN_MAX, Request};
use adit_packet::Instant;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Where `wg` looks.
pub(crate) const FOLDER: &str = "/run/wireguard";

/// The most clients at a time: `wg` asks and goes. For a further one the oldest goes.
const CLIENTS_MAX: usize = 8;

/// How much is read or written in one go.
const CHUNK_LEN: usize = 64 * 1024;

const LISTENER: u64 = u64::MAX;

/// How long nothing is accepted after a failure, such as ENFILE or ENOMEM.
const REST: Duration = Duration::from_secs(1);

/// A socket that is listened on; it is removed when it goes.
#[derive(Debug)]
pub struct UapiSocket {
    path: PathBuf,
    /// `false` while another process removes it.
    is_ours: bool,
    epoll: OwnedFd,
    listener: OwnedFd,
    /// Given up to refuse somebody when no other descriptor is left.
    spare: Option<OwnedFd>,
    clients: Vec<Option<Client>>,
    /// When connections are accepted again, after a failure.
    rests_until: Option<Instant>,
    /// For telling which client is the oldest.
    accepted: u64,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    received: Zeroizing<Vec<u8>>,
    /// What is left to be written.
    answer: Zeroizing<Vec<u8>>,
    written: usize,
    number: u64,
}

impl UapiSocket {
    /// Listens for `wg` by the name of the device; only this user and root may connect.
    ///
    /// # Errors
    /// EACCES, EROFS: the folder cannot be made; EADDRINUSE: another program serves that name.
    pub fn bind(name: &str) -> io::Result<Self> {
        let folder = Path::new(FOLDER);
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Self::bind_in(folder, name)
    }

    /// Listens in another folder, for tests.
    ///
    /// # Errors
    /// As [`UapiSocket::bind`].
    pub fn bind_in(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(format!("{name}.sock"));
        let address = SocketAddrUnix::new(&path)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let new = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        // One that a killed program left has nobody who listens.
        if rustix::net::connect(&new()?, &address) == Err(Errno::CONNREFUSED) {
            std::fs::remove_file(&path)?;
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let listener = new()?;
        // The file gets its mode from here: it is never open to others.
        rustix::fs::fchmod(&listener, Mode::from_raw_mode(0o600))?;
        rustix::net::bind(&listener, &address)?;
        // From here on the file goes with it, also when what follows fails.
        let socket = Self::of(path, epoll, listener);
        rustix::fs::chmod(&socket.path, Mode::from_raw_mode(0o600))?;
        rustix::net::listen(&socket.listener, 16)?;
        socket.listen()?;
        Ok(socket)
    }

    /// The socket of another process. Its file stays that process's until [`Self::own`].
    ///
    /// # Errors
    /// EMFILE, ENOMEM.
    pub fn adopt(name: &str, listener: OwnedFd) -> io::Result<Self> {
        let path = Path::new(FOLDER).join(format!("{name}.sock"));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut socket = Self::of(path, epoll, listener);
        socket.is_ours = false;
        socket.listen()?;
        Ok(socket)
    }

    /// Takes the file over from the other process.
    pub const fn own(&mut self) {
        self.is_ours = true;
    }

    /// The listening socket, for a process that takes it over.
    #[must_use]
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Leaves the socket to a process that has taken it over; clients that wait are dropped.
    pub fn pass_on(mut self) {
        self.is_ours = false;
    }

    fn of(path: PathBuf, epoll: OwnedFd, listener: OwnedFd) -> Self {
        let spare = listener.try_clone().ok();
        Self {
            path,
            is_ours: true,
            epoll,
            listener,
            spare,
            clients: Vec::new(),
            rests_until: None,
            accepted: 0,
        }
    }

    /// Does what there is to do, without waiting; to be called when the descriptor is readable.
    /// `handle` gives the answer to a request, or an errno.
    pub fn serve(
        &mut self,
        now: Instant,
        mut handle: impl FnMut(Request) -> Result<Zeroizing<String>, i32>,
    ) {
        let mut events = Vec::with_capacity(CLIENTS_MAX + 1);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spare = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(&self.epoll, spare, Some(&none)).is_err() {
            return;
        }
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(now),
                place => self.attend(usize::try_from(place).unwrap_or(usize::MAX), &mut handle),
            }
        }
    }

    /// When [`Self::run_due`] must be called.
    #[must_use]
    pub const fn next_due(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Accepts connections again after a failure, when it is time to.
    pub fn run_due(&mut self, now: Instant) {
        if self.rests_until.is_some_and(|until| until <= now) {
            self.rests_until = None;
            if self.listen().is_err() {
                self.rest(now);
            }
        }
    }

    fn listen(&self) -> io::Result<()> {
        let data = EventData::new_u64(LISTENER);
        Ok(epoll::add(&self.epoll, &self.listener, data, EventFlags::IN)?)
    }

    /// Accepts nothing for a moment: the listener stays readable, and the next attempt would fail as well.
    fn rest(&mut self, now: Instant) {
        let _ = epoll::delete(&self.epoll, &self.listener);
        self.rests_until = now.checked_add(REST);
    }

    fn accept(&mut self, now: Instant) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            // Accept and close: a connection left in the backlog keeps the listener readable forever.
            Err(Errno::MFILE | Errno::NFILE) => {
                let had_spare = self.spare.take().is_some();
                let refused = rustix::net::accept_with(&self.listener, flags).map(drop);
                self.spare = self.listener.try_clone().ok();
                if !had_spare || refused.is_err() {
                    self.rest(now);
                }
                return;
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(_) => return self.rest(now),
        };
        if self.clients.iter().flatten().count() >= CLIENTS_MAX {
            self.drop_oldest();
        }
        let place = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
        let data = EventData::new_u64(u64::try_from(place).unwrap_or(LISTENER));
        if epoll::add(&self.epoll, &socket, data, EventFlags::IN).is_err() {
            return;
        }
        self.accepted += 1;
        let (received, answer) = (Zeroizing::default(), Zeroizing::default());
        let client = Some(Client { socket, received, answer, written: 0, number: self.accepted });
        match self.clients.get_mut(place) {
            Some(free) => *free = client,
            None => self.clients.push(client),
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self
            .clients
            .iter_mut()
            .min_by_key(|client| client.as_ref().map_or(u64::MAX, |client| client.number));
        if let Some(oldest) = oldest {
            *oldest = None;
        }
    }

    fn attend(
        &mut self,
        place: usize,
        handle: &mut impl FnMut(Request) -> Result<Zeroizing<String>, i32>,
    ) {
        let Some(slot) = self.clients.get_mut(place) else { return };
        let Some(client) = slot else { return };
        if !client.attend(handle) {
            // Closing it takes it out of the epoll set as well.
            *slot = None;
            return;
        }
        let wanted = if client.answer.is_empty() { EventFlags::IN } else { EventFlags::OUT };
        let data = EventData::new_u64(u64::try_from(place).unwrap_or(LISTENER));
        if epoll::modify(&self.epoll, &client.socket, data, wanted).is_err() {
            *slot = None;
        }
    }
}

impl AsFd for UapiSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for UapiSocket {
    fn drop(&mut self) {
        if self.is_ours {
            // If it cannot be removed, the next of this name does it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Client {
    /// Reads and writes as much as goes; whether it stays.
    fn attend(
        &mut self,
        handle: &mut impl FnMut(Request) -> Result<Zeroizing<String>, i32>,
    ) -> bool {
        if !self.answer.is_empty() {
            return self.write();
        }
        let len = self.received.len();
        // Grows by hand, so that what was there is wiped and not left behind.
        let mut grown = Zeroizing::new(vec![0; len + CHUNK_LEN]);
        grown[..len].copy_from_slice(&self.received);
        let flags = RecvFlags::DONTWAIT;
        let count = match rustix::net::recv(&self.socket, &mut grown[len..], flags) {
            Ok((0, _)) => return false,
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        grown.truncate(len + count);
        self.received = grown;
        // What was there before has no end; it may be between the two.
        let from = len.saturating_sub(1);
        match end_of_request(&self.received[from..]) {
            None => self.received.len() <= REQUEST_LEN_MAX,
            Some(end) => {
                let answer = match parse(&self.received[..from + end]) {
                    Ok(request) => handle(request),
                    Err(BadRequest) => Err(Errno::INVAL.raw_os_error()),
                };
                let answer = answer.unwrap_or_else(|number| Zeroizing::new(errno(number)));
                self.answer = Zeroizing::new(answer.as_bytes().to_vec());
                self.received = Zeroizing::new(self.received[from + end..].to_vec());
                self.write()
            }
        }
    }

    fn write(&mut self) -> bool {
        while self.written < self.answer.len() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, &self.answer[self.written..], flags) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        self.answer = Zeroizing::default();
        self.written = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::Snapshot;
    use crate::uapi::format::get;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("adit-uapi-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn serve(socket: &mut UapiSocket) {
        for _ in 0..3 {
            socket.serve(Instant::ZERO, |request| match request {
                Request::Get => Ok(get(&Snapshot { listen_port: 7, ..Snapshot::default() })),
                Request::Set(_) => Err(1),
            });
        }
    }

    fn ask(socket: &mut UapiSocket, parts: &[&str]) -> String {
        let mut stream = UnixStream::connect(&socket.path).unwrap();
        stream.set_nonblocking(true).unwrap();
        for part in parts {
            stream.write_all(part.as_bytes()).unwrap();
            serve(socket);
        }
        let mut bytes = [0; 1000];
        let len = stream.read(&mut bytes).unwrap_or(0);
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn requests_are_answered_in_pieces_and_one_after_the_other() {
        let folder = folder("ask");
        let mut socket = UapiSocket::bind_in(&folder, "x").unwrap();
        let mode = std::fs::metadata(&socket.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(ask(&mut socket, &["get=1\n\n"]), "listen_port=7\nerrno=0\n\n");
        assert_eq!(ask(&mut socket, &["g", "et=1\n", "\n"]), "listen_port=7\nerrno=0\n\n");
        assert_eq!(ask(&mut socket, &["set=1\n\n"]), "errno=-1\n\n");
        assert_eq!(ask(&mut socket, &["nonsense\n\n"]), "errno=-22\n\n");
        assert_eq!(ask(&mut socket, &["set=1\n\n", "get=1\n\n"]).matches("errno").count(), 2);
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(UnixStream::connect(&socket.path).unwrap());
            serve(&mut socket);
        }
        assert!(socket.clients.len() <= CLIENTS_MAX);
        assert_eq!(ask(&mut socket, &["get=1\n\n"]), "listen_port=7\nerrno=0\n\n");
        drop(idle);
        drop(socket);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_name_is_served_once_and_a_dead_socket_is_replaced() {
        let folder = folder("twice");
        let first = UapiSocket::bind_in(&folder, "x").unwrap();
        let second = UapiSocket::bind_in(&folder, "x").unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        // Killed: the file stays.
        let path = first.path.clone();
        std::fs::rename(&path, folder.join("kept")).unwrap();
        drop(first);
        std::fs::rename(folder.join("kept"), &path).unwrap();
        drop(UapiSocket::bind_in(&folder, "x").unwrap());
        std::fs::remove_dir(folder).unwrap();
    }

    /// After a failure the descriptor is not readable until the rest is over.
    #[test]
    fn a_failed_accept_is_not_repeated_without_a_pause() {
        let folder = folder("rest");
        let mut socket = UapiSocket::bind_in(&folder, "x").unwrap();
        let is_ready = |socket: &UapiSocket| {
            let mut fds = [PollFd::new(socket, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
        };
        let _client = UnixStream::connect(&socket.path).unwrap();
        assert!(is_ready(&socket));
        socket.rest(Instant::ZERO);
        socket.run_due(Instant::ZERO);
        assert!(!is_ready(&socket));
        let until = socket.next_due().unwrap();
        socket.run_due(until);
        assert!(is_ready(&socket) && socket.next_due().is_none());
        drop(socket);
        std::fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_request_without_end_is_cut_off() {
        let folder = folder("long");
        let mut socket = UapiSocket::bind_in(&folder, "x").unwrap();
        let mut stream = UnixStream::connect(&socket.path).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        loop {
            serve(&mut socket);
            match stream.write(&[b'x'; 32 * 1024]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            assert!(sent < REQUEST_LEN_MAX + (2 << 20), "it was not cut off");
        }
        drop(socket);
        std::fs::remove_dir(folder).unwrap();
    }
}
