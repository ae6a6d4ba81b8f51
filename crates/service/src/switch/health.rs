//! What is wrong with a switch.

use crate::health::{Finding, Growth, Health, LOOP, PORT_DOWN, TABLE_FULL};
use crate::switch::model::{Counters, Port, State, Switch};
use std::time::Duration;

impl Health for Switch {
    fn findings(&self, before: Option<(&Self, Duration)>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.ports.iter().filter_map(out_of_order).collect();
        if self.fdb_limit > 0 && self.fdb_entries >= self.fdb_limit {
            let message = format!("the table has all its {} addresses", self.fdb_limit);
            findings.push(Finding::new(&TABLE_FULL, "", message));
        }
        if let Some((before, over)) = before {
            let of = |name: &str| before.ports.iter().find(|port| port.name == name);
            let drops = self.ports.iter().filter_map(|now| {
                let before = of(&now.name)?;
                let mut growth = Growth::default();
                note(&mut growth, &before.ingress, &now.ingress);
                note(&mut growth, &before.egress, &now.egress);
                growth.finding(&now.name, over)
            });
            findings.extend(drops);
        }
        findings
    }
}

/// Adds the growth of the counters of one way.
pub fn note(growth: &mut Growth, before: &Counters, now: &Counters) {
    growth.passed(before.frames, now.frames);
    for (why, count) in &now.drops {
        growth.dropped(why, before.drops.get(why).copied().unwrap_or(0), *count);
    }
}

/// The finding that a port does not take part.
fn out_of_order(port: &Port) -> Option<Finding> {
    let why = port.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    match port.state {
        State::Down => Some(Finding::new(&PORT_DOWN, &port.name, "its link is down")),
        State::Gone => Some(Finding::new(&PORT_DOWN, &port.name, format!("it is gone{why}"))),
        State::Blocked => Some(Finding::new(&LOOP, &port.name, "it is blocked because of a loop")),
        State::Forwarding | State::Mirror | State::Listening => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::model;
    use adit_engine::switch::{PortConfig, PortState, SwitchConfig};

    fn switch(states: &[(&str, Option<PortState>)]) -> Switch {
        let mut switch = model::switch("lan".to_owned(), &SwitchConfig::default(), 3);
        let config = PortConfig::default();
        let port =
            |&(name, state): &(&str, _)| model::port((name, name), &config, state, None, None);
        switch.ports = states.iter().map(port).collect();
        switch
    }

    #[test]
    fn ports_that_take_no_part_are_findings() {
        let forwarding = Some(PortState::Forwarding);
        let mut switch = switch(&[("a", forwarding), ("b", Some(PortState::Down)), ("c", None)]);
        switch.ports[2].reason = Some("the guest has ended".to_owned());
        let found = switch.findings(None);
        let found: Vec<_> =
            found.iter().map(|one| (&*one.code, &*one.object, &*one.message)).collect();
        assert_eq!(
            found,
            [
                ("ADIT-E0862", "b", "its link is down"),
                ("ADIT-E0862", "c", "it is gone: the guest has ended"),
            ]
        );
        switch.fdb_entries = switch.fdb_limit;
        assert_eq!(switch.findings(None)[2].code, "ADIT-E0864");
    }

    #[test]
    fn growing_drops_of_a_port_are_a_finding() {
        let before = switch(&[("a", Some(PortState::Forwarding))]);
        let mut now = before.clone();
        now.ports[0].egress.drops.insert("queue full".to_owned(), 50);
        now.ports[0].ingress.frames = 50;
        assert_eq!(now.findings(None), []);
        assert_eq!(now.findings(Some((&now, Duration::from_secs(1)))), []);
        let found = now.findings(Some((&before, Duration::from_secs(1))));
        assert_eq!((found.len(), &*found[0].object), (1, "a"));
        assert!(found[0].message.contains("50 %: queue full 50"), "{found:?}");
    }
}
