//! A running loop, hosts in namespaces, and traffic between them.

use crate::port::PortCounters;
use crate::port::kind::Opened;
use crate::runner::Handler;
use crate::runner::Runner;
use crate::runner::event::{Event, Next};
use crate::runner::hubs::ListenerId;
use crate::wake::reactor::{Interest, Token};
use adit_device::Netns;
use adit_engine::Hub;
use adit_engine::PortId;
use adit_packet::{Pool, PoolConfig};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything here may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What happened, as text that a test can wait for.
pub(super) type News = String;

type Work = Box<dyn FnOnce(&mut Runner<Hub>, &mut Owner) -> Next + Send>;

/// The handler: attaches new ports, and runs the test's requests on the loop's thread.
pub(super) struct Owner {
    wake: UnixStream,
    work: Receiver<Work>,
    news: Sender<News>,
    next: u16,
}

impl Owner {
    pub(super) fn add(
        &mut self,
        runner: &mut Runner<Hub>,
        port: Box<dyn crate::port::Port>,
    ) -> PortId {
        let id = PortId(self.next);
        self.next += 1;
        runner.attach(id, port).expect("it is attached");
        runner.engine_mut().ports.push(id);
        id
    }

    fn tell(&self, news: String) {
        // The test may have ended.
        let _ = self.news.send(news);
    }
}

impl Handler<Hub> for Owner {
    fn event(&mut self, runner: &mut Runner<Hub>, event: Event) -> Next {
        match event {
            Event::Ready(Token(0)) => {
                let mut bytes = [0; 64];
                let _ = self.wake.read(&mut bytes);
                while let Ok(work) = self.work.try_recv() {
                    if work(runner, self) == Next::Stop {
                        return Next::Stop;
                    }
                }
            }
            Event::PortGone { port, why, .. } => {
                runner.engine_mut().ports.retain(|&id| id != port);
                self.tell(format!("gone {port}: {why}"));
            }
            Event::Accepted(ListenerId(_), port) => {
                let name = port.name().to_owned();
                let id = self.add(runner, port);
                self.tell(format!("new {id}: {name}"));
            }
            Event::PortDown(port) => self.tell(format!("down {port}")),
            Event::PortUp(port) => self.tell(format!("up {port}")),
            other => self.tell(format!("{other:?}")),
        }
        Next::Continue
    }
}

/// A loop on a thread of its own, which ends with it.
pub(super) struct Loop {
    thread: Option<JoinHandle<std::io::Result<()>>>,
    wake: UnixStream,
    work: Sender<Work>,
    news: Receiver<News>,
    seen: Vec<News>,
}

impl Loop {
    /// Runs a hub with these ports, numbered from 0 on.
    pub(super) fn start(specs: &[&str]) -> Self {
        let (wake, woken) = UnixStream::pair().unwrap();
        woken.set_nonblocking(true).unwrap();
        let (work, todo) = channel();
        let (tell, news) = channel();
        let thread = std::thread::spawn(move || {
            let pool = Pool::new(PoolConfig::default());
            let mut runner = Runner::new(Hub::default(), pool)?;
            let mut owner = Owner { wake: woken, work: todo, news: tell, next: 0 };
            let readable = Interest { readable: true, writable: false };
            runner.watch(&owner.wake, Token(0), readable)?;
            runner.run(&mut owner)?;
            while let Some(id) = runner.engine_mut().ports.pop() {
                runner.detach(id);
            }
            Ok(())
        });
        let mut new = Self { thread: Some(thread), wake, work, news, seen: Vec::new() };
        for spec in specs {
            new.open(spec);
        }
        new
    }

    /// Does something on the loop's thread and waits for its result.
    pub(super) fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Runner<Hub>, &mut Owner) -> T + Send + 'static,
    ) -> T {
        let (result, done) = channel();
        self.send(Box::new(move |runner, owner| {
            let _ = result.send(work(runner, owner));
            Next::Continue
        }));
        done.recv_timeout(PATIENCE).expect("the loop does it")
    }

    fn send(&self, work: Work) {
        self.work.send(work).expect("the loop runs");
        (&self.wake).write_all(&[0]).expect("the loop runs");
    }

    /// Opens one more port, or listener.
    pub(super) fn open(&mut self, spec: &str) -> Vec<PortId> {
        let text = spec.to_owned();
        let spec: crate::port::spec::PortSpec = spec.parse().unwrap();
        self.with(move |runner, owner| {
            let opened = spec.open().unwrap_or_else(|error| panic!("{text}: {error:?}"));
            match opened {
                Opened::Ports(ports) => {
                    ports.into_iter().map(|port| owner.add(runner, port)).collect()
                }
                Opened::Listener(listener) => {
                    runner.listen(listener).unwrap();
                    Vec::new()
                }
            }
        })
    }

    pub(super) fn counters(&self, port: u16) -> PortCounters {
        self.with(move |runner, _| *runner.port(PortId(port)).expect("it is there").1)
    }

    /// Waits for news that start like this, and gives them whole.
    pub(super) fn wait_for(&mut self, start: &str) -> News {
        loop {
            if let Some(at) = self.seen.iter().position(|news| news.starts_with(start)) {
                return self.seen.remove(at);
            }
            match self.news.recv_timeout(PATIENCE) {
                Ok(news) => self.seen.push(news),
                Err(_) => panic!("no '{start}' among {:?}", self.seen),
            }
        }
    }

    /// How many news start like this by now.
    pub(super) fn count(&mut self, start: &str) -> usize {
        self.seen.extend(self.news.try_iter());
        self.seen.iter().filter(|news| news.starts_with(start)).count()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = self.work.send(Box::new(|_, _| Next::Stop));
        let _ = self.wake.write_all(&[0]);
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.unwrap().expect("the loop does not panic").expect("the loop does not fail");
        }
    }
}

