//! A NAT for whatever is behind a TUN device: `nat PORT PREFIX...`, e.g. in a user namespace
//!
//! ```text
//! $ cargo run -p adit-runtime --example nat -- tun:tun0,netns=PID 10.0.2.0/24 fd00::/64
//! ```
//!
//! The second address of each prefix is the NAT's own. It runs until Ctrl-C, and then prints what it
//! dropped.
#![expect(clippy::print_stdout, reason = "an example")]

use adit_engine::PortId;
use adit_nat::{Config, Nat};
use adit_packet::{IpPrefix, Pool, PoolConfig};
use adit_runtime::{Event, Handler, Next, Opened, PortSpec, Runner, Signals};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

struct Owner;

impl Handler<Nat> for Owner {
    fn event(&mut self, _: &mut Runner<Nat>, event: Event) -> Next {
        match event {
            Event::Signal(_) | Event::PortGone { .. } => Next::Stop,
            _ => Next::Continue,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port: PortSpec = args.next().ok_or("nat PORT PREFIX...")?.parse()?;
    let mut secret = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let mut config = Config::new(secret);
    for text in args {
        let prefix: IpPrefix = text.parse()?;
        match prefix.network().ip() {
            IpAddr::V4(ip) => config.gateway_v4 = Some((ip.to_bits() | 2).into()),
            IpAddr::V6(ip) => config.gateway_v6 = Some((ip.to_bits() | 2).into()),
        }
        config.inside.push(prefix);
    }
    let mut runner = Runner::new(Nat::new(config), Pool::new(PoolConfig::default()))?;
    runner.watch_signals(Signals::new()?)?;
    let Opened::Ports(ports) = port.open()? else { return Err("that is a listener".into()) };
    for port in ports {
        println!("inside: {}", port.name());
        runner.attach(PortId(0), port)?;
    }
    runner.run(&mut Owner)?;
    let counts = runner.engine_and_outbox().2.counts().clone();
    println!("{} packets and pieces passed", counts.sent());
    for (why, count) in counts.by_reason() {
        println!("{count} dropped: {why}");
    }
    Ok(())
}
