//! What the tests against the real kernel share.
//!
//! They need a user namespace of their own: `unshare -Urnm --` before the test binary.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// How long a command may take: its tests fail then, they do not hang.
const COMMAND_TIME_MAX: &str = "120";

/// Moves the calling thread into a network namespace of its own, with a mount namespace in which
/// `/sys` shows that network and `/run` is empty, so that `ip netns` affects no other test.
pub(crate) fn enter() {
    adit_device::Netns::enter_new()
        .expect("a network namespace: run the tests under `unshare -Urnm --`");
    #[expect(deprecated, reason = "the new name is unsafe for flags that are not used here")]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS).expect("a mount namespace");
    // Without this, where `/` is shared and no `unshare -m` came before, the mounts would be the
    // whole machine's.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private mounts");
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).expect("mount /sys");
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).expect("mount /run");
}

/// Runs a command line (words between spaces, no quotes) and gives its standard output.
///
/// # Panics
/// If it fails or takes too long.
pub(crate) fn run(line: &str) -> String {
    run_words(line.split_whitespace())
}

/// Runs a command of these words and gives its standard output.
///
/// # Panics
/// If it fails or takes too long.
pub(crate) fn run_words(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let mut command = Command::new("timeout");
    command.arg(COMMAND_TIME_MAX).args(words).stdin(Stdio::null());
    let output = command.output().expect("run timeout(1)");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that prints JSON and gives it parsed; no output is an empty list.
///
/// # Panics
/// If it fails, takes too long or prints something else.
pub(crate) fn json(line: &str) -> serde_json::Value {
    let text = run(line);
    if text.trim().is_empty() {
        return serde_json::Value::Array(Vec::new());
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}\n{text}"))
}

/// A TUN or TAP device that a Python program holds, as some other program would.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Holder {
    /// Opens `queues` queues of the device `name` with these `IFF_*` flags and, if given, sets
    /// owner and group.
    ///
    /// # Panics
    /// If it cannot.
    pub(crate) fn open(name: &str, flags: u16, queues: usize, ids: Option<(u32, u32)>) -> Self {
        const PROGRAM: &str = "
import fcntl, os, struct, sys
name, flags, queues = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fds = []
for _ in range(queues):
    fd = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', name.encode(), flags))
    fds.append(fd)
if len(sys.argv) > 4:
    fcntl.ioctl(fds[0], 0x400454cc, int(sys.argv[4]))
    fcntl.ioctl(fds[0], 0x400454ce, int(sys.argv[5]))
print('ready', flush=True)
sys.stdin.read()
";
        let mut command = Command::new("timeout");
        command.args([COMMAND_TIME_MAX, "python3", "-c", PROGRAM, name]);
        command.args([flags.to_string(), queues.to_string()]);
        if let Some((owner, group)) = ids {
            command.args([owner.to_string(), group.to_string()]);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run python3");
        let stdin = child.stdin.take();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read from python3");
        assert_eq!(line, "ready\n", "the holder of {name} failed");
        Self { child, stdin }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The end of its input ends it, and with it the device.
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.flush();
        }
        let _ = self.child.wait();
    }
}
