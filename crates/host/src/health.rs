//! What is wrong with a service, as far as its own reports show it.
//!
//! ```text
//! report, and an earlier one -- Health::findings --> Finding {code, object, what is wrong, cause, remedy}
//! ```
//!
//! A judgement is a function of reports alone: the program that runs, and programs that watch it, come to the same.

use crate::error::Entry;
use adit_engine::DropReason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The stable code, for `adit explain`.
    pub code: String,
    /// The port, peer or part that it is about; empty: the whole service.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// Why that happens.
    pub cause: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding of this kind on `object`.
    pub fn new(entry: &Entry, object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self {
            code: entry.code.to_owned(),
            object: object.to_string(),
            message: message.to_string(),
            cause: entry.explanation.to_owned(),
            remedy: entry.remedy.to_owned(),
        }
    }
}

/// A report that can be judged.
pub trait Health {
    /// What is wrong, the most important first. With an earlier report, and how much earlier it was, also what
    /// grows: drops.
    fn findings(&self, before: Option<(&Self, Duration)>) -> Vec<Finding>;
}

/// Packets are dropped.
const DROPS: Entry = Entry {
    code: "ADIT-E0861",
    title: "packets are being dropped",
    explanation: "A port, a peer or a NAT drops a share of its packets right now, for the reasons that are \
                  given. Loss that an emulated link was asked for is not counted, and neither is what a \
                  filter or guard forbids.",
    remedy: "Look at the reasons: 'adit top', tab Drops.",
};

/// A port does not take part.
pub const PORT_DOWN: Entry = Entry {
    code: "ADIT-E0862",
    title: "a port is down",
    explanation: "The link of the port is down, its device or connection has ended, or it could not be opened. \
                  No packet passes there.",
    remedy: "Look at the port: 'ip link', and the log of the service. A port that is gone comes back by a reload.",
};

/// A loop blocks a port.
pub const LOOP: Entry = Entry {
    code: "ADIT-E0863",
    title: "a loop blocks a port",
    explanation: "The switch has seen its own frames at this port: the network behind it leads back to another \
                  port of the switch. It forwards nothing there until the loop is gone.",
    remedy: "Remove one of the cables or bridges that make the loop.",
};

/// The codes of findings.
pub const CATALOG: [Entry; 4] = [DROPS, PORT_DOWN, LOOP, TABLE_FULL];

/// The table of addresses is full.
pub const TABLE_FULL: Entry = Entry {
    code: "ADIT-E0864",
    title: "the table of addresses is full",
    explanation: "The switch knows as many addresses as it may. Frames to others are flooded to all ports.",
    remedy: "Raise fdb-limit, or find out who sends from so many addresses: 'adit switch fdb'.",
};

/// Drops are a finding from this rate on, in packets per second, and from this share of all packets on: a stray
/// packet now and then is not.
const DROPS_PER_SECOND_MIN: f64 = 5.0;
const DROPS_SHARE_MIN: f64 = 0.01;

/// Drops that were asked for: a rule forbids the packet, a link loses it, or it stays where it belongs.
const WANTED: [DropReason; 13] = [
    DropReason::FILTERED,
    DropReason::ISOLATED,
    DropReason::RESERVED_ADDRESS,
    DropReason::MAC_GUARD,
    DropReason::IP_GUARD,
    DropReason::ARP_GUARD,
    DropReason::ND_GUARD,
    DropReason::DHCP_GUARD,
    DropReason::RA_GUARD,
    DropReason::LOSS,
    DropReason::OUTAGE,
    DropReason::SAME_PORT,
    DropReason::MULTICAST,
];

/// Remedies for reasons that have one.
const REMEDIES: [(DropReason, &str); 14] = [
    (
        DropReason::NO_BUFFER,
        "The program cannot keep up: give it a processor of its own, or lower the load.",
    ),
    (
        DropReason::QUEUE_FULL,
        "The receiver takes less than is sent: see whether it runs, and how busy it is.",
    ),
    (
        DropReason::NO_DESTINATION,
        "Connect the port that the packets are for, or remove its address.",
    ),
    (
        DropReason::TOO_BIG,
        "Lower the MTU at the sender, or raise that of the port: 'ip link set DEV mtu N'.",
    ),
    (DropReason::PORT_DOWN, "Set the link of the port up: 'ip link set DEV up'."),
    (DropReason::PORT_BLOCKED, LOOP.remedy),
    (
        DropReason::VLAN_FILTERED,
        "Compare the VLANs of the port with those that its neighbour sends.",
    ),
    (DropReason::NOT_AUTHENTIC, "Compare the public and preshared keys on both sides."),
    (DropReason::NO_PEER, "Add the destination to a peer's AllowedIPs, or remove the route to it."),
    (
        DropReason::SOURCE_NOT_ALLOWED,
        "Add the source to the peer's AllowedIPs, or correct the peer's address.",
    ),
    (DropReason::NO_SESSION, "See whether the peer runs, and whether UDP to its endpoint passes."),
    (
        DropReason::OUT_OF_FLOWS,
        "Raise flow-limit, or find the host that has so many: 'adit nat flows'.",
    ),
    (DropReason::NO_NEIGHBOUR, "See whether the guest runs and has the address."),
    (DropReason::STORM, "Find the host that sends so many broadcasts: 'adit capture'."),
];

