//! A lab that runs, as a service: what the keeper reports, and what clients ask.

use crate::engine::{CableId, LabEngine};
use crate::keeper::{Done as Ordered, Keeper, Order, ProgramKey, Report, Ticket};
use crate::live::captures::Captures;
use crate::live::complete;
use crate::live::confine;
use crate::live::diff::Diff;
use crate::live::faults::{Faults, Wanted};
use crate::live::guest::Sockets;
use crate::live::journal::{DEGRADED, Journal};
use crate::live::kernel;
use crate::live::nodes::Nodes;
use crate::live::prepared::Prepared;
use crate::live::programs::{News, Programs};
use crate::live::requests::{self, LabFile, capture_file, command, lab_file};
use crate::live::routes::ROUTES;
use crate::live::taps::{Tap, Taps};
use crate::live::tasks::{Purpose, Task, TaskId, Tasks, Then};
use crate::live::wiring::{Loop, Wiring};
use adit_packet::Instant;
use adit_runtime::port::mirror::MirrorPort;
use adit_runtime::{Event as LoopEvent, Interest, Next, Token};
use adit_service::control::http::{self, Method, Request};
use adit_service::control::notify::{Status, notify};
use adit_service::control::route::Route;
use adit_service::control::server::Reply;
use adit_service::error::{Error, Kind, Result};
use adit_service::event::Event;
use adit_service::metrics::Snapshot;
use adit_service::netem::keys::to_json;
use adit_service::netem::profile::{self, Profiles};
use adit_service::netem::report::keys_text;
use adit_service::sandbox;
use adit_service::supervisor::{
    Answer, Done, FIRST_TOKEN, Job, Progress, Service, Trigger, read_request, value,
};
use adit_service::switch::model::Counters;
use adit_topology::model::LinkName;
use adit_topology::plan::Plan;
use adit_topology::report::{self, State};
use adit_topology::routing;
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Reports of the keeper.
const KEEPER: Token = Token(FIRST_TOKEN);

/// The end of what the lab lives for.
const LIFE: Token = Token(FIRST_TOKEN + 1);

/// The output of the first program; the others follow.
const OUTPUT: u32 = FIRST_TOKEN + 2;

/// How often events are flushed.
const TICK: Duration = Duration::from_secs(1);

/// A running lab.
#[derive(Debug)]
pub(super) struct LabService {
    pub(super) name: String,
    pub(super) socket: Option<PathBuf>,
    pub(super) guests: Sockets,
    pub(super) file: Option<LabFile>,
    /// Readable when the lab must end.
    pub(super) life: Option<OwnedFd>,
    pub(super) journal: Journal,
    pub(super) plan: Plan,
    pub(super) keeper: Keeper,
    /// Whether the keeper's socket is full.
    pub(super) is_blocked: bool,
    pub(super) tasks: Tasks,
    pub(super) nodes: Nodes,
    pub(super) wiring: Wiring,
    pub(super) taps: Taps,
    pub(super) captures: Captures,
    pub(super) faults: Faults,
    pub(super) programs: Programs,
    pub(super) replies: Vec<(http::Ticket, Result<Value>)>,
    pub(super) is_ready: bool,
    /// Why it ended, if nobody asked for it.
    pub(super) failure: Option<Error>,
}

/// What was read or opened beside the loop.
#[derive(Debug)]
pub(super) enum Change {
    /// Another plan.
    Plan(Box<NewPlan>),
    /// What a link is to be like.
    Netem(LinkName, Box<Profiles>),
    /// A pipe for the packets of a link.
    Capture(LinkName, Box<MirrorPort>),
    /// What the kernel has counted at ends of links, for a report.
    Kernel(Vec<(LinkName, usize, Counters)>),
}

/// Another plan, with the ports that it needs.
#[derive(Debug)]
pub(super) struct NewPlan {
    plan: Plan,
    diff: Diff,
    prepared: Prepared,
    client: Option<http::Ticket>,
    /// It is about this link alone, which the kernel joined until now.
    of_link: Option<LinkName>,
}

