//! passt: what libvirt and QEMU 10 rely on, by their command lines.

use crate::guest::{lease, start};
use crate::support::text;
use crate::world::{FAR, Network, OUTSIDE, READ, SERVERS, free_port, read_from, serve, wait_until};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

const MAC: &str = "52:54:00:12:34:56";

#[test]
fn the_command_line_of_libvirt_gives_a_guest_the_hosts_addresses_and_a_way_out() {
    let network = Network::new();
    let world = &network.world;
    let socket = world.folder.join("socket");
    let (tcp, udp) = (free_port(), free_port());
    let line = format!(
        "--one-off --socket {} --mac-addr {MAC} --mtu 1500 --log-file {} --tcp-ports 127.0.0.1/{tcp}:80 \
         --udp-ports {udp}:53",
        socket.display(),
        world.folder.join("log").display()
    );
    assert_eq!(network.call("passt", &line), (Some(0), String::new()));
    // It listens when the caller goes on.
    let guest = start(world, UnixStream::connect(&socket).unwrap().into(), "stream", MAC);
    assert_eq!(lease(world), "192.0.2.1/24 192.0.2.2 mtu=1500 dns=192.0.2.2");
    wait_until("an IPv6 address", || {
        let addresses =
            world.output(&["ip", "-o", "-6", "addr", "show", "dev", "eth0", "scope", "global"]);
        (addresses.contains("2001:db8::") && !addresses.contains("tentative")).then_some(())
    });
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for outside in [IpAddr::V4(FAR), "2001:db8::3".parse().unwrap()] {
        let (port, server) = network.outside(|| serve(outside, bytes.clone()));
        let read = world.output(&["python3", "-c", READ, &outside.to_string(), &port.to_string()]);
        assert!(read.starts_with("1000000 "), "{outside}: {read}");
        server.join().unwrap();
    }
    let _servers = world.python(SERVERS);
    let said = wait_until("an answer", || read_from(SocketAddr::from((Ipv4Addr::LOCALHOST, tcp))));
    assert!(said.starts_with("tcp "), "{said}");
    let client = network.outside(|| UdpSocket::bind((OUTSIDE, 0)).unwrap());
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let answer = wait_until("an answer by UDP", || {
        client.send_to(b"datagram", (Ipv4Addr::new(192, 0, 2, 1), udp)).unwrap();
        let mut answer = [0; 99];
        let (len, _) = client.recv_from(&mut answer).ok()?;
        Some(text(&answer[..len]))
    });
    assert_eq!(answer, "udp datagram");
    // The machine ends, and with it the program and its socket.
    drop(guest);
    network.wait_for_end("passt");
    assert!(!socket.exists());
}

#[test]
fn the_command_line_of_qemu_10_serves_the_socket_that_it_passes() {
    let network = Network::new();
    let world = &network.world;
    let pid_file = world.folder.join("pid");
    for ends_by_signal in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 </dev/null"]).arg(world.folder.join("passt"));
        command.args(["--quiet", "--mtu", "9000", "--pid"]).arg(&pid_file).args(["--fd", "3"]);
        let output =
            command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).output().unwrap();
        // The other end of the socket is in it.
        drop(command);
        let written = text(&output.stdout) + &text(&output.stderr);
        assert_eq!((output.status.code(), written.as_str()), (Some(0), ""));
        let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim_end().parse().unwrap();
        assert!(network.running("passt").contains(&pid.unsigned_abs()));
        let guest = start(world, ours.into(), "stream", MAC);
        assert_eq!(lease(world), "192.0.2.1/24 192.0.2.2 mtu=9000 dns=192.0.2.2");
        let (port, server) = network.outside(|| serve(FAR, b"outside".to_vec()));
        let read = world.output(&["python3", "-c", READ, "198.51.100.2", &port.to_string()]);
        assert!(read.starts_with("7 "), "{read}");
        server.join().unwrap();
        if ends_by_signal {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        } else {
            drop(guest);
        }
        network.wait_for_end("passt");
        wait_until("no device", || (!world.output(&["ip", "link"]).contains("eth0")).then_some(()));
    }
}

#[test]
fn a_socket_that_is_in_use_is_an_error_of_passt() {
    let network = Network::new();
    let socket = network.world.folder.join("socket");
    let _taken = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (status, written) =
        network.call("passt", &format!("--one-off --socket {}", socket.display()));
    assert_eq!(status, Some(1));
    assert!(written.starts_with("passt: ") && written.contains("socket"), "{written}");
    network.wait_for_end("passt");
}
