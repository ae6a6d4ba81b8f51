//! A segment: ports and listeners of frames as one port, joined by a switch of their own.
//!
//! Guests on a QEMU stream, TAPs and other ports of frames are on one network then, and the engine behind has one
//! port for all of them.

use crate::port::kind::Opened;
use crate::port::{Gone, Hub, Port};
use crate::runner::event::{Event, Next};
use crate::runner::nested::Nested;
use crate::runner::{Handler, Runner};
use adit_engine::PortId;
use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
use adit_packet::{Pool, PoolConfig};
use rustix::io::Errno;
use std::fmt;
use std::io;

/// The way out of the segment.
const CABLE: PortId = PortId(0);

/// The most ports: far more guests than one machine runs, and far fewer than a switch has ports.
const PORTS_MAX: u16 = 512;

/// What happens to the ports of a segment.
#[derive(Debug)]
#[non_exhaustive]
pub enum SegmentEvent {
    /// A guest has come to a listener.
    Added(String),
    /// A port has ended.
    Ended(String, Gone),
    /// A guest was refused: there are too many, or the process has no descriptor left.
    Refused(String, io::Error),
    /// A listener failed for good.
    ListenerEnded(io::Error),
}

/// Takes the events of a segment. It must not block.
pub type Observer = Box<dyn FnMut(SegmentEvent) + Send>;

/// A port of frames made of others: a [`Nested`] switch. It ends with the last of its ports and listeners.
pub type Segment = Nested<Switch, SegmentOwner>;

/// The owner of the switch of a [`Segment`].
pub struct SegmentOwner {
    ports: Vec<(PortId, String)>,
    listeners: usize,
    /// How many guests have come to listeners.
    guests: u64,
    observer: Observer,
}

impl fmt::Debug for SegmentOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentOwner").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl SegmentOwner {
    /// Joins what was opened. `seed` is a secret random number.
    ///
    /// # Errors
    /// EMFILE; what [`Runner::attach`] and [`Runner::listen`] refuse.
    pub fn join(
        name: impl Into<String>,
        opened: impl IntoIterator<Item = Opened>,
        seed: u64,
        observer: Observer,
    ) -> io::Result<Segment> {
        let config = SwitchConfig { seed, ..SwitchConfig::default() };
        let mut switch = Switch::new(config).map_err(io::Error::other)?;
        switch.add_port(CABLE, PortConfig::default()).map_err(io::Error::other)?;
        let mut runner = Runner::new(switch, Pool::new(PoolConfig::default()))?;
        let mut owner = Self { ports: Vec::new(), listeners: 0, guests: 0, observer };
        for opened in opened {
            match opened {
                Opened::Ports(ports) => {
                    for port in ports {
                        let name = port.name().to_owned();
                        owner.add(&mut runner, port, name)?;
                    }
                }
                Opened::Listener(listener) => owner.listen(&mut runner, listener)?,
            }
        }
        Segment::new(name, None, runner, CABLE, owner)
    }

    /// The names of the ports.
    pub fn ports(&self) -> impl Iterator<Item = &str> {
        self.ports.iter().map(|(_, name)| name.as_str())
    }

    fn listen(&mut self, runner: &mut Runner<Switch>, listener: Box<dyn Hub>) -> io::Result<()> {
        runner.listen(listener)?;
        self.listeners += 1;
        Ok(())
    }

    fn add(
        &mut self,
        runner: &mut Runner<Switch>,
        port: Box<dyn Port>,
        name: String,
    ) -> io::Result<()> {
        let is_free = |&number: &u16| self.ports.iter().all(|(id, _)| id.0 != number);
        let number = (1..=PORTS_MAX).find(is_free).ok_or(Errno::NOSPC)?;
        let id = PortId(number);
        runner.attach(id, port)?;
        if let Err(error) = runner.engine_mut().add_port(id, PortConfig::default()) {
            runner.detach(id);
            return Err(io::Error::other(error));
        }
        self.ports.push((id, name));
        Ok(())
    }

    fn accepted(&mut self, runner: &mut Runner<Switch>, port: Box<dyn Port>) {
        self.guests += 1;
        let name = format!("{}#{}", port.name(), self.guests);
        let event = match self.add(runner, port, name.clone()) {
            Ok(()) => SegmentEvent::Added(name),
            Err(error) => SegmentEvent::Refused(name, error),
        };
        (self.observer)(event);
    }

    fn gone(&mut self, runner: &mut Runner<Switch>, port: PortId, why: Gone) {
        runner.engine_mut().remove_port(port);
        let Some(at) = self.ports.iter().position(|(id, _)| *id == port) else { return };
        let (_, name) = self.ports.remove(at);
        (self.observer)(SegmentEvent::Ended(name, why));
    }
}

impl Handler<Switch> for SegmentOwner {
    fn event(&mut self, runner: &mut Runner<Switch>, event: Event) -> Next {
        match event {
            Event::Accepted(_, port) => self.accepted(runner, port),
            Event::PortGone { port, why, .. } => self.gone(runner, port, why),
            Event::ListenerGone(_, error) => {
                self.listeners -= 1;
                (self.observer)(SegmentEvent::ListenerEnded(error));
            }
            Event::AcceptPaused(error) => {
                (self.observer)(SegmentEvent::Refused("a guest".to_owned(), error));
            }
            // Whether the link of a device is up does not matter: it counts what it cannot take, and in a sandbox
            // the link of a device that was moved to another namespace cannot be followed.
            _ => {}
        }
        if self.ports.is_empty() && self.listeners == 0 { Next::Stop } else { Next::Continue }
    }

    fn turn(&mut self, runner: &mut Runner<Switch>) {
        // News of the switch: nobody reads them here.
        while runner.engine_mut().poll_event().is_some() {}
    }
}