impl LabService {
    /// Begins to make the lab: all orders are given, and what follows is done as the keeper reports.
    pub(super) fn start(&mut self, runner: &mut Loop, prepared: Prepared) -> Result<()> {
        let readable = Interest { readable: true, writable: false };
        let watched = runner.watch(&self.keeper, KEEPER, readable);
        watched.map_err(|error| Error::io("watch", "the keeper", &error))?;
        if let Some(life) = &self.life {
            let watched = runner.watch(life, LIFE, readable);
            watched.map_err(|error| Error::io("watch", "a pipe", &error))?;
        }
        runner.set_alarm(Some(runner.now() + TICK));
        let task = self.tasks.begin(None, Then::Start);
        let diff = Diff::between(None, &self.plan);
        let plan = self.plan.clone();
        self.change(runner, task, None, &plan, &diff, prepared)?;
        self.finish(runner, task);
        self.send(runner)
    }

    /// Gives an order as part of a task.
    pub(super) fn order(&mut self, task: TaskId, order: Order, purpose: Purpose) {
        match self.keeper.order(order) {
            Ok(ticket) => self.tasks.add(task, ticket, purpose),
            Err(error) => self.tasks.fail(task, error),
        }
    }

    /// Sends orders, as many as there is room for.
    fn send(&mut self, runner: &mut Loop) -> Result<()> {
        let is_blocked = self.keeper.send()?;
        if is_blocked != self.is_blocked {
            self.is_blocked = is_blocked;
            runner.unwatch(&self.keeper);
            let interest = Interest { readable: true, writable: is_blocked };
            let watched = runner.watch(&self.keeper, KEEPER, interest);
            watched.map_err(|error| Error::io("watch", "the keeper", &error))?;
        }
        Ok(())
    }

    /// Takes what the keeper reports.
    fn receive(&mut self, runner: &mut Loop) -> Result<()> {
        while let Some(report) = self.keeper.receive()? {
            self.report(runner, report);
        }
        self.start_programs();
        self.send(runner)
    }

    fn report(&mut self, runner: &mut Loop, report: Report) {
        let news = match report {
            Report::Done(ticket, done) => return self.done(runner, ticket, done),
            Report::Failed(ticket, error) => return self.failed(runner, ticket, error),
            Report::Program(event) => self.programs.changed(event, runner.now()),
            Report::Restarted(program, result) => {
                let result = result.map_err(|error| error.report.message);
                self.programs.restarted(program, result)
            }
        };
        self.tell(news);
    }

    fn tell(&mut self, news: Option<News>) {
        if let Some(News { program, state, message }) = news {
            self.journal.part(program, state, message);
        }
    }

    fn done(&mut self, runner: &mut Loop, ticket: Ticket, done: Ordered) {
        let Some((task, purpose)) = self.tasks.reported(ticket) else { return };
        let result = self.take(runner, task, purpose, done);
        if let Err(error) = result {
            self.tasks.fail(task, error);
        }
        self.finish(runner, task);
    }

    /// Takes the result of an order.
    fn take(
        &mut self,
        runner: &mut Loop,
        task: TaskId,
        purpose: Purpose,
        done: Ordered,
    ) -> Result<()> {
        match (purpose, done) {
            (Purpose::Tap(link, end), Ordered::Tap { queue, netlink }) => {
                let tap = Tap { link, end, queue, netlink };
                self.taps.add(tap, &mut self.wiring, runner)?;
            }
            (Purpose::Program(key), Ordered::Started { pid, output }) => {
                self.programs.started(key, pid, output);
                if let Some(pipe) = self.programs.log_mut(key).and_then(|log| log.pipe()) {
                    let readable = Interest { readable: true, writable: false };
                    let set = rustix::io::ioctl_fionbio(pipe, true);
                    let watched = set.map_err(std::io::Error::from);
                    let token = Token(OUTPUT + key.0);
                    let watched = watched.and_then(|()| runner.watch(pipe, token, readable));
                    watched
                        .map_err(|error| Error::io("watch", "the output of a program", &error))?;
                }
            }
            (Purpose::Node(node), Ordered::Node(path)) => self.nodes.set_net(&node, path),
            (Purpose::Command, Ordered::Output(output)) if output.status != Some(0) => {
                let why = output.stderr.lines().next().unwrap_or("its time was over").to_owned();
                let message = format!("cannot set up the packet filter of a node: nft: {why}");
                return Err(Error::new(Kind::Refused, &crate::keeper::PART, message));
            }
            (Purpose::Reply, Ordered::Output(output)) => {
                let output = report::CommandOutput {
                    status: output.status,
                    stdout: output.stdout,
                    stderr: output.stderr,
                    is_cut: output.is_cut,
                };
                self.set_value(task, value(&output)?);
            }
            (Purpose::Reply, Ordered::Door(door)) => {
                let crate::keeper::Door { keeper, net, mount, uts } = door;
                self.set_value(task, value(&report::Door { keeper, net, mount, uts })?);
            }
            _ => {}
        }
        Ok(())
    }

