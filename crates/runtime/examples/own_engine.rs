//! An engine of your own over real ports: `own_engine PORT PORT`, with ports as `adit netem` takes them.
//!
//! It is a cable that lets each frame pass after 10 ms, and a frame for a group address only ten times a
//! second.
//!
//! ```text
//! $ cargo run -p adit-runtime --example own_engine -- tap:a tap:b
//! ```
//!
//! It runs until Ctrl-C. A device needs CAP_NET_ADMIN: run it as root, or under `unshare -Urn`.
#![expect(clippy::print_stdout, reason = "an example")]

use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, PortId, Reason};
use adit_packet::{Instant, PacketBuf, Pool, PoolConfig};
use adit_runtime::{Event, Handler, Next, Opened, PortSpec, Runner, Signals};
use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(10);
const GROUP_GAP: Duration = Duration::from_millis(100);

/// How many frames are in the cable at most.
const FRAMES_MAX: usize = 1000;

/// A reason of our own: it is counted like those of the library.
const GROUP_LIMIT: DropReason =
    DropReason::new(&Reason::new("group limit", "A group frame came too soon after the last one."));

#[derive(Default)]
struct Cable {
    frames: VecDeque<(Instant, Endpoint, PacketBuf)>,
    next_group: Instant,
}

impl Engine for Cable {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let to = Endpoint::Port(PortId(if from == Endpoint::Port(PortId(0)) { 1 } else { 0 }));
        let is_group = packet.bytes().first().is_some_and(|byte| byte & 1 == 1);
        if is_group && now < self.next_group {
            out.discard(packet, GROUP_LIMIT);
        } else if self.frames.len() >= FRAMES_MAX {
            out.discard(packet, DropReason::QUEUE_FULL);
        } else {
            if is_group {
                self.next_group = now + GROUP_GAP;
            }
            self.frames.push_back((now + DELAY, to, packet));
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.frames.front().map(|(at, ..)| *at)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while self.next_timeout().is_some_and(|at| at <= now)
            && let Some((_, to, packet)) = self.frames.pop_front()
        {
            out.send(to, packet);
        }
    }

    fn held(&self) -> usize {
        self.frames.len()
    }
}

struct Owner;

impl Handler<Cable> for Owner {
    fn event(&mut self, _: &mut Runner<Cable>, event: Event) -> Next {
        match event {
            Event::Signal(_) | Event::PortGone { .. } => Next::Stop,
            _ => Next::Continue,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut runner = Runner::new(Cable::default(), Pool::new(PoolConfig::default()))?;
    runner.watch_signals(Signals::new()?)?;
    for (id, text) in (0..2).zip(std::env::args().skip(1)) {
        match text.parse::<PortSpec>()?.open()? {
            Opened::Ports(ports) => {
                for port in ports {
                    println!("port {id}: {}", port.name());
                    runner.attach(PortId(id), port)?;
                }
            }
            Opened::Listener(_) => return Err("a listener is no end of a cable".into()),
        }
    }
    runner.run(&mut Owner)?;
    let counts = runner.engine_and_outbox().2.counts().clone();
    println!("{} frames passed", counts.sent());
    for (why, count) in counts.by_reason() {
        println!("{count} dropped: {why}");
    }
    Ok(())
}
