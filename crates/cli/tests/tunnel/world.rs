//! Two namespaces joined by a veth pair, and the programs in them.
//!
//! ```text
//! [a] ua 192.0.2.1/24, 2001:db8::1/64 <-- veth --> ub 192.0.2.2/24, 2001:db8::2/64 [b]
//! ```

use crate::support::{ADIT, bare, command, enter, text};
use adit_device::Netns;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where tunnels keep what is to outlive them: in the world that ends with a test.
pub(crate) const STATE: &str = "/run/adit-state";

/// Waits until `done` is true; panics with `what` otherwise.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network namespace.
pub(crate) struct Space(Netns);

impl Space {
    pub(crate) fn new() -> Self {
        let space = Self(Netns::new_anonymous().unwrap());
        space.run("ip link set lo up");
        space
    }

    /// That of the calling thread.
    #[allow(dead_code, reason = "only the tests with virtual machines need it")]
    pub(crate) fn current() -> Self {
        Self(Netns::current().unwrap())
    }

    /// A path by which other programs find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_fd().as_raw_fd())
    }

    /// A command (words between spaces) in the namespace, with a time limit.
    pub(crate) fn command(&self, line: &str) -> Command {
        let net = format!("--net={}", self.path());
        command(["nsenter", net.as_str()].into_iter().chain(line.split_whitespace()))
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{line}: {}\n{errors}", output.status);
        text(&output.stdout)
    }

    /// Whether a command succeeds.
    pub(crate) fn succeeds(&self, line: &str) -> bool {
        self.command(line).output().unwrap().status.success()
    }

    /// Whether all echoes of ping(8) with these words come back.
    pub(crate) fn pings(&self, words: &str) -> bool {
        let output = self.command(&format!("ping -n {words}")).output().unwrap();
        text(&output.stdout).contains(" 0% packet loss")
    }

    /// Links, addresses, routes and rules, without what the kernel makes itself at a time of its own.
    pub(crate) fn state(&self) -> String {
        let lines = [
            "ip -o link",
            "ip -o addr",
            "ip route show table all",
            "ip -6 route show table all",
            "ip rule",
            "ip -6 rule",
        ]
        .map(|line| self.run(line));
        let is_ours = |line: &&str| !line.contains("fe80::") && !line.contains("ff00::/8");
        // Of a link its name: whether it has a carrier is known a moment later, by routes as well.
        let short = |line: &str| line.split(": <").next().unwrap().replace(" linkdown", "");
        let lines = lines.iter().flat_map(|text| text.lines()).filter(is_ours).map(short);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Does something there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.run(work).unwrap()
    }

    /// Whether there is a link of this name.
    pub(crate) fn has_link(&self, name: &str) -> bool {
        self.succeeds(&format!("ip link show dev {name}"))
    }
}

