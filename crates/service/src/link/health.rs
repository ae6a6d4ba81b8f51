//! What is wrong with an emulated link.

use crate::health::{Finding, Health, PORT_DOWN};
use crate::netem::report::LinkStatus;
use std::time::Duration;

/// What a link drops was asked for, but not that an end of it is gone.
impl Health for LinkStatus {
    fn findings(&self, _: Option<(&Self, Duration)>) -> Vec<Finding> {
        let gone = self.ports.iter().filter_map(|end| Some((end, end.gone.as_ref()?)));
        gone.map(|(end, why)| Finding::new(&PORT_DOWN, &end.name, format!("it is gone: {why}")))
            .collect()
    }
}
