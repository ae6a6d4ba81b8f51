//! `adit lab show`, `list`, `logs`.

use crate::commands::lab::which::{Which, has_ended, lab};
use crate::commands::running::{ask, list};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::show::link;
use adit_lab::live::LAB;
use adit_packet::units;
use adit_service::control::client::Client;
use adit_service::control::http::escape;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_service::netem::report::keys_text;
use adit_topology::report::{Lab, LogPart, Node, State};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Problems come first. Exits with status 1 if something failed. With the name of a node or a link, shows \
that alone.

Examples:
  adit lab show
  adit lab show uplink
  adit lab show --json | jq '.links[] | select(.state != \"up\")'")]
pub(crate) struct Args {
    /// The lab, a node or a link
    #[arg(value_name = "LAB|NODE|LINK")]
    word: Option<String>,
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let named: Option<Name> = self.word.as_ref().and_then(|word| word.parse().ok());
        let running = named.and_then(|name| Client::named(name, LAB).ok());
        let (client, part) = match running {
            Some(client) => (client, None),
            None => (self.which.client()?, self.word),
        };
        let mut report: Lab = ask(&client, "/lab?counters=all")?;
        if let Some(part) = part {
            report.nodes.retain(|node| node.name == part);
            report.links.retain(|link| link.name == part);
            if report.nodes.is_empty() && report.links.is_empty() {
                let message = format!("'{}' has no node and no link called '{part}'", report.name);
                return Err(Error::new(Kind::NotFound, &adit_lab::keeper::PART, message)
                    .hint("List its parts: 'adit lab show'."));
            }
        }
        let exit = if report.state == State::Degraded { Exit::NotSo } else { Exit::Ok };
        if context.output.json {
            context.output.value(&report)?;
            return Ok(exit);
        }
        for line in lines(&context.output, &report) {
            context.output.line(line)?;
        }
        Ok(exit)
    }
}

