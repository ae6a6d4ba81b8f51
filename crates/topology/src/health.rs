//! What is wrong with a lab that runs.

use crate::report::{Lab, State};
use adit_service::error::Entry;
use adit_service::health::{Finding, Growth, Health};
use adit_service::switch::health::note;
use std::collections::HashMap;
use std::time::Duration;

/// A part is not as wanted.
const PART: Entry = Entry {
    code: "ADIT-E0867",
    title: "a part of the lab is not as wanted",
    explanation: "A program of a node has failed, or a node or link is down. That includes what was made to fail by \
                  'adit lab fail'.",
    remedy: "Look at the part: 'adit lab show' and 'adit lab logs'. What was made to fail comes back by 'adit lab heal'.",
};

/// The codes of findings about labs.
pub const CATALOG: [Entry; 1] = [PART];

impl Health for Lab {
    fn findings(&self, before: Option<(&Self, Duration)>) -> Vec<Finding> {
        let problems = self.problems.iter().filter(|_| self.state != State::Starting);
        let mut findings: Vec<Finding> =
            problems.map(|problem| Finding::new(&PART, "", problem)).collect();
        if let Some((before, over)) = before {
            let of: HashMap<&str, _> =
                before.links.iter().map(|link| (link.name.as_str(), link)).collect();
            findings.extend(self.links.iter().filter_map(|now| {
                let before = of.get(now.name.as_str())?;
                let mut growth = Growth::default();
                note(&mut growth, &before.from_a, &now.from_a);
                note(&mut growth, &before.from_b, &now.from_b);
                growth.finding(&now.name, over)
            }));
        }
        findings
    }
}