    fn set_value(&mut self, task: TaskId, value: Value) {
        if let Some(task) = self.tasks.get_mut(task) {
            task.value = value;
        }
    }

    fn failed(&mut self, runner: &mut Loop, ticket: Ticket, error: Error) {
        let Some((task, purpose)) = self.tasks.reported(ticket) else { return };
        if let Purpose::Program(key) = purpose {
            let news = self.programs.not_started(key, &error.report.message);
            self.tell(news);
        } else {
            self.tasks.fail(task, error);
        }
        self.finish(runner, task);
    }

    /// One part of a task is done; does what follows after the last.
    pub(super) fn finish(&mut self, runner: &mut Loop, task: TaskId) {
        let Some(Task { client, then, done, error, value, .. }) = self.tasks.less(task) else {
            return;
        };
        let result = match (error, then) {
            (Some(error), Then::Start) => {
                self.failure = Some(error);
                return;
            }
            (Some(error), _) => Err(error.after(done)),
            (None, Then::Start) => {
                if let Err(error) = self.taps.plug_in(&mut self.wiring, runner) {
                    self.failure = Some(error);
                    return;
                }
                self.programs.begin();
                self.wiring.start(runner);
                return self.start_programs();
            }
            (None, Then::Reply) => Ok(value),
            (None, Then::Changed) => Ok(Done::new(done).reply),
            (None, Then::Nothing) => return,
        };
        match client {
            Some(client) => self.replies.push((client, result)),
            None => match result {
                Ok(reply) => {
                    let done = reply.get("done").cloned().unwrap_or_default();
                    let done = serde_json::from_value(done).unwrap_or_default();
                    self.journal.send(&Event::Reloaded { done });
                }
                Err(error) => self.journal.failed(format!("reload failed: {error}")),
            },
        }
    }

    /// Starts the programs whose turn it is; reports when all are ready.
    pub(super) fn start_programs(&mut self) {
        let due = self.programs.due();
        if !due.is_empty() {
            let task = self.tasks.begin(None, Then::Nothing);
            for (key, order) in due {
                self.order(task, order, Purpose::Program(key));
            }
            self.tasks.less(task);
        }
        if !self.is_ready && self.programs.are_settled() {
            self.is_ready = true;
            let parts = [(self.nodes.count(), "nodes"), (self.plan.lab.links.len(), "links")];
            let ports = parts.map(|(count, what)| format!("{count} {what}")).to_vec();
            let (name, socket) = (self.name.clone(), self.socket.clone());
            let problems = self.problems();
            if !problems.is_empty() {
                let message = format!(
                    "'{name}' is degraded: {}; see 'adit lab show' and 'adit lab logs'",
                    problems.join("; ")
                );
                self.journal.part(&name, DEGRADED, message);
            }
            self.journal.send(&Event::Ready { name, socket, ports });
            notify(Status::Ready);
        }
    }

    fn read_output(&mut self, runner: &mut Loop, key: ProgramKey) {
        let Some(log) = self.programs.log_mut(key) else { return };
        let Some(pipe) = log.pipe().and_then(|pipe| pipe.try_clone().ok()) else { return };
        if !log.read() {
            runner.unwatch(&pipe);
            log.detach();
        }
        self.await_guests(runner.now());
    }