fn lines(output: &Output, report: &Lab) -> Vec<String> {
    let tone = match report.state {
        State::Ready => Tone::Good,
        State::Degraded => Tone::Bad,
        State::Starting => Tone::Faint,
    };
    let state = output.paint(tone, report.state.as_str());
    let mut lines = vec![format!(
        "{}: {state}, process {}, seed {}",
        clean(&report.name),
        report.pid,
        report.seed
    )];
    lines.extend(
        report
            .problems
            .iter()
            .map(|problem| format!("  {}", output.paint(Tone::Bad, clean(problem)))),
    );
    lines.extend(report.sandbox.as_ref().map(|sandbox| format!("sandbox: {sandbox}")));
    if !report.nodes.is_empty() {
        lines.extend(nodes(&report.nodes));
    }
    if report.links.is_empty() {
        return lines;
    }
    let head = ["LINK", "ENDS", "STATE", "FROM A", "FROM B", "DROPPED", "PROPERTIES"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in &report.links {
        let properties = one.netem.as_ref().map_or_else(String::new, |netem| {
            let (there, back) = (keys_text(&netem.a_to_b), keys_text(&netem.b_to_a));
            if there == back { there } else { format!("{there} / {back}") }
        });
        let dropped = dropped(one);
        rows.push(vec![
            one.name.clone(),
            one.ends.join(" - "),
            one.state.as_str().to_owned(),
            bytes(one.from_a.bytes),
            bytes(one.from_b.bytes),
            dropped.to_string(),
            properties,
        ]);
    }
    if !report.nodes.is_empty() {
        lines.push(String::new());
    }
    lines.extend(table(&rows));
    if let ([one], true) = (report.links.as_slice(), report.nodes.is_empty())
        && let Some(emulated) = &one.link
    {
        lines.push(String::new());
        let ways = [("a to b", &emulated.ingress), ("b to a", &emulated.egress)];
        let name = clean(&one.name);
        let text = ways.map(|(way, of)| link::lines(of, &format!("link {name}, {way}")));
        lines.extend(text.into_iter().flatten());
    }
    lines
}

/// The table of nodes.
fn nodes(nodes: &[Node]) -> Vec<String> {
    let mut rows = vec![["NODE", "KIND", "ADDRESSES", "PROGRAMS"].map(str::to_owned).to_vec()];
    for node in nodes {
        let addresses: Vec<&str> =
            node.interfaces.iter().flat_map(|of| &of.addresses).map(String::as_str).collect();
        let programs = node.programs.iter().map(|program| {
            let mut text = format!("{} {}", program.name, program.state.as_str());
            match program.restarts {
                0 => {}
                1 => text.push_str(" (started again once)"),
                restarts => text.push_str(&format!(" (started again {restarts} times)")),
            }
            text
        });
        let programs: Vec<String> = programs.collect();
        rows.push(vec![
            node.name.clone(),
            node.kind.clone(),
            addresses.join(" "),
            clean(&programs.join(", ")),
        ]);
    }
    table(&rows)
}

/// How many frames a link has dropped, also those that it was asked to lose.
pub(super) fn dropped(link: &adit_topology::report::Link) -> u64 {
    let ways = link.link.iter().flat_map(|of| [&of.ingress, &of.egress]);
    let emulated: u64 = ways.flat_map(|way| way.counts.drops()).map(|(count, _)| count).sum();
    let ways = link.link.iter().flat_map(|of| [&of.ingress, &of.egress]);
    let lost: u64 = ways.map(|way| way.counts.get("lost")).sum();
    link.from_a.dropped() + link.from_b.dropped() + emulated + lost
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    format!("{:#}", units::size(count))
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: adit lab list")]
pub(crate) struct ListArgs {}

impl ListArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        list(context, LAB)
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints what the programs of the lab have written to standard output and standard error, the last 64 KiB of each. \
With -f it continues until Ctrl-C or the end of the lab.

Examples:
  adit lab logs
  adit lab logs -f server
  adit lab logs server web")]
pub(crate) struct LogsArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// The program
    #[arg(value_name = "PROGRAM")]
    program: Option<String>,
    /// Continue with new output
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

/// How often new output is asked for.
const FOLLOW: Duration = Duration::from_millis(200);

impl LogsArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        let report = lab(&client)?;
        let node = self.node.as_deref();
        if node.is_some_and(|node| report.nodes.iter().all(|known| known.name != node)) {
            let message =
                format!("'{}' has no node called '{}'", report.name, node.unwrap_or_default());
            return Err(Error::new(Kind::NotFound, &adit_lab::keeper::PART, message));
        }
        let programs =
            report.nodes.iter().flat_map(|of| of.programs.iter().map(move |one| (of, one)));
        let wanted = programs.filter(|(of, one)| {
            node.is_none_or(|node| of.name == node)
                && self.program.as_ref().is_none_or(|program| one.name == *program)
        });
        let mut wanted: Vec<(String, String, u64)> =
            wanted.map(|(of, one)| (of.name.clone(), one.name.clone(), 0)).collect();
        let is_one = wanted.len() == 1;
        loop {
            for (node, program, from) in &mut wanted {
                let path = format!(
                    "/lab/logs?node={}&program={}&from={from}",
                    escape(node),
                    escape(program)
                );
                let parts: Vec<LogPart> = match ask(&client, &path) {
                    Err(error) if self.follow && has_ended(&client, &error) => {
                        return Ok(Exit::Ok);
                    }
                    result => result?,
                };
                for part in parts {
                    *from = part.to;
                    print(context, &part, is_one)?;
                }
            }
            if !self.follow {
                return Ok(Exit::Ok);
            }
            std::thread::sleep(FOLLOW);
        }
    }
}

fn print(context: &Context, part: &LogPart, is_one: bool) -> Result<()> {
    if context.output.json {
        if !part.text.is_empty() {
            context.output.value(part)?;
        }
        return Ok(());
    }
    for line in part.text.lines() {
        let line = clean(line);
        if is_one {
            context.output.line(line)?;
        } else {
            let from = format!("{}/{}", part.node, part.program);
            let from = context.output.paint(Tone::Name, clean(&from));
            context.output.line(format_args!("{from}: {line}"))?;
        }
    }
    Ok(())
}
