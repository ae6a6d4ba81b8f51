//! What is wrong on this machine, and a line for each service.

use crate::codes::{NO_ANSWER, STALE};
use crate::machine::{Machine, Report, Service};
use adit_service::health::{Finding, Health};
use adit_service::switch::model::State as PortState;
use adit_topology::report::State as LabState;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// What is wrong on this machine, and its services.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "adit status")]
pub struct Status {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The services, those with problems first.
    pub services: Vec<ServiceRow>,
}

/// Something that is wrong with a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// The service; empty: the machine.
    pub service: String,
    /// What the service is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// What is wrong, why, and what to do.
    #[serde(flatten)]
    pub finding: Finding,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServiceRow {
    /// Whether it is well.
    pub state: State,
    /// Its name.
    pub name: String,
    /// What it is: switch, netem, tunnel, nat, lab; empty if it does not answer.
    pub kind: String,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// For how many seconds it has run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// Its version of adit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its control socket.
    pub socket: String,
    /// How many problems it has.
    pub problems: usize,
    /// What it consists of, in a few words.
    pub summary: String,
}

/// Whether a service is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Something is wrong with it.
    Problem,
    /// It has ended and left its socket.
    Stale,
    /// It does not answer.
    NoAnswer,
    /// This user may not ask it.
    NoAccess,
    /// Nothing is known to be wrong.
    Ok,
}

impl State {
    /// Its words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Stale => "stale",
            Self::NoAnswer => "no answer",
            Self::NoAccess => "no access",
            Self::Ok => "ok",
        }
    }
}

impl Status {
    /// What is wrong now; with an earlier state also what grows.
    #[must_use]
    pub fn of(before: Option<&Machine>, now: &Machine) -> Self {
        let mut problems: Vec<Problem> = Vec::new();
        let mut services: Vec<ServiceRow> = Vec::new();
        for service in &now.services {
            let earlier = before.and_then(|before| {
                let found = before.services.iter().find(|one| is_same(one, service))?;
                Some((&found.report, now.at.saturating_duration_since(before.at)))
            });
            let findings = findings(service, earlier);
            services.push(row(service, findings.len()));
            let (name, kind) = (&service.name, &service.kind);
            problems.extend(findings.into_iter().map(|finding| Problem {
                service: name.clone(),
                kind: kind.clone(),
                finding,
            }));
        }
        let of_machine = |finding: &Finding| Problem {
            service: String::new(),
            kind: String::new(),
            finding: finding.clone(),
        };
        problems.extend(now.left.iter().map(of_machine));
        services.sort_by_key(|row| row.state);
        Self { ok: problems.is_empty(), problems, services }
    }
}

/// Whether both are the same process.
fn is_same(one: &Service, other: &Service) -> bool {
    (&one.socket, &one.name, one.pid) == (&other.socket, &other.name, other.pid)
}

fn findings(service: &Service, before: Option<(&Report, Duration)>) -> Vec<Finding> {
    macro_rules! judge {
        ($now:expr, $pattern:pat => $before:expr) => {
            $now.findings(before.and_then(|(report, over)| match report {
                $pattern => Some((&**$before, over)),
                _ => None,
            }))
        };
    }
    match &service.report {
        Report::Switch(now, _) => judge!(now, Report::Switch(before, _) => before),
        Report::Netem(now) => judge!(now, Report::Netem(before) => before),
        Report::Nat(now, _) => judge!(now, Report::Nat(before, _) => before),
        Report::Tunnel(now) => judge!(now, Report::Tunnel(before) => before),
        Report::Lab(now) => judge!(now, Report::Lab(before) => before),
        Report::Stale => {
            let message = format!("nobody listens at {}", service.socket);
            vec![Finding::new(&STALE, "", message)]
        }
        Report::NoAnswer(why) => vec![Finding::new(&NO_ANSWER, "", why)],
        Report::NoAccess | Report::Other => Vec::new(),
    }
}

fn row(service: &Service, problems: usize) -> ServiceRow {
    let state = match &service.report {
        Report::Stale => State::Stale,
        Report::NoAnswer(_) => State::NoAnswer,
        Report::NoAccess => State::NoAccess,
        _ if problems > 0 => State::Problem,
        _ => State::Ok,
    };
    ServiceRow {
        state,
        name: service.name.clone(),
        kind: service.kind.clone(),
        pid: service.pid,
        uptime_s: service.uptime_s,
        version: service.version.clone(),
        socket: service.socket.clone(),
        problems,
        summary: summary(&service.report),
    }
}

fn summary(report: &Report) -> String {
    match report {
        Report::Switch(switch, _) => {
            let is_there = |state| !matches!(state, PortState::Down | PortState::Gone);
            let up = switch.ports.iter().filter(|port| is_there(port.state)).count();
            let addresses = match switch.fdb_entries {
                1 => "1 address".to_owned(),
                count => format!("{count} addresses"),
            };
            format!("{up} of {} up, {addresses}", many(switch.ports.len(), "port"))
        }
        Report::Netem(link) => {
            let ends: Vec<&str> = link.ports.iter().map(|end| end.name.as_str()).collect();
            ends.join(" to ")
        }
        Report::Nat(nat, _) => format!("{}, {}", nat.device, many(nat.flows, "flow")),
        Report::Tunnel(tunnel) => {
            let connected = tunnel.peers.iter().filter(|peer| peer.connected).count();
            format!("{connected} of {} connected", many(tunnel.peers.len(), "peer"))
        }
        Report::Lab(lab) => {
            let state = match lab.state {
                LabState::Degraded => "not as wanted",
                state => state.as_str(),
            };
            let (nodes, links) = (many(lab.nodes.len(), "node"), many(lab.links.len(), "link"));
            format!("{state}, {nodes}, {links}")
        }
        Report::NoAccess => "run as root, or as its user".to_owned(),
        Report::Other | Report::Stale | Report::NoAnswer(_) => String::new(),
    }
}

/// `1 port`, `2 ports`.
fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests::{machine, tunnel};

    #[test]
    fn a_machine_without_problems_is_ok() {
        let status = Status::of(None, &machine(vec![tunnel("wg0", 100, None)]));
        assert!(status.ok && status.problems.is_empty(), "{status:?}");
        assert_eq!(status.services[0].summary, "1 of 1 peer connected");
        assert!(Status::of(None, &machine(Vec::new())).ok, "nothing runs");
    }

    #[test]
    fn services_with_problems_come_first_and_growth_needs_the_same_process() {
        let silent = tunnel("wg1", 100, Some(23.0));
        let mut gone = tunnel("old", 100, None);
        gone.report = Report::Stale;
        let mut closed = tunnel("closed", 100, None);
        closed.report = Report::NoAccess;
        let now = machine(vec![tunnel("wg0", 100, None), closed, silent, gone]);
        let status = Status::of(Some(&now), &now);
        let states: Vec<_> =
            status.services.iter().map(|row| (&*row.name, row.state.as_str())).collect();
        let expected =
            [("wg1", "problem"), ("old", "stale"), ("closed", "no access"), ("wg0", "ok")];
        assert_eq!(states, expected);
        let codes: Vec<_> = status.problems.iter().map(|one| &*one.finding.code).collect();
        assert_eq!(codes, ["ADIT-E0860", "ADIT-E0868"]);
        assert!(!status.ok);
    }
}
