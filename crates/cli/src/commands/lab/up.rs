//! `adit lab up`.

use crate::commands::background::{Detached, detach};
use crate::commands::lab::wanted::Wanted;
use crate::commands::sandbox::SandboxArgs;
use crate::commands::web::Web;
use crate::context::Context;
use crate::exit::Exit;
use crate::show::events::{Json, LogArgs};
use adit_lab::live::{self, DEGRADED, Options};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_service::event::{Event, Events, Observer};
use adit_service::log::{LogRequest, LogStatus, TargetId};
use adit_topology::model::Kind;
use adit_topology::plan::Plan;
use std::os::fd::AsFd;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the network of a file: namespaces, links, addresses, routes; then starts the programs of each node, one after \
the other. It is ready once every program is. Needs no root: as another user, the lab has a user namespace of its own.

If a program cannot start, or is not ready in time, the rest of the lab runs all the same; -d returns status 1 then, \
and prints what is wrong.

Runs until Ctrl-C, SIGTERM or 'adit lab down'; with -d in the background. SIGHUP reads the file again and changes what \
differs. Its programs, namespaces and interfaces end with it, even after SIGKILL.

Examples:
  adit lab up office.toml
  adit lab up -d office.toml --set delay=80ms
  adit lab exec pc -- ping -c 3 server; adit lab down")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Name of the lab, for the other subcommands
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    #[command(flatten)]
    web: Web,
    /// Return when the lab is ready; it continues in the background
    #[arg(short, long)]
    detach: bool,
    /// Marks the background process
    #[arg(long, hide = true)]
    detached: bool,
    /// End when standard input is closed
    #[arg(long, hide = true)]
    while_stdin: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// What a start would do, for `--dry-run`.
fn actions(plan: &Plan) -> Vec<String> {
    let mut actions = Vec::new();
    for node in &plan.lab.nodes {
        let name = &node.name;
        actions.push(match &node.kind {
            Kind::Host(host) if host.forward => format!("make router {name}"),
            Kind::Host(_) => format!("make host {name}"),
            Kind::Switch(_) => format!("run switch {name}"),
            Kind::Nat(_) => format!("run NAT {name}"),
            Kind::Guest(_) => format!("run virtual machine {name}"),
            Kind::Outside(port) => format!("open {port} as {name}"),
        });
    }
    for (number, link) in plan.lab.links.iter().enumerate() {
        let ends = [0, 1].map(|end| plan.end_text(number, end));
        actions.push(format!("join {} and {} by link {}", ends[0], ends[1], link.name));
    }
    for node in &plan.lab.nodes {
        for program in node.as_host().map_or(&[][..], |host| &host.programs) {
            actions.push(format!("start {} in {}", program.words.join(" "), node.name));
        }
    }
    actions
}

/// Lets the parent go once the lab is ready, with status 1 if not all of it is.
struct Background {
    events: Events,
    exit: Exit,
    /// `None` once the parent is gone.
    detached: Option<Detached>,
}

impl Observer for Background {
    fn event(&mut self, event: &Event) {
        self.events.send(event);
        match event {
            Event::Part { state, .. } if state == DEGRADED => self.exit = Exit::NotSo,
            Event::Ready { .. } => {
                if let Some(detached) = self.detached.take() {
                    detached.notify_ready(self.exit);
                }
            }
            _ => {}
        }
    }

    fn flush(&mut self) {
        self.events.flush();
    }

    fn start(&mut self) {
        self.events.start();
    }

    fn log(&mut self, request: LogRequest) -> Result<LogStatus> {
        self.events.log(request)
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let wanted = self.wanted.read()?.plan;
        if context.is_rehearsal(&actions(&wanted))? {
            return Ok(Exit::Ok);
        }
        if self.detach {
            return detach();
        }
        let file = self.wanted.lab_file()?;
        // A trial beside the lab of the same file has other things to do.
        let of_file = wanted.lab.metrics.filter(|_| !self.while_stdin);
        let (name, metrics) = (self.name, self.web.address()?.or(of_file));
        let sandbox = self.sandbox.level;
        if self.detached {
            let events = self.log.begin(output, TargetId::LAB, Json::Log)?;
            let detached = Some(Detached::leave_terminal());
            let events = Events::new(Background { events, exit: Exit::Ok, detached });
            live::run(wanted, Options { file, name, metrics, life: None, sandbox }, events)?;
        } else {
            let life = self.while_stdin.then(|| std::io::stdin().as_fd().try_clone_to_owned());
            let life =
                life.transpose().map_err(|error| Error::io("read", "standard input", &error))?;
            let events = self.log.begin(output, TargetId::LAB, Json::Stdout)?;
            live::run(wanted, Options { file, name, metrics, life, sandbox }, events)?;
        }
        Ok(Exit::Ok)
    }
}