/// The reason of that name, if an engine of this workspace has it.
fn reason(name: &str) -> Option<DropReason> {
    DropReason::KNOWN.into_iter().find(|reason| reason.as_str() == name)
}

/// What a reason of drops means; empty if it is unknown.
#[must_use]
pub fn meaning(name: &str) -> &'static str {
    reason(name).map_or("", DropReason::meaning)
}

/// Whether drops of that reason were asked for.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    WANTED.iter().any(|wanted| wanted.as_str() == name)
}

/// Counters that grew between two reports.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    passed: u64,
    drops: Vec<(String, u64)>,
}

impl Growth {
    /// Adds packets that passed.
    pub const fn passed(&mut self, before: u64, now: u64) {
        self.passed = self.passed.saturating_add(now.saturating_sub(before));
    }

    /// Adds packets that were dropped for a reason, if it was not asked for.
    pub fn dropped(&mut self, reason: &str, before: u64, now: u64) {
        let count = now.saturating_sub(before);
        if count == 0 || is_wanted(reason) {
            return;
        }
        match self.drops.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.drops.push((reason.to_owned(), count)),
        }
    }

    /// The finding that `object` drops packets, if it drops enough of them in this time.
    #[must_use]
    pub fn finding(mut self, object: impl fmt::Display, over: Duration) -> Option<Finding> {
        self.drops.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let sum: u64 = self.drops.iter().map(|drop| drop.1).fold(0, u64::saturating_add);
        let seconds = over.as_secs_f64();
        let rate = float(sum) / seconds;
        let share = float(sum) / float(sum.saturating_add(self.passed));
        if seconds <= 0.0 || sum == 0 || rate < DROPS_PER_SECOND_MIN || share < DROPS_SHARE_MIN {
            return None;
        }
        let top = &self.drops.first()?.0;
        let each = self.drops.iter().take(REASONS_MAX);
        let each: Vec<String> = each.map(|(why, count)| format!("{why} {count}")).collect();
        let message = format!(
            "{rate:.0} packets/s are dropped, {:.0} %: {} in {seconds:.1} s",
            share * 100.0,
            each.join(", "),
        );
        let mut finding = Finding::new(&DROPS, object, message);
        if let Some(reason) = reason(top) {
            finding.cause = format!("{top}: {}", reason.meaning());
            let remedy = REMEDIES.iter().find(|(known, _)| *known == reason);
            finding.remedy = remedy.map_or(DROPS.remedy, |(_, remedy)| remedy).to_owned();
        }
        Some(finding)
    }
}

/// As many reasons are listed.
const REASONS_MAX: usize = 4;

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn drops_are_a_finding_if_they_are_many_and_were_not_asked_for() {
        let finding = |passed: u64, drops: &[(&str, u64)], over| {
            let mut growth = Growth::default();
            growth.passed(100, 100 + passed);
            drops.iter().for_each(|(why, count)| growth.dropped(why, 7, 7 + count));
            growth.finding("a", over)
        };
        assert_eq!(finding(10, &[], SECOND), None);
        assert_eq!(finding(10, &[("queue full", 4)], SECOND), None, "too few");
        assert_eq!(finding(10, &[("queue full", 40)], SECOND * 10), None, "too seldom");
        assert_eq!(finding(99_990, &[("queue full", 40)], SECOND), None, "too small a share");
        assert_eq!(finding(0, &[("filtered", 4000), ("loss", 100)], SECOND), None, "asked for");
        assert_eq!(finding(0, &[("queue full", 40)], Duration::ZERO), None, "no time");
        let found = finding(50, &[("no buffer", 10), ("queue full", 40)], SECOND * 2).unwrap();
        assert_eq!(found.code, "ADIT-E0861");
        assert_eq!(
            found.message,
            "25 packets/s are dropped, 50 %: queue full 40, no buffer 10 in 2.0 s"
        );
        assert_eq!(found.cause, "queue full: The queue that the packet had to wait in was full.");
        assert!(found.remedy.contains("receiver"), "{found:?}");
        // A counter that began again, and a reason of an engine elsewhere.
        let mut growth = Growth::default();
        growth.dropped("queue full", 1000, 3);
        growth.dropped("mine", 0, 100);
        let found = growth.finding("a", SECOND).unwrap();
        assert_eq!(found.message, "100 packets/s are dropped, 100 %: mine 100 in 1.0 s");
        assert_eq!((&*found.cause, &*found.remedy), (DROPS.explanation, DROPS.remedy));
    }
}
