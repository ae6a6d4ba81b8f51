//! `adit capture` in network namespaces: what it answers, shows and records, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

mod capture_support;

use capture_support::{Capture, adit, answers, eventually, ip, output, run, sound_packets, world};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BOTH: &str = "--create --addr 192.0.2.1/24 --addr fd00::1/64 --reply";

/// The number before `word` in the closing summary.
fn number(summary: &str, word: &str) -> u64 {
    let before = summary.split(word).next().unwrap();
    let digits = before.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("no number before {word:?} in {summary:?}"))
}

/// IPv6 addresses are usable only after duplicate address detection.
fn wait_for_addresses(device: &str) {
    eventually("duplicate address detection", || {
        run("ip", &["address", "show", "dev", device, "tentative"]).trim().is_empty()
    });
}

#[test]
fn ping_is_answered_on_tun_and_tap_and_wireshark_reads_it() {
    for mode in ["tun", "tap"] {
        world(move |directory| {
            let file = directory.join("x.pcapng");
            let words = format!("capture {mode}0 {BOTH} --mode {mode} -w");
            let capture = Capture::start(adit(&words).arg(&file));
            assert!(capture.introduction.contains("answering for 192.0.2.0/24, fd00::/64"));
            wait_for_addresses(&format!("{mode}0"));
            assert!(answers("192.0.2.77"), "{mode} IPv4");
            assert!(answers("fd00::77"), "{mode} IPv6");
            assert!(answers("192.0.2.1"), "its own address is the kernel's");
            assert!(!answers("192.0.2.255"), "a broadcast address is nobody's");
            let (_, stderr) = capture.stop();
            let captured = number(&stderr, "packets captured");
            assert_eq!(sound_packets(&file), captured, "{stderr}");
            assert!(number(&stderr, "answered") >= 6, "{stderr}");
            assert_eq!(number(&stderr, "dropped by the kernel"), 0, "{stderr}");
            let info = run("capinfos", &["-M", file.to_str().unwrap()]);
            assert!(info.contains(&format!("Name = {mode}0")), "{info}");
            let links = run("ip", &["-o", "link"]);
            assert!(!links.contains(mode), "the device goes with the capture: {links}");
        });
    }
}

#[test]
fn lines_trees_bytes_and_json() {
    world(|_| {
        let words = format!("capture tun0 {BOTH} --count 2 -v -x icmp");
        let capture = Capture::start(adit(&words).stdout(Stdio::piped()));
        assert!(answers("192.0.2.77"));
        let (output, stderr) = capture.finish();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("2 packets captured"), "{stderr}");
        assert!(number(&stderr, "filtered out") <= 20, "{stderr}");
        for part in [
            " > ICMP   192.0.2.1 > 192.0.2.77  echo request, id ",
            " < ICMP ",
            "\n    IPv4 ",
            "0x0000:",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        let words = format!("capture tun1 {BOTH} --count 1 -j icmp");
        let capture =
            Capture::start(adit(&words.replace("192.0.2", "198.51.100")).stdout(Stdio::piped()));
        assert!(answers("198.51.100.77"));
        let (output, _) = capture.finish();
        let packet: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(packet["icmp"]["name"], "echo request");
        assert_eq!(packet["ip"]["destination"], "198.51.100.77");
    });
}

/// Out of tap0: a VLAN tag, protocols and headers that are cut off or unknown.
const ODDITIES: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('tap0', 0))
to = bytes.fromhex('ffffffffffff' '020000000001')
ip4 = bytes.fromhex('4500001c00010000400100000a0000010a000002')
for rest in [
    '81002005' '0806' '0001080006040001' '020000000001' 'c0000201' '000000000000' 'c000024d',
    '88b5' '00', '0800' '45', '0806' '0001', '86dd' '6000000000083aff',
    '0800' '4500001c00012000400100000a0000010a000002' '0800f7ff00000000',
    '0800' '4600002000010000401100000a0000010a000002' '00000000' '0001000200080000',
]:
    s.send(to + bytes.fromhex(rest))
";

