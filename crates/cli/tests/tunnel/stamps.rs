//! Timestamps of handshakes outlive a restart.

use crate::support::adit_json;
use crate::world::{PATIENCE, STATE, Space, World, of_peer, show, wait_for};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;

/// A socket in a namespace.
fn socket(space: &Space, at: &str) -> UdpSocket {
    let socket = space.within(|| UdpSocket::bind(at)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

fn kept(name: &str) -> PathBuf {
    PathBuf::from(STATE).join(format!("{name}.timestamps"))
}

/// Passes datagrams on between a tunnel and its peer until they are connected; the first initiation.
fn record(relay: &UdpSocket, to: SocketAddr) -> Vec<u8> {
    let (mut first, mut client, start) = (None, None, Instant::now());
    let mut bytes = [0; 2048];
    while !(first.is_some() && kept("tb").exists() && of_peer("ta", "handshake_age_s") >= 0.0) {
        assert!(start.elapsed() < PATIENCE, "they connect");
        let Ok((len, from)) = relay.recv_from(&mut bytes) else { continue };
        let datagram = &bytes[..len];
        if from == to {
            relay.send_to(datagram, client.expect("it wrote first")).unwrap();
            continue;
        }
        client = Some(from);
        if datagram[0] == INITIATION {
            first.get_or_insert_with(|| datagram.to_vec());
        }
        relay.send_to(datagram, to).unwrap();
    }
    first.unwrap()
}

/// An initiation that was recorded before the responder was killed is refused after: what it had seen
/// stands in a file, and without that it answers.
#[test]
fn a_recorded_initiation_is_refused_after_a_restart() {
    let world = World::new();
    let more = [("", "PersistentKeepalive = 1"), ("", "")];
    let (a, b) = world.pair("192.0.2.2:51999", more);
    let server: SocketAddr = "192.0.2.2:51820".parse().unwrap();
    let relay = socket(&world.b, "192.0.2.2:51999");
    let (ta, tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    let initiation = record(&relay, server);
    ta.kill();
    tb.kill();
    for remembers in [true, false] {
        if !remembers {
            std::fs::remove_file(kept("tb")).unwrap();
        }
        let tb = world.up(&world.b, &b, "");
        let replay = socket(&world.a, "192.0.2.1:0");
        let mut answer = [0; 2048];
        wait_for("it is judged", || {
            replay.send_to(&initiation, server).unwrap();
            let answered = replay.recv(&mut answer).is_ok();
            assert!(!(remembers && answered), "a replay was answered");
            let dropped = show("tb")["peers"][0]["drops"].to_string();
            if remembers { dropped.contains("replayed") } else { answered }
        });
        assert_eq!(answer[0], if remembers { 0 } else { RESPONSE });
        tb.kill();
    }
}

/// A file that cannot be read or written is a warning, and the tunnel works.
#[test]
fn a_damaged_file_is_no_matter() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", "PersistentKeepalive = 1"), ("", "")]);
    std::fs::create_dir_all(STATE).unwrap();
    std::fs::write(kept("ta"), b"from nobody\n\xff\xfe").unwrap();
    std::fs::create_dir_all(kept("tb")).unwrap();
    let (_ta, told) = world.up_telling(&world.a, &a, "");
    let (_tb, told_b) = world.up_telling(&world.b, &b, "");
    for told in [told, told_b] {
        let text = std::fs::read_to_string(told).unwrap();
        assert!(text.contains(".timestamps"), "{text}");
    }
    wait_for("they connect", || of_peer("tb", "handshake_age_s") >= 0.0);
    assert_eq!(adit_json("tunnel show").as_array().unwrap().len(), 2);
}
