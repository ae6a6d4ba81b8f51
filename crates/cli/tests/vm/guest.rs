//! A QEMU guest that runs commands from its serial line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A guest without KVM on a loaded machine is slow; a broken one never answers.
const SOON: Duration = Duration::from_secs(120);

/// What the guest's network card is attached to.
pub(crate) enum Nic<'a> {
    /// A TAP that QEMU makes, with the virtio-net header.
    Tap(&'a str),
    /// A stream socket that listens.
    Stream(&'a Path),
    /// A datagram socket, and the guest's own.
    Dgram { own: &'a Path, peer: &'a Path },
}

impl Nic<'_> {
    fn netdev(&self) -> String {
        match self {
            Self::Tap(name) => {
                format!("tap,id=n0,ifname={name},script=no,downscript=no,vhost=off")
            }
            Self::Stream(peer) => {
                format!("stream,id=n0,server=off,addr.type=unix,addr.path={}", peer.display())
            }
            Self::Dgram { own, peer } => format!(
                "dgram,id=n0,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                own.display(),
                peer.display()
            ),
        }
    }
}

pub(crate) struct Guest {
    qemu: Child,
    console: ChildStdin,
    lines: Receiver<String>,
    commands: u32,
}

impl Guest {
    /// Starts a guest in the namespace of the calling thread; a TAP of it is up when this returns.
    pub(crate) fn start(fixture: &Path, address: &str, nic: &Nic<'_>) -> Self {
        let last = address.rsplit('.').next().unwrap();
        let boot = format!("console=ttyS0 quiet panic=-1 nokaslr adit.address={address}/24");
        // Not KVM: where it is emulated itself, stock kernels do not get far. Not the small machine microvm:
        // on a busy host its kernel cannot measure its clock, and hangs.
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-machine", "q35", "-accel", "tcg", "-cpu", "max"])
            .args(["-m", "256", "-append", &boot, "-netdev", &nic.netdev()])
            .arg("-kernel")
            .arg(fixture.join("vmlinux"))
            .arg("-initrd")
            .arg(fixture.join("initrd.gz"))
            .args(["-device", &format!("virtio-net-pci,netdev=n0,mac=52:54:00:00:00:0{last}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let console = qemu.stdin.take().unwrap();
        let output = BufReader::new(qemu.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        if let Nic::Tap(name) = nic {
            let up = || {
                let mut set = Command::new("ip");
                set.args(["link", "set", name, "up"]).stderr(Stdio::null());
                set.status().unwrap().success()
            };
            wait_for(up);
        }
        Self { qemu, console, lines, commands: 0 }
    }

    pub(crate) fn wait_ready(&mut self) {
        self.read_to("guest-ready");
    }

    /// Runs a line of shell in the guest and returns what it prints.
    pub(crate) fn run(&mut self, line: &str) -> String {
        self.commands += 1;
        let end = format!("guest-did-{}", self.commands);
        writeln!(self.console, "{line}; echo {end}").unwrap();
        self.console.flush().unwrap();
        self.read_to(&end)
    }

    fn read_to(&mut self, end: &str) -> String {
        let (until, mut read) = (Instant::now() + SOON, String::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("{error}: no {end} after {read:?}"));
            if line.ends_with(end) {
                return read;
            }
            read.push_str(&line);
            read.push('\n');
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Waits until something is so.
pub(crate) fn wait_for(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < until, "it did not come to be so");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder of a test's own, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