#[test]
fn json_output_is_valid_by_its_schema() {
    world(|directory| {
        let words = format!("capture tap0 {BOTH} --mode tap -j");
        let capture = Capture::start(adit(&words).stdout(Stdio::piped()));
        wait_for_addresses("tap0");
        assert!(answers("192.0.2.77") && answers("fd00::77"));
        let udp = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
        udp.send_to(b"hello", "192.0.2.77:53").unwrap();
        let port = "192.0.2.77:80".parse().unwrap();
        std::net::TcpStream::connect_timeout(&port, Duration::from_secs(5)).unwrap_err();
        run("/usr/bin/python3", &["-c", ODDITIES]);
        let (text, stderr) = capture.stop();
        for part in ["arp", "icmp", "udp", "tcp", "vlans", "fragment", "malformed"] {
            assert!(text.contains(&format!("\"{part}\"")), "no {part} in {text}");
        }
        assert!(text.lines().count() > 20, "{text} {stderr}");

        let lines = directory.join("lines");
        let with = |line| format!("capture\t{line}\n");
        std::fs::write(&lines, text.lines().map(with).collect::<String>()).unwrap();
        let mut python = Command::new("timeout");
        python.args([
            "120",
            "python3",
            "-c",
            include_str!("validate.py"),
            env!("CARGO_BIN_EXE_adit"),
        ]);
        let python = python.stdin(std::fs::File::open(&lines).unwrap()).output().unwrap();
        assert!(python.status.success(), "{python:?}");
    });
}

#[test]
fn an_interface_that_others_use_is_captured_by_a_packet_socket() {
    world(|directory| {
        let file = directory.join("x.pcapng");
        let list = String::from_utf8(output(&mut adit("capture -D")).stdout).unwrap();
        assert!(list.contains("lo    Ethernet  up"), "{list}");
        let mut command = adit("capture -i lo -j -w");
        let capture = Capture::start(command.arg(&file).arg("udp port 7").stdout(Stdio::piped()));
        assert!(capture.introduction.contains("through a packet socket"));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in [7, 9, 7] {
            socket.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        }
        // What is recorded is there without an end.
        eventually("the file has both packets", || sound_packets(&file) == 2);
        let (text, stderr) = capture.stop();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            stderr.contains("2 packets captured, others filtered out in the kernel"),
            "{stderr}"
        );
    });
}

/// Sends one ARP request with the tag of VLAN 5, priority 1, out of va.
const TAGGED: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('va', 0))
arp = bytes.fromhex('0806' '0001080006040001' '020000000001' 'c0000201' '000000000000' 'c000024d')
s.send(bytes.fromhex('ffffffffffff' '020000000001' '81002005') + arp)
";

#[test]
fn a_vlan_tag_is_where_the_sender_put_it() {
    world(|directory| {
        ip("link add va type veth peer name vb");
        ip("link set va up");
        ip("link set vb up");
        let file = directory.join("x.pcapng");
        let mut command = adit("capture vb --count 1 -w");
        let capture = Capture::start(command.arg(&file).args(["vlan 5", "and arp"]));
        run("/usr/bin/python3", &["-c", TAGGED]);
        let (output, stderr) = capture.finish();
        assert!(output.status.success(), "{stderr}");
        let fields = ["-T", "fields", "-e", "vlan.id", "-e", "vlan.priority"];
        let more = ["-e", "arp.dst.proto_ipv4", "-e", "frame.packet_flags_direction"];
        let file = file.to_str().unwrap();
        let text = run("tshark", &[["-r", file].as_slice(), &fields, &more].concat());
        assert_eq!(text.trim(), "5\t1\t192.0.2.77\t0x00000001", "{stderr}");
    });
}

