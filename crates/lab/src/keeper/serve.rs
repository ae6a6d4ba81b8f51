//! The keeper: takes orders, reaps processes, reports.

use crate::keeper::home::Home;
use crate::keeper::names::NetnsNames;
use crate::keeper::nodes::Nodes;
use crate::keeper::order::{CommandSpec, Line, NodeKey, Order, ProgramKey, Ticket};
use crate::keeper::outside::{Outside, descriptor};
use crate::keeper::private::Content;
use crate::keeper::programs::{Event, Programs};
use crate::keeper::said::{DoneSaid, Said};
use crate::keeper::shots::Shots;
use crate::keeper::wire::Wire;
use adit_device::Netns;
use adit_device::process::{SignalReader, shell_status};
use adit_service::error::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions, wait};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// For whom a command runs.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Order(Ticket),
    Readiness(ProgramKey),
}

pub(super) struct Keeper {
    wire: Wire,
    nodes: Nodes,
    programs: Programs,
    shots: Shots<Owner>,
    children: SignalReader,
    hosts: Rc<str>,
    /// Its number outside of its process namespace, and those of others.
    pid: u32,
    outside: Outside,
    names: NetnsNames,
    named: BTreeMap<NodeKey, String>,
}

impl Keeper {
    pub(super) fn new(wire: Wire, (pid, outside): (u32, Outside), host: Netns) -> io::Result<Self> {
        Ok(Self {
            wire,
            nodes: Nodes::new(Home::current()?, host),
            programs: Programs::default(),
            shots: Shots::new(),
            children: SignalReader::new(&[Signal::CHILD])?,
            hosts: Rc::from(""),
            pid,
            outside,
            names: NetnsNames::default(),
            named: BTreeMap::new(),
        })
    }