/// A program that runs until it is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills it as SIGKILL does, and waits for its end.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two ends and the files of their tunnels.
pub(crate) struct World {
    pub(crate) a: Space,
    pub(crate) b: Space,
    pub(crate) folder: PathBuf,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl World {
    pub(crate) fn new() -> Self {
        enter();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("adit-tunnel-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let world = Self { a: Space::new(), b: Space::new(), folder };
        world.a.run(&format!("ip link add ua type veth peer name ub netns {}", world.b.path()));
        for (space, link, number) in [(&world.a, "ua", 1), (&world.b, "ub", 2)] {
            space.run(&format!("ip addr add 192.0.2.{number}/24 dev {link}"));
            space.run(&format!("ip addr add 2001:db8::{number}/64 dev {link} nodad"));
            space.run(&format!("ip link set {link} up"));
        }
        // The kernel adds an address of IPv6 to its tables at a time of its own.
        for (space, number) in [(&world.a, 1), (&world.b, 2)] {
            let is_there =
                || space.run("ip -6 route show table local").contains(&format!("::{number} dev u"));
            wait_for("its address is there", is_there);
        }
        world
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::io::Write;
        let path = self.folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    /// Starts `adit tunnel up` with further words, and waits until it is up.
    pub(crate) fn up(&self, space: &Space, file: &Path, words: &str) -> Running {
        let path = space.path();
        let words = words.split_whitespace();
        let mut child = bare(ADIT)
            .args(["-v", "-n", &path, "tunnel", "up"])
            .arg(file)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = Running(child);
        let mut told = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {told}")).unwrap();
            if line == "up" {
                break;
            }
            told.push_str(&format!("{line}\n"));
        }
        // Its standard error is read from here on, so that it never waits for us; a test that fails shows it.
        #[expect(clippy::print_stdout, reason = "what a failure needs to be understood")]
        let show = |line| println!("{line}");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(show));
        running
    }

    /// Starts `adit tunnel up` with further words, and waits until it is up. Its standard error goes to a file.
    pub(crate) fn up_telling(&self, space: &Space, file: &Path, words: &str) -> (Running, PathBuf) {
        let told = file.with_extension("told");
        let into = std::fs::File::create(&told).unwrap();
        let mut command = bare(ADIT);
        command.env("STATE_DIRECTORY", STATE);
        command.args(["-n", &space.path(), "tunnel", "up"]).arg(file);
        command.args(words.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut running = Running(command.stderr(into).spawn().unwrap());
        wait_for("it is up", || {
            let ended = running.0.try_wait().unwrap();
            let text = std::fs::read_to_string(&told).unwrap();
            assert!(ended.is_none(), "it ended: {text}");
            text.lines().any(|line| line == "up")
        });
        (running, told)
    }

    /// Two files: `ta.conf`, whose peer is `tb.conf` at this endpoint. Further lines for each end's
    /// [Interface] and [Peer].
    pub(crate) fn pair(&self, endpoint: &str, more: [(&str, &str); 2]) -> (PathBuf, PathBuf) {
        let (ka, kb) = (Keys::new(), Keys::new());
        let [(ia, pa), (ib, pb)] = more;
        let a = format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.1/24, fd00:9::1/64\n\
             ListenPort = 51820\n{ia}\n[Peer]\nPublicKey = {}\n\
             AllowedIPs = 10.9.0.2/32, fd00:9::2/128\nEndpoint = {endpoint}\n{pa}\n",
            ka.private, kb.public
        );
        let b = format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.2/24, fd00:9::2/64\n\
             ListenPort = 51820\n{ib}\n[Peer]\nPublicKey = {}\n\
             AllowedIPs = 10.9.0.1/32, fd00:9::1/128\n{pb}\n",
            kb.private, ka.public
        );
        (self.write("ta.conf", &a), self.write("tb.conf", &b))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Those in the background, should a test have failed; the folder is of this test alone.
        for entry in std::fs::read_dir("/run/adit").into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "lock") {
                let pid = std::fs::read_to_string(entry.path()).unwrap_or_default();
                // Others may have the number by now.
                let program = std::fs::read_link(format!("/proc/{}/exe", pid.trim()));
                if program.is_ok_and(|path| path == Path::new(ADIT)) {
                    let _ = Command::new("kill").args(["-9", pid.trim()]).status();
                }
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A private key and its public one, made by adit itself.
pub(crate) struct Keys {
    pub(crate) private: String,
    pub(crate) public: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        use std::io::Write;
        let private = crate::support::adit("tunnel genkey").trim().to_owned();
        let mut child = command([ADIT, "tunnel", "pubkey"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(private.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        Self { private, public: text(&output.stdout).trim().to_owned() }
    }
}

/// Pings until the first peer of a tunnel has had so many further handshakes.
pub(crate) fn renews(space: &Space, tunnel: &str, to: &str, count: usize) {
    let (mut seen, mut last) = (0, of_peer(tunnel, "handshake_age_s"));
    wait_for("the keys are renewed", || {
        // Sessions are short here: a slow machine may lose a packet between two of them.
        space.succeeds(&format!("ping -n -c 1 -W 1 {to}"));
        let age = of_peer(tunnel, "handshake_age_s");
        seen += usize::from(age < last);
        last = age;
        seen >= count
    });
}

/// What `adit tunnel show -j` says of one tunnel.
pub(crate) fn show(name: &str) -> Value {
    crate::support::adit_json(&format!("tunnel show {name}"))[0].clone()
}

/// A number of the first peer of a tunnel.
pub(crate) fn of_peer(name: &str, field: &str) -> f64 {
    show(name)["peers"][0][field].as_f64().unwrap_or(f64::NAN)
}

/// When the last session with the first peer of a tunnel was made.
pub(crate) fn session_made(name: &str) -> Instant {
    let age = Duration::from_secs_f64(of_peer(name, "handshake_age_s"));
    Instant::now().checked_sub(age).unwrap()
}

/// Reports that a test is skipped for want of this peer.
///
/// # Panics
/// If `ADIT_REQUIRE` wants the peers of the tests.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn skipped(missing: &str) {
    let required =
        std::env::var("ADIT_REQUIRE").is_ok_and(|what| what.split(',').any(|word| word == "peers"));
    assert!(!required, "not there: {missing}");
    println!("skipped: not there: {missing}");
}

/// The library that gives programs another time.
pub(crate) fn faketime() -> Option<String> {
    let found = crate::support::run("find /usr/lib -name libfaketimeMT.so.1");
    let library = found.lines().next().map(str::to_owned);
    if library.is_none() {
        skipped("Debian's package faketime");
    }
    library
}
