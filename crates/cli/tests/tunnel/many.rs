//! One server and many peers.
#![allow(clippy::print_stdout, reason = "figures for people, not held")]

use crate::support::{adit, adit_json, run};
use crate::world::{Keys, Running, World, show, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Stdio;
use std::time::Instant;

/// A hundred programs, each the peer of one server, each with its packets. One of them is changed: the
/// others lose none, and keep their sessions.
#[test]
fn a_hundred_peers_talk_at_a_time() {
    const COUNT: usize = 100;
    let world = World::new();
    let server = Keys::new();
    let mut text = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\nAddress = 10.9.0.1/24\n",
        server.private
    );
    let keys: Vec<Keys> = (0..COUNT).map(|_| Keys::new()).collect();
    for (number, keys) in keys.iter().enumerate() {
        writeln!(text, "[Peer]\nPublicKey = {}\nAllowedIPs = 10.9.1.{number}/32", keys.public)
            .unwrap();
    }
    let hub_file = world.write("hub.conf", &text);
    let hub = world.up(&world.b, &hub_file, "");
    let start = Instant::now();
    let peers: Vec<Running> = keys
        .iter()
        .enumerate()
        .map(|(number, keys)| {
            let text = format!(
                "[Interface]\nPrivateKey = {}\nAddress = 10.9.1.{number}/32\nTable = off\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.1/32\nEndpoint = 192.0.2.2:51820\n\
                 PersistentKeepalive = 25\n",
                keys.private, server.public
            );
            world.up(&world.a, &world.write(&format!("p{number}.conf"), &text), "")
        })
        .collect();
    println!("{COUNT} peers were up after {:?}", start.elapsed());
    let handshake_ages = || -> BTreeMap<String, f64> {
        let peers = show("hub")["peers"].as_array().unwrap().clone();
        let of = |peer: &Value| (peer["public_key"].to_string(), peer["handshake_age_s"].as_f64());
        peers.iter().map(of).filter_map(|(key, age)| Some((key, age?))).collect()
    };
    // An initiation that a busy machine loses is repeated after 5 s.
    let is_settled = || {
        let ages = handshake_ages();
        ages.len() == COUNT && ages.values().all(|age| *age > 1.0)
    };
    wait_for("each has a session", is_settled);
    let start = Instant::now();
    let pings: Vec<_> = (0..COUNT)
        .map(|number| {
            let line = format!("ping -n -q -I p{number} -c 40 -i 0.1 -W 10 10.9.0.1");
            world.a.command(&line).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ages = handshake_ages();
    let before = Instant::now();
    let changed = text.replace("10.9.1.99/32", "10.9.1.99/32, 10.9.2.99/32");
    world.write("hub.conf", &changed);
    let reloaded = adit_json("tunnel reload hub");
    assert_eq!((&reloaded["changed"], &reloaded["unchanged"]), (&1.into(), &99.into()));
    println!("one of {COUNT} was changed in {:?}", before.elapsed());
    let outputs = pings.into_iter().map(|ping| ping.wait_with_output().unwrap().stdout);
    let outputs: Vec<String> = outputs.map(|output| crate::support::text(&output)).collect();
    // A machine that is so slow that a socket overflows loses an echo now and then; who has lost its session
    // loses all from there on.
    let last_came = |output: &String| -> bool {
        let received = output.split(" packets transmitted, ").nth(1).unwrap();
        received.split(' ').next().unwrap().parse::<u32>().unwrap() > 30
    };
    assert!(outputs.iter().all(last_came), "{outputs:?}");
    let whole = outputs.iter().filter(|output| output.contains(" 0% packet loss")).count();
    println!("and {whole} had all 40 answers after {:?}", start.elapsed());
    let least = before.elapsed().as_secs_f64() - 0.1;
    let now = handshake_ages();
    assert!(ages.iter().all(|(peer, age)| now[peer] > age + least), "{least}: {ages:?} {now:?}");
    let view = show("hub");
    let connected = view["peers"].as_array().unwrap().iter();
    assert_eq!(connected.filter(|peer| peer["connected"] == true).count(), COUNT);
    drop((hub, peers));
}

#[test]
fn a_thousand_peers_start() {
    let world = World::new();
    let mut text = format!("[Interface]\nPrivateKey = {}\n", Keys::new().private);
    for number in 0..1000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let key = base64(number);
        writeln!(text, "[Peer]\nPublicKey = {key}\nAllowedIPs = 10.1.{high}.{low}/32").unwrap();
        writeln!(text, "Endpoint = 192.0.2.2:{}", 1000 + number).unwrap();
    }
    let file = world.write("many.conf", &text);
    let start = Instant::now();
    let many = world.up(&world.a, &file, "");
    // A second is the promise.
    println!("1000 peers, with a route each, were up after {:?}", start.elapsed());
    assert_eq!(show("many")["peers"].as_array().unwrap().len(), 1000);
    assert_eq!(run("wg show many peers").lines().count(), 1000);
    let start = Instant::now();
    adit("tunnel reload many");
    println!("and were read again in {:?}", start.elapsed());
    drop(many);
}

/// A public key that is a number: nobody has its private one, and it is no point of low order.
pub(crate) fn base64(number: u32) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |at: u32| char::from(DIGITS[usize::try_from(number >> (6 * at) & 63).unwrap()]);
    format!("B{}{}{}{}=", digit(2), digit(1), digit(0), "A".repeat(39))
}