    /// Serves until the other end has ended.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let result = self.turns();
        self.nodes.end();
        match result {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            result => result,
        }
    }

    fn turns(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            while self.children.read().is_some() {}
            self.reap();
            self.shots.read();
            while self.wire.receive()? {
                while let Some(line) = self.wire.next_line()? {
                    self.take(line)?;
                }
                self.wire.send(true)?;
            }
            let now = Instant::now();
            self.shots.handle_timeout(now);
            for event in self.programs.handle_timeout(now, &mut self.nodes) {
                self.report(event);
            }
            for (owner, error) in self.shots.start(&mut self.nodes) {
                match owner {
                    Owner::Order(ticket) => self.wire.push(&Said::Done(ticket, Err(error.into()))),
                    Owner::Readiness(program) => self.answer(program, false),
                }
            }
            self.wire.send(true)?;
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![
            PollFd::new(&self.wire, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        self.shots.descriptors(&mut fds);
        let next = self.shots.next_timeout().into_iter().chain(self.programs.next_timeout()).min();
        // A timer that fires early would find nothing to do.
        let wait = next
            .map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_micros(1));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, wait.as_ref()) {
            Err(errno) if errno != rustix::io::Errno::INTR => Err(errno.into()),
            _ => Ok(()),
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let status = shell_status(status);
            if let Some((owner, output)) = self.shots.ended(pid, status) {
                match owner {
                    Owner::Order(ticket) => {
                        self.wire.push(&Said::Done(ticket, Ok(DoneSaid::Output(output))));
                    }
                    Owner::Readiness(program) => self.answer(program, output.status == Some(0)),
                }
            } else if let Some(event) = self.programs.ended(pid, status) {
                self.report(event);
            }
        }
    }

    fn answer(&mut self, program: ProgramKey, is_ready: bool) {
        if let Some(event) = self.programs.answer(program, is_ready) {
            self.report(event);
        }
    }

    fn report(&mut self, event: Event) {
        let said = match event {
            Event::Program(event) => Said::Program(event),
            Event::Restarted(program, result) => {
                let result = result.map(|pidfd| self.outside.number_of(&pidfd));
                Said::Restarted(program, result.map_err(Into::into))
            }
            Event::Ask(program, spec) => {
                if self.shots.add(Owner::Readiness(program), spec).is_err() {
                    self.answer(program, false);
                }
                return;
            }
        };
        self.wire.push(&said);
    }

    fn take(&mut self, line: Line<Order>) -> io::Result<()> {
        let (ticket, order) = match line {
            Line::Hosts(hosts) => {
                self.hosts = hosts.into();
                return Ok(());
            }
            Line::Order(ticket, order) => (ticket, order),
        };
        let done = match order {
            Order::Command(spec) => self.command(ticket, *spec),
            order => self.carry_out(order).map(Some),
        };
        match done {
            Ok(None) => {}
            Ok(Some((said, fds))) => {
                self.wire.push_fds(fds);
                self.wire.push(&Said::Done(ticket, Ok(said)));
            }
            Err(error) => self.wire.push(&Said::Done(ticket, Err(error.into()))),
        }
        if self.wire.is_full() { self.wire.send(true) } else { Ok(()) }
    }

    fn command(&mut self, ticket: Ticket, spec: CommandSpec) -> Result<Option<Carried>> {
        self.shots.add(Owner::Order(ticket), spec).map(|()| None)
    }

    fn carry_out(&mut self, order: Order) -> Result<Carried> {
        let nodes = &mut self.nodes;
        match order {
            Order::Node(mut spec) => {
                let (key, names) = (spec.key, std::mem::take(&mut spec.names));
                let net = nodes.make(*spec, Rc::clone(&self.hosts))?;
                let path = descriptor(self.pid, net);
                // Without a name it is entered by 'adit lab exec'.
                self.named.extend(self.names.add(&names, &path).ok().map(|name| (key, name)));
                return Ok((DoneSaid::Node(net), Vec::new()));
            }
            Order::Private(key, private) => {
                nodes.set_private(key, Content::new(Rc::clone(&self.hosts), private))
            }
            Order::Sysctls(key, sysctls) => nodes.set_sysctls(key, &sysctls),
            Order::RemoveNode(key) => {
                self.programs.forget(|program| program.node == key);
                self.named.remove(&key).into_iter().for_each(|name| self.names.remove(&name));
                nodes.remove(key)
            }
            Order::Tap(key, spec) => {
                let (queue, netlink) = nodes.tap(key, spec)?;
                return Ok((DoneSaid::Tap, vec![queue, netlink]));
            }
            Order::Veth(ends) => nodes.veth(*ends),
            Order::Adopt(name, key, spec) => nodes.adopt(name, key, spec),
            Order::Interface(key, spec) => nodes.change(key, spec),
            Order::RemoveInterface(key, name) => nodes.remove_interface(key, name),
            Order::Keep(key, name) => nodes.keep(key, name),
            Order::Routes(key, routes) => nodes.set_routes(key, routes),
            Order::Up(key, name, up) => nodes.set_up(key, name, up),
            Order::Run(spec) => {
                let (pidfd, output) = self.programs.run(nodes, *spec)?;
                let (pid, has_output) = (self.outside.number_of(&pidfd), output.is_some());
                return Ok((DoneSaid::Started { pid, has_output }, output.into_iter().collect()));
            }
            Order::Stop(program, patience) => self.programs.stop(program, patience),
            Order::Signal(program, signal) => self.programs.signal(program, signal),
            Order::Door(key) => {
                let [net, mount, uts] = nodes.door(key)?;
                return Ok((DoneSaid::Door { net, mount, uts }, Vec::new()));
            }
            Order::ForgetNeighbors(key) => nodes.forget_neighbors(key),
            // It takes its time: `command`.
            Order::Command(_) => Ok(()),
        }?;
        Ok((DoneSaid::Plainly, Vec::new()))
    }
}

/// What an order made, with its descriptors.
type Carried = (DoneSaid, Vec<OwnedFd>);