/// Moves the test's thread into a namespace of its own.
pub(super) fn enter() {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    ip("link set lo up");
}

/// A directory that goes with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("adit-run-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Gives the test's thread an empty `/run`, so that `ip netns` meddles with nobody.
pub(super) fn private_run() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::UnshareFlags;
    #[expect(deprecated, reason = "the new name is unsafe for flags that are not used here")]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS).expect("a mount namespace");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private mounts");
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).expect("mount /run");
}

/// A namespace for the other end of a port.
pub(super) struct Host(pub Netns);

impl Host {
    pub(super) fn new() -> Self {
        let netns = Netns::new_anonymous().expect("a namespace");
        let host = Self(netns);
        host.ip("link set lo up");
        host
    }

    /// What a specification says to have its device in here.
    pub(super) fn path(&self) -> String {
        use std::os::fd::AsFd;
        format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd())
    }

    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.run(work).expect("a thread in the namespace")
    }

    pub(super) fn ip(&self, words: &str) {
        self.run(|| ip(words));
    }

    /// Sets a device up that was down, which has taken its IPv6 address away.
    pub(super) fn address_again(&self, device: &str, number: u8) {
        self.ip(&format!("link set {device} up"));
        self.ip(&format!("addr add 2001:db8::{number}/64 dev {device} nodad"));
    }

    /// Gives the device `192.0.2.N/24` and `2001:db8::N/64` and sets it up.
    pub(super) fn address(&self, device: &str, number: u8) {
        self.ip(&format!("link set {device} up"));
        self.ip(&format!("addr add 192.0.2.{number}/24 dev {device}"));
        self.ip(&format!("addr add 2001:db8::{number}/64 dev {device} nodad"));
    }
}

/// `ip` with these words, which must succeed.
pub(super) fn ip(words: &str) {
    let output = Command::new("ip")
        .args(words.split(' '))
        .stdin(Stdio::null())
        .output()
        .expect("iproute2 is there");
    assert!(output.status.success(), "ip {words}: {output:?}");
}

pub(super) fn v4(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

/// A datagram of `len` bytes goes from one host to another and back.
pub(super) fn echo(from: &Host, to: &Host, address: IpAddr, len: usize) {
    let server = to.run(|| UdpSocket::bind((address, 7)).expect("bind"));
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let family: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let client = from.run(|| UdpSocket::bind((family, 0)).expect("bind"));
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let sent: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut buf = vec![0; 65_536];
    let started = std::time::Instant::now();
    // Sent again while neighbours are looked for and links come up.
    while started.elapsed() < PATIENCE {
        let _ = client.send_to(&sent, (address, 7));
        if let Ok((count, peer)) = server.recv_from(&mut buf) {
            assert_eq!(buf[..count], sent, "the datagram is what was sent");
            let _ = server.send_to(&buf[..count], peer);
        }
        if let Ok((count, _)) = client.recv_from(&mut buf) {
            assert_eq!(buf[..count], sent, "the answer is what was sent");
            return;
        }
    }
    panic!("no datagram of {len} bytes came back from {address}");
}

/// The byte of an endless stream at a place.
fn byte(at: usize) -> u8 {
    let word = u64::try_from(at).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_be_bytes()[1]
}

/// `len` bytes over TCP from one host to another, every byte compared.
pub(super) fn transfer(from: &Host, to: &Host, address: IpAddr, len: usize) {
    let listener = to.run(|| TcpListener::bind((address, 0)).expect("listen"));
    let port = listener.local_addr().unwrap().port();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut buf, mut at) = (vec![0; 65_536], 0);
        loop {
            let count = stream.read(&mut buf).expect("bytes come");
            if count == 0 {
                return at;
            }
            for (place, &got) in (at..).zip(&buf[..count]) {
                assert_eq!(got, byte(place), "byte {place}");
            }
            at += count;
        }
    });
    let address = (address, port).into();
    let mut stream =
        from.run(|| TcpStream::connect_timeout(&address, PATIENCE)).expect("it connects");
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let bytes: Vec<u8> = (0..len).map(byte).collect();
    stream.write_all(&bytes).expect("bytes go");
    drop(stream);
    assert_eq!(reader.join().expect("all bytes are right"), len);
}
