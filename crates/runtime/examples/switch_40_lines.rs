//! An Ethernet switch inside a program: `switch_40_lines PORT...`, with ports as `adit switch` takes them.
//!
//! ```text
//! $ cargo run -p adit-runtime --example switch_40_lines -- tap:a tap:b unix:/tmp/switch.sock
//! ```
//!
//! It runs until Ctrl-C. A device needs CAP_NET_ADMIN: run it as root, or under `unshare -Urn`.
#![expect(clippy::print_stdout, reason = "an example")]

use adit_engine::PortId;
use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{Event, Handler, Next, Opened, Port, PortSpec, Runner, Signals};
use std::error::Error;

/// The owner of the loop: numbers the ports.
struct Owner(u16);

impl Owner {
    fn add(
        &mut self,
        runner: &mut Runner<Switch>,
        port: Box<dyn Port>,
    ) -> Result<(), Box<dyn Error>> {
        let id = PortId(self.0);
        self.0 += 1;
        println!("port {id}: {}", port.name());
        runner.engine_mut().add_port(id, PortConfig::default())?;
        Ok(runner.attach(id, port)?)
    }
}

impl Handler<Switch> for Owner {
    fn event(&mut self, runner: &mut Runner<Switch>, event: Event) -> Next {
        match event {
            Event::Accepted(_, port) => self.add(runner, port).expect("a free number"),
            Event::PortGone { port, why, .. } => {
                runner.engine_mut().remove_port(port);
                println!("port {port}: {why}");
            }
            Event::Signal(_) => return Next::Stop,
            _ => {}
        }
        Next::Continue
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let switch = Switch::new(SwitchConfig::default())?;
    let mut runner = Runner::new(switch, Pool::new(PoolConfig::default()))?;
    runner.watch_signals(Signals::new()?)?;
    let mut owner = Owner(0);
    for text in std::env::args().skip(1) {
        match text.parse::<PortSpec>()?.open()? {
            Opened::Ports(ports) => {
                ports.into_iter().try_for_each(|port| owner.add(&mut runner, port))?;
            }
            Opened::Listener(listener) => {
                runner.listen(listener)?;
            }
        }
    }
    Ok(runner.run(&mut owner)?)
}