    /// Reports guests that have become ready, or have had their time.
    fn await_guests(&mut self, now: Instant) {
        let wiring = &self.wiring;
        let news = self.programs.await_guests(now, |node| wiring.is_connected(node));
        if !news.is_empty() {
            news.into_iter().for_each(|one| self.tell(Some(one)));
            self.start_programs();
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let links = self.wiring.names().filter_map(|name| self.wiring.problem(name));
        self.programs.problems().chain(self.faults.problems()).chain(links).collect()
    }

    fn show(&self, runner: &Loop) -> report::Lab {
        let problems = self.problems();
        let links = self.plan.lab.links.iter();
        report::Lab {
            name: self.name.clone(),
            pid: std::process::id(),
            keeper: self.keeper.pid(),
            sandbox: sandbox::state(),
            file: self.file.as_ref().map(|file| file.path.clone()),
            seed: self.plan.seed,
            state: match (self.is_ready, problems.is_empty()) {
                (false, _) => State::Starting,
                (true, true) => State::Ready,
                (true, false) => State::Degraded,
            },
            problems,
            nodes: self.nodes.report(&self.plan, &self.programs, &self.faults, &self.guests),
            links: links.filter_map(|link| self.wiring.report(runner, &link.name)).collect(),
        }
    }

    /// Answers at once, or promises an answer.
    fn answer_path(
        &mut self,
        runner: &mut Loop,
        request: &Request,
        path: &[&str],
    ) -> Result<Answer> {
        Ok(match (request.method, path) {
            (Method::Get, ["lab"]) if requests::has_all_counters(request)? => Answer::Later,
            (Method::Get, ["lab"]) => value(&self.show(runner)).into(),
            (Method::Get, ["lab", "networks"]) => value(&self.nodes.networks(&self.plan)).into(),
            (Method::Get, ["lab", "events"]) => {
                value(&self.journal.after(requests::number_of(request, "after")?)).into()
            }
            (Method::Get, ["lab", "logs"]) => {
                let name = |key: &str| requests::name_of(request, key);
                let from = requests::number_of(request, "from")?;
                value(&self.programs.logs(name("node")?, name("program")?, from)).into()
            }
            (Method::Get, ["lab", "nodes", node, "door"]) => {
                let key = self.nodes.host(&self.plan, node)?;
                self.ask(runner, request.from, Order::Door(key))?
            }
            (Method::Post, ["lab", "nodes", node, "exec"]) => {
                let key = self.nodes.host(&self.plan, node)?;
                let command = command(key, &request.body)?;
                self.ask(runner, request.from, Order::Command(Box::new(command)))?
            }
            (Method::Patch, ["lab", "links", name]) => {
                self.link(name)?;
                Answer::Later
            }
            (Method::Post, ["lab", "links", name, "capture"]) => {
                self.cable(name)?;
                Answer::Later
            }
            (Method::Post, ["lab", verb @ ("fail" | "heal")]) => {
                self.fail_or_heal(runner, request, *verb == "fail")?
            }
            (Method::Post, ["lab", "apply"]) => Answer::Later,
            _ => Answer::Now(Reply::unknown_path(request)),
        })
    }

    /// Gives an order whose result is the reply.
    fn ask(&mut self, runner: &mut Loop, client: http::Ticket, order: Order) -> Result<Answer> {
        let task = self.tasks.begin(Some(client), Then::Reply);
        self.order(task, order, Purpose::Reply);
        self.finish(runner, task);
        self.send(runner)?;
        Ok(Answer::Promised)
    }

    fn link(&self, name: &str) -> Result<LinkName> {
        let known = self.plan.lab.link(name).map(|link| link.name.clone());
        known.ok_or_else(|| unknown("link", name))
    }

    /// The link of a request, and its cable in this process.
    fn cable(&self, name: &str) -> Result<(LinkName, CableId)> {
        let name = self.link(name)?;
        match self.wiring.cable(&name) {
            Some(cable) => Ok((name, cable)),
            None => {
                let message = format!("no packet of link '{name}' passes this process");
                let hint = "Capture at the interface at its end.";
                Err(Error::new(Kind::Conflict, &crate::keeper::PART, message).hint(hint))
            }
        }
    }

    fn fail_or_heal(
        &mut self,
        runner: &mut Loop,
        request: &Request,
        fails: bool,
    ) -> Result<Answer> {
        let (link, node) = (|name: &str| self.link(name), |name: &str| self.nodes.name(name));
        let wanted = Wanted::read(&request.body, link, node)?;
        let done = if fails { self.faults.fail(&wanted) } else { self.faults.heal(&wanted)? };
        let task = self.tasks.begin(Some(request.from), Then::Changed);
        self.impose(runner, task);
        let state = if fails { "failed" } else { "healed" };
        for (part, what) in &done {
            self.journal.part(part, state, what);
        }
        if let Some(task) = self.tasks.get_mut(task) {
            task.done = done.into_iter().map(|(_, what)| what).collect();
        }
        self.finish(runner, task);
        self.start_programs();
        self.send(runner)?;
        Ok(Answer::Promised)
    }

    /// Reports what a link is like now.
    fn report_netem(&mut self, name: &LinkName) -> Vec<String> {
        let Some(profiles) = self.wiring.profiles(name) else { return Vec::new() };
        let ways = [("a to b", &profiles.a_to_b), ("b to a", &profiles.b_to_a)];
        let shown =
            |(way, profile)| format!("link {name}, {way}: {}", keys_text(&to_json(profile)));
        let done: Vec<String> = ways.into_iter().map(shown).collect();
        for what in &done {
            self.journal.part(name, "changed", what);
        }
        done
    }

    /// Makes links and programs as they must be with what fails.
    pub(super) fn impose(&mut self, runner: &mut Loop, task: TaskId) {
        let mut orders = Vec::new();
        for link in &self.plan.lab.links {
            let fails = self.faults.fails(link);
            orders.extend(self.wiring.set_failed(runner, &link.name, fails));
        }
        for node in self.faults.nodes() {
            orders.extend(self.programs.kill(node, |pipe| runner.unwatch(pipe)));
        }
        self.programs.revive(|node| self.faults.has_node(node));
        for order in orders {
            self.order(task, order, Purpose::Plain);
        }
    }
}

fn unknown(what: &str, name: &str) -> Error {
    let message = format!("the lab has no {what} called '{name}'");
    Error::new(Kind::NotFound, &crate::keeper::PART, message)
        .object(name)
        .hint("List its parts: 'adit lab show'.")
}

impl Service for LabService {
    type Engine = LabEngine;
    type Change = Change;
    type Report = report::Lab;

