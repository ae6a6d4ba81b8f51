//! A virtual machine as passt and gvproxy see it: the network of the target behind a socket of frames.

use crate::support::{bare, text};
use crate::world::{Servers, World, wait_until};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// Moves frames between a TAP device and the socket on standard input: each with its length before it, as
/// QEMU's `-netdev stream` has them, or each a datagram, as vfkit has them.
const RELAY: &str = "import fcntl, os, socket, struct, sys, threading
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH', b'eth0', 0x1002))
s = socket.socket(fileno=0)
stream = sys.argv[1] == 'stream'
def exactly(count):
    b = b''
    while len(b) < count:
        part = s.recv(count - len(b))
        if not part:
            os._exit(0)
        b += part
    return b
def out():
    while True:
        frame = os.read(tap, 70000)
        s.sendall(struct.pack('!I', len(frame)) + frame if stream else frame)
threading.Thread(target=out, daemon=True).start()
while True:
    frame = exactly(struct.unpack('!I', exactly(4))[0]) if stream else s.recv(70000)
    try:
        os.write(tap, frame)
    except OSError:
        pass # It is not up yet.";

/// Starts the machine behind a socket; it has this MAC address and no address yet.
pub(crate) fn start(world: &World, socket: OwnedFd, kind: &str, mac: &str) -> Servers {
    let pid = world.pid();
    let mut command = bare("nsenter");
    command.args(["-t", &pid, "-U", "-n", "--preserve-credentials", "python3", "-c", RELAY, kind]);
    let guest = Servers(command.stdin(Stdio::from(socket)).spawn().unwrap());
    wait_until("the device", || {
        let is_there = world.inside(&["ip", "link", "set", "eth0", "address", mac]);
        { is_there }.stderr(Stdio::null()).status().unwrap().success().then_some(())
    });
    world.run("ip link set eth0 up");
    guest
}

/// What DHCP gives to the machine's device eth0, which has it then: address, gateway, MTU and name server.
pub(crate) fn lease(world: &World) -> String {
    let (script, said) = (world.folder.join("dhcp"), world.folder.join("lease"));
    let lines = format!(
        "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev eth0\nip link set eth0 mtu $mtu\n\
         ip route add default via $router dev eth0\necho $ip/$mask $router mtu=$mtu dns=$dns >{}\n",
        said.display()
    );
    fs::write(&script, lines).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    let client = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "20", "-T", "1"];
    let client = [&client[..], &["-O", "mtu", "-s", script]].concat();
    let output = world.inside(&client).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::read_to_string(said).unwrap().trim_end().to_owned()
}
