//! Other people's programs on the other side of `adit capture`: Wireshark's tshark, which runs it as
//! an extcap program, and scapy.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

#[expect(dead_code, reason = "the other test file uses the rest")]
mod capture_support;

use capture_support::{Capture, adit, answers, ip, output, run, world};
use std::process::{Command, Stdio};

#[test]
fn tshark_captures_through_the_extcap_program() {
    world(|directory| {
        let home = |mut command: Command| {
            command.env("HOME", directory).env("XDG_CONFIG_HOME", directory.join(".config"));
            command
        };
        let installed = output(&mut home(adit("capture --install-extcap")));
        assert!(installed.status.success(), "{installed:?}");
        ip("tuntap add dev tun0 mode tun");
        ip("address add 192.0.2.1/24 dev tun0");
        ip("link set tun0 up");
        let mut list = home(Command::new("tshark"));
        let list = output(list.arg("-D"));
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        for name in ["adit:tun0 (adit: tun device)", "adit:+tun (adit: create a TUN device)"] {
            assert!(list.contains(name), "no {name} in {list}");
        }
        let file = directory.join("x.pcapng");
        let mut tshark = home(Command::new("tshark"));
        tshark.args(["-i", "adit:tun0", "-f", "icmp", "-c", "5", "-a", "duration:50"]);
        tshark.args(["-o", "extcap.adit_tun0.reply:true"]).arg("-w").arg(&file);
        let done = std::sync::atomic::AtomicBool::new(false);
        let tshark = std::thread::scope(|scope| {
            let pings = scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    answers("192.0.2.77");
                }
            });
            let result = output(&mut tshark);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            pings.join().unwrap();
            result
        });
        assert!(tshark.status.success(), "{tshark:?}");
        assert_eq!(capture_support::sound_packets(&file), 5, "{tshark:?}");
    });
}

const SCAPY: &str = r#"
import subprocess, sys
from scapy.all import ARP, Ether, ICMP, IP, conf
from scapy.layers.tuntap import TunTapInterface
conf.verb = 0
tap = TunTapInterface("scapy0", mode_tun=False, strip_packet_info=True)
subprocess.check_call("ip link set scapy0 up master br0", shell=True)
me = "02:00:00:00:00:05"
def ask(packet):
    return tap.sr1(packet, timeout=50, verbose=0)
arp = ask(Ether(src=me, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=me, psrc="192.0.2.5", pdst="192.0.2.77"))
assert arp is not None and arp[ARP].op == 2 and arp[ARP].psrc == "192.0.2.77", arp
echo = ask(Ether(src=me, dst=arp[ARP].hwsrc) / IP(src="192.0.2.5", dst="192.0.2.77") / ICMP(id=7, seq=3) / b"hello")
assert echo is not None and echo[ICMP].type == 0 and echo[ICMP].id == 7 and bytes(echo[ICMP].payload)[:5] == b"hello", echo
checksum = echo[ICMP].chksum
del echo[ICMP].chksum
assert Ether(bytes(echo))[ICMP].chksum == checksum
print("answered", echo[IP].src)
"#;

#[test]
fn scapy_exchanges_packets_over_a_bridge() {
    world(|_| {
        ip("link add br0 type bridge");
        ip("link set br0 up");
        let mut command = adit("capture tap0 --create --mode tap --addr 192.0.2.1/24 --reply");
        let capture = Capture::start(command.stdout(Stdio::piped()));
        ip("link set tap0 master br0");
        let scapy = output(Command::new("/usr/bin/python3").args(["-c", SCAPY]));
        assert!(scapy.status.success(), "{}", String::from_utf8_lossy(&scapy.stderr));
        assert!(String::from_utf8_lossy(&scapy.stdout).contains("answered 192.0.2.77"));
        let (text, _) = capture.stop();
        assert!(text.contains("who has 192.0.2.77? tell 192.0.2.5"), "{text}");
        assert!(
            text.contains("< ICMP   192.0.2.77 > 192.0.2.5  echo reply, id 7, seq 3"),
            "{text}"
        );
        assert!(run("ip", &["-o", "link"]).contains("br0"));
    });
}