    const ROUTES: &'static [Route] = ROUTES;

    fn job(&self, trigger: &Trigger) -> Result<Job<Change>> {
        let (file, client) = match trigger {
            Trigger::Reload(client) => {
                let file = self.file.clone();
                let file =
                    file.ok_or_else(|| Error::usage("the lab was not started from a file"))?;
                (file, *client)
            }
            Trigger::Request(request) => {
                let segments = request.segments();
                let path: Vec<&str> = segments.iter().map(String::as_str).collect();
                match path.as_slice() {
                    ["lab", "links", name] => {
                        let name = self.link(name)?;
                        let base = self.wiring.profiles(&name).cloned().unwrap_or_default();
                        let (body, files) = (request.body.clone(), request.files);
                        let client = Some(request.from);
                        // The kernel joins its ends: it is made again, and joined by the loop.
                        let is_plain = self.wiring.cable(&name).is_none();
                        let plain = is_plain.then(|| (self.plan.clone(), self.guests.clone()));
                        return Ok(Box::new(move || {
                            let profiles =
                                read_request(&body, files, |table| profile::of_table(table, base))?;
                            let Some((old, guests)) = plain else {
                                return Ok(Change::Netem(name, Box::new(profiles)));
                            };
                            let checked = profiles.a_to_b.check().and(profiles.b_to_a.check());
                            checked.map_err(Error::usage)?;
                            let plan = old.emulated(&name, profiles);
                            let diff = Diff::between(Some(&old), &plan);
                            let (prepared, of_link) = (Prepared::nothing(guests), Some(name));
                            let new = NewPlan { plan, diff, prepared, client, of_link };
                            Ok(Change::Plan(Box::new(new)))
                        }));
                    }
                    ["lab", "links", name, "capture"] => {
                        let (name, _) = self.cable(name)?;
                        let path = capture_file(request)?;
                        return Ok(Box::new(move || {
                            let port = MirrorPort::of_frames(&path, name.as_str())?;
                            Ok(Change::Capture(name, Box::new(port)))
                        }));
                    }
                    ["lab", "apply"] => {
                        (lab_file(request, self.file.as_ref())?, Some(request.from))
                    }
                    _ => {
                        let ends = self.nodes.kernel_ends(&self.wiring);
                        return Ok(Box::new(move || Ok(Change::Kernel(kernel::count(ends)))));
                    }
                }
            }
        };
        let (old, seed) = (self.plan.clone(), self.plan.seed);
        let (has_users, guests) = (self.keeper.lacks_ids().is_none(), self.guests.next());
        Ok(Box::new(move || {
            let plan = confine::read(&file)?;
            // A seed that is not in the file stays what it was.
            let mut plan = if plan.lab.seed.is_none() { plan.reseeded(seed) } else { plan };
            routing::check(&plan, has_users)?;
            complete::complete(&mut plan);
            let diff = Diff::between(Some(&old), &plan);
            let prepared = Prepared::open(&plan, Some(&old), &diff, guests)?;
            let new = NewPlan { plan, diff, prepared, client, of_link: None };
            Ok(Change::Plan(Box::new(new)))
        }))
    }

