//! What is wrong with a NAT.

use crate::health::{Finding, Growth, Health};
use crate::nat::model::Nat;
use std::time::Duration;

impl Health for Nat {
    fn findings(&self, before: Option<(&Self, Duration)>) -> Vec<Finding> {
        let drops = before.and_then(|(before, over)| {
            let mut growth = Growth::default();
            growth.passed(before.received, self.received);
            growth.passed(before.sent, self.sent);
            for (why, count) in &self.dropped {
                growth.dropped(why, before.dropped.get(why).copied().unwrap_or(0), *count);
            }
            growth.finding("", over)
        });
        drops.into_iter().collect()
    }
}
