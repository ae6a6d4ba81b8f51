//! A namespace that is served, and the host around it.

use crate::support::{ADIT, bare, text};
use adit_device::Netns;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// How long a condition may take to become true on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

pub(crate) fn wait_until<T>(what: &str, mut try_it: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = try_it() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(10));
    }
}

pub(crate) fn must(line: &str) {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}");
}

/// A network namespace with a user namespace of its own, as a container has it, and the folder of the test.
pub(crate) struct World {
    pub(crate) target: Child,
    pub(crate) folder: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        crate::support::enter();
        must("ip link set lo up");
        must("ip addr add 192.0.2.1/32 dev lo");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/run/compat-{number}"));
        fs::create_dir(&folder).unwrap();
        for name in ["slirp4netns", "pasta", "passt", "gvproxy"] {
            symlink(ADIT, folder.join(name)).unwrap();
        }
        fs::write(folder.join("resolv.conf"), format!("nameserver {SERVER}\n")).unwrap();
        let resolv = fs::canonicalize("/etc/resolv.conf").unwrap();
        rustix::mount::mount_bind(folder.join("resolv.conf"), &resolv).unwrap();
        let mut unshare = bare("unshare");
        let target = unshare.args(["-Urn", "sleep", "1000"]).spawn().unwrap();
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let of_target = format!("/proc/{}/ns/net", target.id());
        wait_until("a namespace", || fs::read_link(&of_target).ok().filter(|name| *name != own));
        wait_until("a map of users", || {
            let map = fs::read_to_string(format!("/proc/{}/uid_map", target.id())).ok()?;
            (!map.trim().is_empty()).then_some(())
        });
        Self { target, folder }
    }

    /// A file that holds the target's namespace, as podman and `ip netns` make them.
    pub(crate) fn hold(&self) -> PathBuf {
        let held = self.folder.join("netns");
        fs::write(&held, "").unwrap();
        rustix::mount::mount_bind(format!("/proc/{}/ns/net", self.pid()), &held).unwrap();
        held
    }

    /// Removes that file.
    pub(crate) fn let_go(held: &Path) {
        rustix::mount::unmount(held, rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::remove_file(held).unwrap();
    }

    /// Starts python in the target, and waits until it prints `up`.
    pub(crate) fn python(&self, program: &str) -> Servers {
        let pid = self.pid();
        let mut command = bare("nsenter");
        command.args(["-t", &pid, "-U", "-n", "--preserve-credentials", "python3", "-c", program]);
        let mut servers = Servers(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut up = [0; 3];
        servers.0.stdout.take().unwrap().read_exact(&mut up).unwrap();
        servers
    }

    pub(crate) fn pid(&self) -> String {
        self.target.id().to_string()
    }

    /// A command in the target.
    pub(crate) fn inside(&self, words: &[&str]) -> Command {
        let mut command = bare("timeout");
        let pid = self.pid();
        let enter = ["-k", "1", "100", "nsenter", "-t", &pid, "-U", "-n", "--preserve-credentials"];
        command.args(enter).args(words);
        command
    }

    /// Runs a line in the target, which must succeed.
    pub(crate) fn run(&self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(self.inside(&words).status().unwrap().success(), "{line}");
    }

    pub(crate) fn output(&self, words: &[&str]) -> String {
        let output = self.inside(words).output().unwrap();
        text(&output.stdout) + &text(&output.stderr)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.target.kill();
        let _ = self.target.wait();
    }
}

/// Sends `bytes` to the next client.
pub(crate) fn serve(at: impl Into<IpAddr>, bytes: Vec<u8>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((at.into(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&bytes).unwrap();
    });
    (port, thread)
}

/// What comes from an address, read in the target.
pub(crate) const READ: &str = "import socket, sys, hashlib
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 50)
b = b''.join(iter(lambda: s.recv(65536), b''))
print(len(b), hashlib.sha256(b).hexdigest())";

/// A port of the test's namespace that is free.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A process that ends with its test.
pub(crate) struct Servers(pub(crate) Child);

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Beyond the host's interface.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Beyond the host's gateway, which has addresses of both families.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// A host with an interface and a default route, and what is behind it.
pub(crate) struct Network {
    pub(crate) world: World,
    outside: Servers,
}

