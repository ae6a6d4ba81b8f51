//! `adit lab ping`.

use crate::commands::lab::which::{Which, unknown};
use crate::commands::running::ask;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, table};
use adit_lab::probe::{self, BATCH, Ping, Prober};
use adit_packet::units::parse_duration;
use adit_service::error::{Error, Result};
use adit_topology::report::Network;
use schemars::JsonSchema;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Pings between all pairs of hosts, or from the first of the given ones to the others, and prints the times as a matrix: \
one row per sending host. Exits with status 1 if a reply is missing.

Examples:
  adit lab ping
  adit lab ping pc server
  adit lab ping -6 --within 5s")]
pub(crate) struct Args {
    /// The host that pings, and its targets [default: all pairs]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Ping IPv6 addresses
    #[arg(short = '6', long)]
    ipv6: bool,
    /// How long to wait for a reply: 2s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    within: Duration,
    #[command(flatten)]
    which: Which,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    parse_duration(text).map_err(|error| error.message().to_owned())
}

/// What the pings of a lab found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab ping")]
pub(crate) struct Pinged {
    /// How many pings were sent.
    sent: usize,
    /// How many were answered.
    answered: usize,
    /// Each ping.
    pings: Vec<One>,
}

/// A ping.
#[derive(Debug, Serialize, JsonSchema)]
struct One {
    /// Who asked.
    from: String,
    /// Who was asked.
    to: String,
    /// The address.
    address: IpAddr,
    /// The time of the reply, in seconds; none: no reply came.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_s: Option<f64>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        let mut networks: Vec<Network> = ask(&client, "/lab/networks")?;
        if let Some(node) =
            self.nodes.iter().find(|node| networks.iter().all(|network| network.node != **node))
        {
            return Err(unknown(node, &client));
        }
        if let [first, others @ ..] = self.nodes.as_slice() {
            let place = |network: &Network| match &network.node {
                name if name == first => 0,
                name => 1 + others.iter().position(|node| node == name).unwrap_or(others.len()),
            };
            networks.retain(|network| self.nodes.contains(&network.node));
            networks.sort_by_key(place);
        }
        // Guests come last.
        let hosts = networks.iter().take_while(|network| network.net.is_some()).count();
        let senders = if self.nodes.is_empty() { hosts } else { 1 };
        if let (0, Some(guest)) = (hosts, networks.first()) {
            let message =
                format!("'{}' is a virtual machine, in which adit sends nothing", guest.node);
            return Err(Error::usage(message).hint("Name a host first: it pings the guest."));
        }
        let pairs: Vec<(usize, usize, IpAddr)> = pairs(&networks, senders, self.ipv6);
        if pairs.is_empty() {
            let family = if self.ipv6 { "IPv6" } else { "IPv4" };
            return Err(Error::usage(format!("no two hosts of the lab have {family} addresses")));
        }
        let namespaces = probe::namespaces(&networks[..senders])?;
        let failed = |error| Error::io("ping", "from the nodes", &error);
        let mut prober = Prober::open(&namespaces).map_err(failed)?;
        let pings: Vec<Ping> = pairs.iter().map(|&(from, _, to)| Ping { from, to }).collect();
        let times = prober.ping(&pings, self.within).map_err(failed)?;
        let answered = times.iter().flatten().count();
        let exit = if answered == times.len() { Exit::Ok } else { Exit::NotSo };
        let one =
            |(&(from, to, address), time): (&(usize, usize, IpAddr), &Option<Duration>)| One {
                from: networks[from].node.clone(),
                to: networks[to].node.clone(),
                address,
                rtt_s: time.map(|time| time.as_secs_f64()),
            };
        let pings: Vec<One> = pairs.iter().zip(&times).map(one).collect();
        let pinged = Pinged { sent: times.len(), answered, pings };
        if context.output.json {
            context.output.value(&pinged)?;
            return Ok(exit);
        }
        let names: Vec<&str> = networks.iter().map(|network| network.node.as_str()).collect();
        let cells: Vec<(usize, usize, Option<Duration>)> =
            pairs.iter().zip(&times).map(|(&(from, to, _), time)| (from, to, *time)).collect();
        for line in matrix(&context.output, &names, senders, &cells) {
            context.output.line(line)?;
        }
        context.output.line(format_args!("{answered} of {} pings were answered", times.len()))?;
        Ok(exit)
    }
}

/// Who asks whom, at which address. Both directions of a pair are in one batch, because they need the same neighbors; the
/// second one follows when the first has taught the other host the address of its neighbor.
fn pairs(networks: &[Network], senders: usize, is_v6: bool) -> Vec<(usize, usize, IpAddr)> {
    let address = |network: &Network| {
        let is_it = |ip: &&IpAddr| ip.is_ipv6() == is_v6;
        network.addresses.iter().find(is_it).copied()
    };
    let all: Vec<Option<IpAddr>> = networks.iter().map(address).collect();
    let both: Vec<(usize, usize)> =
        (0..networks.len()).flat_map(|a| (0..a).map(move |b| (b, a))).collect();
    let ways = both.chunks(BATCH / 2).flat_map(|part| {
        let there = part.iter().copied();
        there.chain(part.iter().map(|&(b, a)| (a, b)))
    });
    let ping = |(from, to): (usize, usize)| {
        all[from].filter(|_| from < senders)?;
        Some((from, to, all[to]?))
    };
    ways.filter_map(ping).collect()
}

/// The most hosts of a matrix; of more, only the pairs without a reply are listed.
const MATRIX_MAX: usize = 24;

fn matrix(
    output: &Output,
    names: &[&str],
    senders: usize,
    cells: &[(usize, usize, Option<Duration>)],
) -> Vec<String> {
    let shown = |time: Option<Duration>| match time {
        Some(time) => format!("{:.2}", time.as_secs_f64() * 1e3),
        None => "X".to_owned(),
    };
    if names.len() > MATRIX_MAX {
        let missing = cells.iter().filter(|(_, _, time)| time.is_none());
        let line = |(from, to, _): &(usize, usize, _)| {
            let text = format!("{} does not reach {}", names[*from], names[*to]);
            output.paint(Tone::Bad, text)
        };
        return missing.map(line).collect();
    }
    let mut rows =
        vec![std::iter::once("ms").chain(names.iter().copied()).map(str::to_owned).collect()];
    for from in 0..senders {
        let mut row: Vec<String> = vec![names[from].to_owned()];
        row.extend((0..names.len()).map(|to| {
            let cell = cells.iter().find(|cell| (cell.0, cell.1) == (from, to));
            cell.map_or_else(|| "-".to_owned(), |(_, _, time)| shown(*time))
        }));
        rows.push(row);
    }
    table(&rows)
}
