//! Forwards between two devices, each in a network namespace of its own, until its input ends.
//!
//! `forward SUBJECT tun|tap [LOOP]`; the subjects are below. It prints the two namespaces as paths
//! for nsenter(1) as soon as packets go through, and is told to end by the end of its input.

mod ours;
mod theirs;

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Addresses and names of the two ends.
const NEAR: &str = "198.18.0.1";
const FAR: &str = "198.18.0.2";

/// TUN or TAP, with super-packets or without.
#[derive(Clone, Copy)]
struct Kind {
    tap: bool,
    offload: bool,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, subject, mode, rest @ ..] = &args[..] else {
        return Err("forward SUBJECT tun|tap".into());
    };
    let near = adit_device::Netns::new_anonymous()?;
    let far = adit_device::Netns::new_anonymous()?;
    let offload = !subject.ends_with("-packets");
    let kind = Kind { tap: mode == "tap", offload };
    let ends = [&near, &far];
    match subject.as_str() {
        "c" | "c-packets" | "c-queues-1" | "c-queues-2" => {
            let count = if subject == "c-queues-2" { 2 } else { 1 };
            ours::c_loop(ends, kind, count, rest.first().ok_or("the path of the C loop")?)?
        }
        "adit-whole" | "adit-packets" => ours::whole(ends, kind)?,
        "adit-split" => ours::split(ends, kind)?,
        "adit-queues-1" => ours::queues(ends, kind, 1, false)?,
        "adit-queues-2" => ours::queues(ends, kind, 2, false)?,
        "adit-queues-2-pinned" => ours::queues(ends, kind, 2, true)?,
        "tun-rs" => theirs::tun_rs_multiple(ends, kind)?,
        "tun-rs-packets" | "tun-rs-whole" => theirs::tun_rs_records(ends, kind)?,
        "tun-tokio-packets" => theirs::tun_tokio(ends)?,
        other => return Err(format!("no subject {other}").into()),
    }
    let path =
        |ns: &adit_device::Netns| format!("/proc/{}/fd/{}", std::process::id(), ns.as_fd().as_raw_fd());
    println!("{} {}", path(&near), path(&far));
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    // The threads wait in read(2): they end with the process.
    std::process::exit(0)
}