    fn apply(&mut self, runner: &mut Loop, change: Change) -> Result<Progress<Change>> {
        match change {
            Change::Plan(new) => {
                let NewPlan { plan, diff, prepared, client, of_link } = *new;
                let old = std::mem::replace(&mut self.plan, plan.clone());
                self.journal.configure_log(plan.lab.log.as_ref());
                let task = self.tasks.begin(client, Then::Changed);
                let changed = self.change(runner, task, Some(&old), &plan, &diff, prepared);
                if let Err(error) = changed {
                    self.tasks.fail(task, error);
                }
                self.faults.retain(&plan);
                self.impose(runner, task);
                if !diff.gone_nodes.is_empty()
                    || diff.hosts.iter().any(|of| !of.interfaces.is_empty())
                {
                    for node in self.nodes.hosts(&plan).collect::<Vec<_>>() {
                        self.order(task, Order::ForgetNeighbors(node), Purpose::Plain);
                    }
                }
                if let Some(name) = of_link {
                    let done = self.report_netem(&name);
                    self.tasks.get_mut(task).into_iter().for_each(|task| task.done = done.clone());
                }
                self.finish(runner, task);
                self.start_programs();
                self.send(runner)?;
                Ok(Progress::Promised)
            }
            Change::Netem(name, profiles) => {
                self.wiring.set_netem(runner, &name, (*profiles).clone())?;
                // What the file says comes back with the next change to it.
                let mut links = self.plan.lab.links.iter_mut();
                if let Some(link) = links.find(|link| link.name == name) {
                    link.netem = Some(*profiles);
                }
                Ok(Progress::Done(Done::new(self.report_netem(&name))))
            }
            Change::Capture(name, port) => {
                let cable = self.cable(name.as_str())?;
                self.captures.add(runner, cable, port)?;
                Ok(Progress::Done(Done::new(vec![format!("link {name} is captured")])))
            }
            Change::Kernel(counts) => {
                for (link, end, counters) in counts {
                    self.wiring.set_kernel(&link, end, counters);
                }
                let reply = value(&self.show(runner))?;
                Ok(Progress::Done(Done { lines: Vec::new(), reply }))
            }
        }
    }

    fn answer(&mut self, runner: &mut Loop, request: &Request) -> Answer {
        self.journal.set_now(runner.now());
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        self.answer_path(runner, request, &path).unwrap_or_else(|error| Answer::Now(error.into()))
    }

    fn metrics(&mut self, runner: &mut Loop) -> Box<dyn Snapshot> {
        self.sample(runner)
    }

    fn report(&self, runner: &Loop) -> report::Lab {
        self.show(runner)
    }

    fn replies(&mut self) -> Vec<(http::Ticket, Result<Value>)> {
        std::mem::take(&mut self.replies)
    }

    fn event(&mut self, runner: &mut Loop, event: LoopEvent) -> Next {
        self.journal.set_now(runner.now());
        match event {
            LoopEvent::Ready(KEEPER) => {
                if let Err(error) = self.receive(runner) {
                    self.failure.get_or_insert(error);
                    // It would be ready forever.
                    runner.unwatch(&self.keeper);
                }
            }
            LoopEvent::Ready(LIFE) => return Next::Stop,
            LoopEvent::Ready(Token(number)) if number >= OUTPUT => {
                self.read_output(runner, ProgramKey(number - OUTPUT));
            }
            LoopEvent::PortGone { port, .. } if self.captures.port_gone(runner, port) => {}
            LoopEvent::PortGone { port, why, .. } => {
                if let Some(link) = self.wiring.port_gone(port, &why.to_string()) {
                    self.journal.part(&link, "down", format!("link {link} has lost an end: {why}"));
                }
            }
            LoopEvent::Accepted(listener, port) => {
                match self.wiring.accepted(runner, listener, port) {
                    Some(Ok(link)) => {
                        self.journal.part(&link, "up", format!("link {link} is connected"));
                        self.await_guests(runner.now());
                    }
                    Some(Err(error)) => self.journal.failed(&error),
                    None => {}
                }
            }
            LoopEvent::ListenerGone(_, error) => {
                self.journal.failed(format!("a listener has ended: {error}"));
            }
            LoopEvent::Alarm => {
                self.await_guests(runner.now());
                self.journal.flush();
                runner.set_alarm(Some(runner.now() + TICK));
            }
            _ => {}
        }
        if self.failure.is_some() { Next::Stop } else { Next::Continue }
    }
}