#[test]
fn a_device_that_another_program_holds_is_said_and_captured_from() {
    world(|_| {
        let holder = Capture::start(adit(&format!("capture tun0 {BOTH}")).stdout(Stdio::null()));
        let mut second = adit("capture tun0 --count 2 icmp");
        let second = Capture::start(second.stdout(Stdio::piped()));
        let said = &second.introduction;
        assert!(said.contains("process ") && said.contains("(adit)"), "{said}");
        assert!(said.contains("through a packet socket"), "{said}");
        assert!(answers("192.0.2.77"));
        let (output, _) = second.finish();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("> ICMP") && text.contains("< ICMP"), "{text}");
        let refused = capture_support::output(&mut adit("capture tun0 --reply"));
        assert_eq!(refused.status.code(), Some(2));
        holder.stop();
        // Of a multi-queue device, which would take another holder, no packet is taken away.
        let python = Command::new("/usr/bin/python3")
            .args(["-c", MULTI_QUEUE])
            .stdout(Stdio::piped())
            .spawn();
        let mut python = Killed(python.unwrap());
        eventually("the device is there", || run("ip", &["-o", "link"]).contains("mq0"));
        let mut command = adit("capture mq0 --for 100ms");
        let third = Capture::start(command.stdout(Stdio::null()));
        let said = &third.introduction;
        assert!(said.contains("mq0 is in use by process ") && said.contains("python"), "{said}");
        third.finish();
        python.0.kill().unwrap();
    });
}

/// Makes and holds a multi-queue TUN device.
const MULTI_QUEUE: &str = "
import fcntl, struct, time
tun = open('/dev/net/tun', 'r+b', buffering=0)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'mq0', 0x1101))
time.sleep(60)
";

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_persistent_device_is_attached_to() {
    world(|_| {
        ip("tuntap add dev tun0 mode tun");
        ip("address add 192.0.2.1/24 dev tun0");
        ip("link set tun0 up");
        let capture = Capture::start(adit("capture tun0 --reply").stdout(Stdio::null()));
        assert!(answers("192.0.2.77"));
        capture.stop();
        assert!(run("ip", &["-o", "link"]).contains("tun0"), "it stays");
    });
}

/// With the reason that holds: it is there, in another namespace.
#[test]
fn a_device_that_is_moved_is_not_called_deleted() {
    world(|_| {
        ip("link add va type veth peer name vb");
        let capture = Capture::start(adit("capture va").stdout(Stdio::null()));
        let mut sleeper =
            Killed(Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap());
        let netns = |task: &str| std::fs::read_link(format!("/proc/{task}/ns/net")).unwrap();
        // The namespace of this world is that of the thread.
        let (own, pid) = (netns("thread-self"), sleeper.0.id());
        eventually("it has a namespace", || netns(&pid.to_string()) != own);
        ip(&format!("link set va netns {pid}"));
        let (output, stderr) = capture.finish();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(
            stderr.contains("the interface was moved to another network namespace"),
            "{stderr}"
        );
        sleeper.0.kill().unwrap();
    });
}

#[test]
fn what_registers_with_wireshark_is_told_before() {
    world(|folder| {
        let home = |words: &str| {
            let mut command = adit(words);
            output(command.env("HOME", folder).env("XDG_CONFIG_HOME", folder.join("config")))
        };
        let planned = String::from_utf8(home("capture --install-extcap --dry-run").stdout).unwrap();
        let path =
            planned.trim().strip_prefix("link ").unwrap().split(" to ").next().unwrap().to_owned();
        assert!(!Path::new(&path).exists(), "{planned}");
        assert_eq!(
            String::from_utf8(home("capture --install-extcap").stdout).unwrap().trim(),
            path
        );
        assert!(Path::new(&path).is_symlink());
    });
}

#[test]
fn a_deleted_device_ends_the_capture_once() {
    world(|_| {
        let capture = Capture::start(adit("capture tun0 --create").stdout(Stdio::null()));
        ip("link del tun0");
        let (output, stderr) = capture.finish();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains("the interface was deleted"), "{stderr}");
        ip("link add va type veth peer name vb");
        let capture = Capture::start(adit("capture va").stdout(Stdio::null()));
        ip("link del va");
        let (output, stderr) = capture.finish();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
    });
}

/// Sends `count` datagrams, half of them while the capture sleeps; how many the kernel took.
fn send_to_a_sleeper(capture: &Capture, address: &str, count: usize) -> u64 {
    use rustix::process::Signal;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let send = |count| {
        // Where nobody listens, the kernel's port unreachable comes back as an error now and then,
        // in place of the sending.
        let sent = (0..count).filter(|_| socket.send_to(&[0; 64], address).is_ok()).count();
        u64::try_from(sent).unwrap()
    };
    capture.signal(Signal::STOP);
    let asleep = send(count / 2);
    capture.signal(Signal::CONT);
    asleep + send(count / 2)
}

