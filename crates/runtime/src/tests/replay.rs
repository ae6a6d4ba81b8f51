//! Recordings.

use crate::tests::support::{Folder, Host, Loop, PATIENCE, enter};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A pcap file of frames at these milliseconds, each of its own length.
fn pcap(times: &[u32]) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    for word in [65_535_u32, 1] {
        file.extend(word.to_le_bytes());
    }
    for (&time, len) in times.iter().zip(100..) {
        for word in [1_700_000_000 + time / 1000, time % 1000 * 1000, len, len] {
            file.extend(word.to_le_bytes());
        }
        let mut frame = vec![0xff; usize::try_from(len).unwrap()];
        frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
        file.extend(frame);
    }
    file
}

/// The lengths of frames that arrive at a TAP, and when, in milliseconds after `since`.
fn arrivals(
    socket: &adit_device::PacketSocket,
    since: SystemTime,
    count: usize,
) -> Vec<(usize, u128)> {
    let since = since.duration_since(UNIX_EPOCH).unwrap();
    let mut buf = vec![0; adit_device::PACKET_SOCKET_LEN_MAX];
    let mut seen = Vec::new();
    let start = Instant::now();
    while seen.len() < count {
        assert!(start.elapsed() < PATIENCE, "{seen:?}");
        match socket.recv(&mut buf) {
            Ok(packet) if buf[12..14] == [0x88, 0xb5] => {
                let time = packet.time.unwrap().saturating_sub(since);
                seen.push((packet.len, time.as_millis()));
            }
            Ok(_) => {}
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
    seen
}

fn tap() -> (Loop, Host, adit_device::PacketSocket) {
    let host = Host::new();
    let running = Loop::start(&[&format!("tap:t0,netns={}", host.path())]);
    host.address("t0", 1);
    let socket = host.run(|| {
        let link = adit_device::Link::find(&"t0".parse().unwrap()).unwrap();
        adit_device::PacketSocket::open(
            link.index().unwrap(),
            &adit_device::PacketSocketOptions::default(),
        )
    });
    (running, host, socket.unwrap())
}

#[test]
fn a_recording_is_played_with_its_timing() {
    enter();
    let folder = Folder::new();
    let path = folder.path("f.pcap");
    std::fs::write(&path, pcap(&[0, 100, 100, 350, 300, 400])).unwrap();
    let (mut running, _host, socket) = tap();
    let start = SystemTime::now();
    running.open(&format!("pcap:{}", path.display()));
    let seen = arrivals(&socket, start, 6);
    for ((len, at), (expected_len, due)) in
        seen.iter().zip([(100, 0), (101, 100), (102, 100), (103, 350), (104, 350), (105, 400)])
    {
        assert_eq!(*len, expected_len);
        // Never early, but for what the clocks of packets and of the loop differ; how late depends on the
        // machine.
        assert!(*at + 2 >= due, "{seen:?}");
    }
    assert_eq!(running.wait_for("gone 1"), "gone 1: the recording is at its end");
    let start = SystemTime::now();
    running.open(&format!("pcap:{},speed=0.5", path.display()));
    let seen = arrivals(&socket, start, 6);
    assert!(seen[5].1 + 2 >= 800, "{seen:?}");
}

/// Packets that are too short take turns of their own, at the beginning and later.
#[test]
fn a_recording_of_many_unusable_packets_is_played_to_its_end() {
    enter();
    let folder = Folder::new();
    let path = folder.path("f.pcap");
    let mut short = Vec::new();
    for _ in 0..5000 {
        for word in [1_700_000_000_u32, 0, 1, 1] {
            short.extend(word.to_le_bytes());
        }
        short.push(0xff);
    }
    let mut file = pcap(&[0]);
    let frame = file.split_off(24);
    for part in [&short, &frame, &short, &frame] {
        file.extend(part);
    }
    std::fs::write(&path, file).unwrap();
    let (mut running, _host, socket) = tap();
    let start = SystemTime::now();
    running.open(&format!("pcap:{}", path.display()));
    assert_eq!(arrivals(&socket, start, 2).len(), 2);
    assert_eq!(running.wait_for("gone 1"), "gone 1: the recording is at its end");
}

#[test]
fn a_recording_begins_again() {
    enter();
    let folder = Folder::new();
    let path = folder.path("f.pcap");
    std::fs::write(&path, pcap(&[0])).unwrap();
    let (mut running, _host, socket) = tap();
    let start = SystemTime::now();
    running.open(&format!("pcap:{},loop", path.display()));
    let seen = arrivals(&socket, start, 50);
    assert!(seen[49].1 + 2 >= 49, "one frame a millisecond at most: {seen:?}");
    // It was a recording when it was opened.
    std::fs::write(&path, "and is none now, whatever it was before").unwrap();
    running.wait_for("gone 1: it is neither a pcap nor a pcapng file");
    for text in ["", "no recording", "\n\r\r\n"] {
        std::fs::write(&path, text).unwrap();
        let spec: crate::port::spec::PortSpec = format!("pcap:{}", path.display()).parse().unwrap();
        assert!(spec.open().is_err());
    }
    let spec: crate::port::spec::PortSpec = "pcap:/dev/zero".parse().unwrap();
    assert!(spec.open().is_err());
}