impl Network {
    pub(crate) fn new() -> Self {
        let world = World::new();
        must("ip addr del 192.0.2.1/32 dev lo");
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let mut unshare = bare("unshare");
        let outside = Servers(unshare.args(["-n", "sleep", "1000"]).spawn().unwrap());
        let pid = outside.0.id();
        let of_outside = format!("/proc/{pid}/ns/net");
        wait_until("a namespace", || fs::read_link(&of_outside).ok().filter(|name| *name != own));
        must(&format!("ip link add eth0 type veth peer name eth0 netns {pid}"));
        for line in [
            "ip addr add 192.0.2.1/24 dev eth0",
            "ip addr add 2001:db8::1/64 dev eth0 nodad",
            "ip link set eth0 up",
            "ip route add default via 192.0.2.2",
            "ip route add default via 2001:db8::2 dev eth0",
        ] {
            must(line);
        }
        for line in [
            "ip addr add 192.0.2.2/24 dev eth0",
            "ip addr add 2001:db8::2/64 dev eth0 nodad",
            "ip addr add 2001:db8::3/64 dev eth0 nodad preferred_lft 0",
            "ip link set eth0 up",
            "ip link set lo up",
            "ip addr add 198.51.100.2/32 dev lo",
            "ip addr add 2001:db9::2/128 dev lo nodad",
        ] {
            must(&format!("nsenter -t {pid} -n {line}"));
        }
        Self { world, outside }
    }

    /// Does something outside.
    pub(crate) fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        Netns::of_pid(self.outside.0.id()).unwrap().run(work).unwrap()
    }

    /// Runs pasta until it returns: the status, and what it wrote.
    pub(crate) fn pasta(&self, arguments: &str) -> (Option<i32>, String) {
        self.call("pasta", arguments)
    }

    /// The same of any program.
    pub(crate) fn call(&self, name: &str, arguments: &str) -> (Option<i32>, String) {
        let mut command = bare("timeout");
        command.args(["-k", "1", "100"]).arg(self.world.folder.join(name));
        // As podman does: until both streams are closed.
        let output = command.args(arguments.split_whitespace()).output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// The process ids of a program in the background.
    pub(crate) fn running(&self, name: &str) -> Vec<u32> {
        let program = self.world.folder.join(name);
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let of_pasta = processes.filter_map(|entry| {
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let first = words.split(|byte| *byte == 0).next()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            (first == program.as_os_str().as_encoded_bytes()).then_some(pid)
        });
        of_pasta.collect()
    }

    pub(crate) fn wait_for_end(&self, name: &str) {
        wait_until("the end of a program", || self.running(name).is_empty().then_some(()));
    }
}

/// What a server at an address says, asked from the thread's namespace.
pub(crate) fn read_from(address: SocketAddr) -> Option<String> {
    let mut client = TcpStream::connect(address).ok()?;
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).ok().filter(|&len| len > 0).map(|_| answer)
}

/// Servers in the target, of both families: TCP port 80 says the address of its client, UDP port 53 answers.
pub(crate) const SERVERS: &str = "import socket, threading
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('0.0.0.0', 53))
def udp():
    while True:
        b, a = u.recvfrom(99)
        u.sendto(b'udp ' + b, a)
threading.Thread(target=udp, daemon=True).start()
t = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
print('up', flush=True)
while True:
    c, a = t.accept()
    c.sendall(('tcp ' + a[0]).encode())
    c.close()";

/// Answers one query at a name server with the code "no such name".
pub(crate) fn refuse_name(dns: UdpSocket) -> JoinHandle<()> {
    dns.set_read_timeout(Some(PATIENCE)).unwrap();
    spawn(move || {
        let mut message = [0; 512];
        let (len, client) = dns.recv_from(&mut message).unwrap();
        message[2..4].copy_from_slice(&[0x81, 0x83]);
        dns.send_to(&message[..len], client).unwrap();
    })
}