#[test]
fn the_count_of_what_was_sent_is_that_of_what_was_captured_and_dropped() {
    world(|directory| {
        let file = directory.join("x.pcapng");
        let capture = Capture::start(adit("capture lo -w").arg(&file).arg("udp port 7"));
        let sent = send_to_a_sleeper(&capture, "127.0.0.1:7", 200_000);
        let (_, stderr) = capture.stop();
        let captured = number(&stderr, "packets captured");
        let dropped = number(&stderr, "dropped by the kernel");
        assert!(dropped > 0, "{stderr}");
        assert_eq!(captured + dropped, sent, "{stderr}");
        assert_eq!(sound_packets(&file), captured);
        // The packets that were lost are in the file as a count before the next one.
        let file = file.to_str().unwrap();
        let counts = run("tshark", &["-r", file, "-T", "fields", "-e", "frame.drop_count"]);
        let counted: u64 = counts.lines().filter_map(|count| count.parse::<u64>().ok()).sum();
        assert_eq!(counted, dropped);
    });
    world(|_| {
        let mut command = adit("capture tun0 --create --addr 192.0.2.1/24 udp port 7");
        let capture = Capture::start(command.stdout(Stdio::null()));
        let sent = send_to_a_sleeper(&capture, "192.0.2.77:7", 4_000);
        let (_, stderr) = capture.stop();
        let dropped = number(&stderr, "dropped by the kernel");
        let total = number(&stderr, "packets captured") + dropped;
        assert!(dropped > 0, "{stderr}");
        // IPv6 sends a few packets of its own, which may be among the dropped ones.
        assert!((sent..sent + 20).contains(&total), "sent {sent}: {stderr}");
    });
}

#[test]
fn a_file_ends_after_its_time() {
    world(|directory| {
        let mut command = adit("capture lo --rotate-time 300ms -w");
        let capture = Capture::start(command.arg(directory.join("x")).arg("udp port 7"));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        eventually("a third file", || {
            let _ = socket.send_to(&[0; 64], "127.0.0.1:7");
            std::fs::read_dir(directory).unwrap().count() >= 3
        });
        capture.stop();
        for entry in std::fs::read_dir(directory).unwrap() {
            assert!(sound_packets(&entry.unwrap().path()) > 0);
        }
    });
}

