//! What one packet costs, by the bare system call and by each library, on one device.
//!
//! Receiving drains a full ring; sending is into a stack that drops at once (a wrong header
//! checksum). All take turns in one process on one open file, so that what disturbs one disturbs
//! all; ratios are to the bare system call (`c`) in the same round, and their median counts; beside it
//! are the lowest and the highest.
//!
//! ```text
//! adit-bench-queue [--size BYTES]... [--rounds N] [--packets N] [--json] [--instructions FILE]
//! ```
//!
//! FILE has lines `NAME SIZE COUNT`, as `adit_recv 64 21.0`, which the script makes with callgrind.

mod count;
mod subject;

use adit_device::netlink::Address;
use adit_device::{DeviceOptions, Mode};
use std::collections::HashMap;
use std::net::UdpSocket;
use subject::{Bench, Subject};

/// What the ring of the device holds, and more than any turn asks for.
const RING: usize = 10_000;

struct Options {
    sizes: Vec<usize>,
    rounds: usize,
    packets: usize,
    json: bool,
    instructions: HashMap<String, f64>,
}

fn options() -> Options {
    let mut options = Options {
        sizes: Vec::new(),
        rounds: 21,
        packets: 5000,
        json: false,
        instructions: HashMap::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|word| word.parse().ok()).expect("a number after an option");
        match word.as_str() {
            "--size" => options.sizes.push(number()),
            "--rounds" => options.rounds = number(),
            "--packets" => options.packets = number(),
            "--json" => options.json = true,
            "--instructions" => {
                let path = words.next().expect("a file after --instructions");
                let text = std::fs::read_to_string(path).expect("the file of --instructions");
                options.instructions = text
                    .lines()
                    .filter_map(|line| line.rsplit_once(' '))
                    .map(|(key, value)| (key.to_owned(), value.parse().expect("a number")))
                    .collect();
            }
            _ => panic!("unknown word {word}"),
        }
    }
    if options.sizes.is_empty() {
        options.sizes = vec![64, 1500];
    }
    assert!(options.packets <= RING, "the ring holds {RING} packets");
    options
}

/// One line of the table.
struct Row {
    direction: &'static str,
    size: usize,
    subject: Subject,
    nanoseconds: f64,
    ratio: f64,
    /// The lowest and the highest ratio.
    spread: [f64; 2],
    allocations: f64,
    instructions: Option<f64>,
}

fn main() {
    let options = options();
    adit_device::Netns::enter_new().expect("a network namespace: run under `unshare -Urn --`");
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    let device = DeviceOptions::new(Mode::Tun)
        .address(Address::new("192.0.2.1/24".parse().expect("a prefix")))
        .txqueuelen(RING as u32)
        .nonblocking(true)
        .up(true)
        .open()
        .expect("a device");
    let mut bench = Bench::new(device.into_queues().remove(0));
    let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
    socket.connect("192.0.2.2:9").expect("an address of the device's subnet");

    let mut rows = Vec::new();
    for &size in &options.sizes {
        let payload = vec![0x5a; size - 28];
        rows.extend(table("recv", size, &options, |subject| {
            for _ in 0..options.packets {
                socket.send(&payload).expect("a packet goes into the ring");
            }
            bench.recv(subject, options.packets)
        }));
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0xba, 0xd0];
        packet.extend([192, 0, 2, 2, 203, 0, 113, 1]);
        packet.resize(size, 0);
        packet[2..4].copy_from_slice(&(size as u16).to_be_bytes());
        rows.extend(table("send", size, &options, |subject| {
            bench.send(subject, &mut packet, options.packets)
        }));
    }
    if options.json { print_json(&rows) } else { print_table(&rows) }
}

fn table(
    direction: &'static str,
    size: usize,
    options: &Options,
    mut turn: impl FnMut(Subject) -> count::Cost,
) -> Vec<Row> {
    let subjects = Subject::ALL;
    let packets = options.packets as f64;
    let mut rounds = vec![[(0.0, 0.0); Subject::ALL.len()]; options.rounds];
    // One turn each to warm caches and pools.
    for subject in subjects {
        turn(subject);
    }
    for (number, round) in rounds.iter_mut().enumerate() {
        for at in 0..subjects.len() {
            // Another one begins each time, for to come first or last may be an advantage.
            let at = (at + number) % subjects.len();
            let cost = turn(subjects[at]);
            round[at] = (cost.nanoseconds as f64 / packets, cost.allocations as f64 / packets);
        }
    }
    let ratios = |at: usize| rounds.iter().map(move |round| round[at].0 / round[0].0);
    let row = |(at, subject): (usize, Subject)| Row {
        direction,
        size,
        subject,
        nanoseconds: median(rounds.iter().map(|round| round[at].0)),
        ratio: median(ratios(at)),
        spread: [ratios(at).fold(f64::INFINITY, f64::min), ratios(at).fold(0.0, f64::max)],
        allocations: median(rounds.iter().map(|round| round[at].1)),
        instructions: options
            .instructions
            .get(&format!("{}_{direction} {size}", subject.name()))
            .copied(),
    };
    subjects.into_iter().enumerate().map(row).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print_table(rows: &[Row]) {
    println!(
        "{:<5} {:>5}  {:<13} {:>9} {:>8} {:>15} {:>13} {:>13}",
        "", "bytes", "", "ns/packet", "ratio", "of all rounds", "allocs/packet", "instr/packet"
    );
    for row in rows {
        let instructions =
            row.instructions.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"));
        println!(
            "{:<5} {:>5}  {:<13} {:>9.1} {:>8.3} {:>15} {:>13.4} {:>13}",
            row.direction,
            row.size,
            row.subject.name(),
            row.nanoseconds,
            row.ratio,
            format!("{:.3}-{:.3}", row.spread[0], row.spread[1]),
            row.allocations,
            instructions
        );
    }
    let ours = rows.iter().filter(|row| row.subject == Subject::Adit);
    let worst = ours.map(|row| row.ratio).fold(0.0, f64::max);
    println!("adit against the bare system call: {worst:.3} at worst, promised are 1.03");
}

fn print_json(rows: &[Row]) {
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let instructions =
                row.instructions.map_or_else(|| "null".to_owned(), |count| count.to_string());
            format!(
                r#"  {{"direction":"{}","bytes":{},"subject":"{}","ns_per_packet":{:.2},"ratio_to_c":{:.4},"allocations_per_packet":{:.5},"instructions_per_packet":{}}}"#,
                row.direction,
                row.size,
                row.subject.name(),
                row.nanoseconds,
                row.ratio,
                row.allocations,
                instructions
            )
        })
        .collect();
    println!("[\n{}\n]", rows.join(",\n"));
}
