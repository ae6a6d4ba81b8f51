//! Packet rates on TUN and TAP devices: the library beside a plain loop of read(2) and write(2).
//!
//! ```text
//! adit-bench-device [--seconds S] [--rounds N] [--svg FILE] [--json]
//! ```
//!
//! `--seconds` is the length of one turn (0.12), `--rounds` the number of turns of each case (5).
//! 'ratio' is packets per second divided by those of the plain loop in the same round. CPU is the
//! busy time of all cores, the packet generator included.

mod case;
mod cpu;
mod forward;
mod mover;
mod report;
mod rig;
mod svg;
mod traffic;
mod turns;

use report::{Report, Row};
use std::path::PathBuf;
use std::time::Duration;

struct Options {
    seconds: Duration,
    rounds: u32,
    svg: Option<PathBuf>,
    json: bool,
}

fn options() -> Options {
    let mut options =
        Options { seconds: Duration::from_millis(120), rounds: 5, svg: None, json: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value after an option");
        match word.as_str() {
            "--seconds" => {
                let seconds: f64 = value().parse().expect("seconds");
                assert!((0.01..=60.0).contains(&seconds), "--seconds takes 0.01 to 60");
                options.seconds = Duration::from_secs_f64(seconds);
            }
            "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
            "--svg" => options.svg = Some(value().into()),
            "--json" => options.json = true,
            _ => panic!("unknown option {word}"),
        }
    }
    options
}

fn main() -> std::io::Result<()> {
    let options = options();
    rig::enter()?;
    let report = turns::run(options.rounds, options.seconds);
    if let Some(path) = &options.svg {
        std::fs::write(path, svg::draw(&report))?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    let measured = report.results.iter().any(|row| row.figures.is_some());
    if measured { Ok(()) } else { Err(std::io::Error::other("no case could be measured")) }
}

fn print(report: &Report) {
    println!(
        "Linux {}, {} cores, {} rounds of {} s a turn\nmedian (lowest..highest)\n",
        report.kernel, report.cores, report.rounds, report.seconds
    );
    println!(
        "{:<13} {:<10} {:>28} {:>8} {:>10} {:>18}",
        "case", "mover", "packets/s", "Gbit/s", "CPU/packet", "ratio"
    );
    for row in &report.results {
        println!("{}", line(row));
    }
}

fn line(row: &Row) -> String {
    let start = format!("{:<13} {:<10}", row.case, row.mover);
    let Some(figures) = &row.figures else {
        return format!("{start} not measured: {}", row.missing.as_deref().unwrap_or("unknown"));
    };
    let rate = figures.packets_per_second;
    let rate = format!("{:.0} ({:.0}..{:.0})", rate.median, rate.lowest, rate.highest);
    let cpu = figures
        .cpu_ns_per_packet
        .map_or_else(|| "too short".to_owned(), |cpu| format!("{:.0} ns", cpu.median));
    let ratio = figures.ratio;
    let ratio = format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.lowest, ratio.highest);
    format!("{start} {rate:>28} {:>8.2} {cpu:>10} {ratio:>18}", figures.gigabits_per_second.median)
}