#[test]
fn super_packets_are_shown_as_what_they_are() {
    world(|_| {
        // With the loopback's own MTU of 64 KiB, one long packet need not be a super-packet.
        run("ip", &["link", "set", "lo", "mtu", "1500"]);
        let mut command = adit("capture lo -j tcp and greater 20000");
        let capture = Capture::start(command.stdout(Stdio::piped()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let reader =
            std::thread::spawn(move || std::io::copy(&mut receiver, &mut std::io::sink()).unwrap());
        std::io::Write::write_all(&mut sender, &[7; 4 << 20]).unwrap();
        drop(sender);
        assert_eq!(reader.join().unwrap(), 4 << 20);
        let (text, stderr) = capture.stop();
        let many =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let many: Vec<_> = many.filter(|packet| packet.get("gso").is_some()).collect();
        assert!(!many.is_empty(), "{stderr} {}", text.lines().count());
        for packet in many {
            let size = packet["gso"]["size"].as_u64().unwrap();
            let segments = packet["gso"]["segments"].as_u64().unwrap();
            let payload = packet["tcp"]["payload_length"].as_u64().unwrap();
            assert_eq!(segments, payload.div_ceil(size), "{packet}");
        }
    });
}

#[test]
fn files_rotate_and_the_oldest_go() {
    world(|directory| {
        let file = directory.join("x.pcapng");
        let mut command = adit("capture lo --rotate-size 10kB --files 3 -w");
        let capture = Capture::start(command.arg(&file).arg("udp port 7"));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..200 {
            let _ = socket.send_to(&[0; 1000], "127.0.0.1:7");
        }
        capture.stop();
        let mut names: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in &names {
            assert!(sound_packets(name) > 0);
            assert!(std::fs::metadata(name).unwrap().len() <= 10_000 + 200);
        }
        let last = names[2].file_name().unwrap().to_str().unwrap();
        assert!(last.starts_with("x_000") && last.ends_with(".pcapng"), "{last}");
    });
}

#[test]
fn a_full_disk_ends_the_recording_at_a_whole_packet() {
    world(|directory| {
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "adit-test", directory.to_str().unwrap()]);
        let _unmount = Unmount(directory);
        let file = directory.join("x.pcapng");
        let capture = Capture::start(adit("capture lo -w").arg(&file).arg("udp port 7"));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3_000 {
            let _ = socket.send_to(&[0; 1000], "127.0.0.1:7");
        }
        let (output, stderr) = capture.finish();
        assert_eq!(output.status.code(), Some(7), "{stderr}");
        assert!(stderr.contains("ends with its last whole packet"), "{stderr}");
        assert!(stderr.contains("ENOSPC"), "{stderr}");
        let captured = number(&stderr, "packets captured");
        let kept = sound_packets(&file);
        assert!(kept > 500);
        assert_eq!(kept + number(&stderr, "more are lost"), captured, "{stderr}");
    });
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    world(|directory| {
        // A reader that leaves while no packet comes.
        let mut command = adit("capture lo -w -");
        let capture = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = capture.spawn().unwrap();
        drop(child.stdout.take());
        eventually("the program ends", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(141));

        let fifo = directory.join("fifo");
        run("mkfifo", &[fifo.to_str().unwrap()]);
        let reader = Command::new("head").arg("-c100").arg(&fifo).stdout(Stdio::null()).spawn();
        let capture = Capture::start(adit("capture lo -w").arg(&fifo));
        reader.unwrap().wait().unwrap();
        let (output, stderr) = capture.finish();
        assert_eq!(output.status.code(), Some(141), "{stderr}");
        assert!(!stderr.contains("error"), "{stderr}");
    });
}

#[test]
fn a_reader_that_sleeps_does_not_stop_the_answers() {
    world(|_| {
        let words = format!("capture tun0 {BOTH} -w -");
        let capture = Capture::start(adit(&words).stdout(Stdio::piped()));
        // 64 KiB of pipe and 4 MiB of backlog, and nobody reads.
        run("ping", &["-q", "-f", "-c4000", "-s1400", "-W1", "192.0.2.77"]);
        assert!(answers("192.0.2.77"));
        capture.interrupt();
        std::thread::sleep(Duration::from_millis(300));
        let (output, stderr) = capture.finish();
        assert!(stderr.contains("not recorded because the reader is too slow"), "{stderr}");
        let captured = number(&stderr, "packets captured");
        assert!(captured >= 7000, "{stderr}");
        assert!(output.stdout.len() > 4 << 20);
    });
}

#[test]
fn it_ends_after_a_time() {
    world(|_| {
        let start = Instant::now();
        let output = output(&mut adit("capture lo --for 300ms"));
        assert!(output.status.success());
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert!(String::from_utf8_lossy(&output.stderr).contains("0 packets captured"));
    });
}

#[test]
fn errors_are_reported_before_any_change() {
    world(|_| {
        let cases = [
            ("capture tun0 --create icmp and (", 2, "syntax error"),
            ("capture nosuch", 4, "nosuch"),
            ("capture a/b", 2, "'/'"),
            ("capture tun0 --create --reply", 2, "no address"),
            ("capture lo --reply", 2, "--create"),
            ("capture lo --files 3 -w x", 2, "--rotate-size"),
            ("capture lo -w - --rotate-size 10MB", 2, "cannot rotate"),
            ("capture lo -w /nowhere/x", 4, "cannot open '/nowhere/x'"),
            ("capture lo --for 10x", 2, "unknown unit `x`"),
        ];
        for (words, code, part) in cases {
            let output = output(&mut adit(words));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{words}: {stderr}");
            assert!(stderr.contains(part), "{words}: {stderr}");
        }
        let output = output(&mut adit(&format!("capture tun0 {BOTH} --dry-run")));
        assert!(String::from_utf8_lossy(&output.stdout).contains("create tun device tun0"));
        assert!(!run("ip", &["-o", "link"]).contains("tun0"));
    });
}
