//! The events of a lab, for those who ask later what happened.

use adit_packet::Instant;
use adit_service::event::{Event, Events};
use adit_service::log::Filter;
use adit_topology::report::Happened;
use std::collections::VecDeque;
use std::fmt;

/// The most events that are kept: a program that ends once a second for a quarter of an hour.
const KEPT_MAX: usize = 1024;

/// The state of a lab as a part: it is ready but for the problems in the message. [`Event::Ready`] follows.
///
/// [`Event::Ready`]: adit_service::event::Event::Ready
pub const DEGRADED: &str = "degraded";

/// Reports events, and keeps the last of them.
#[derive(Debug)]
pub(super) struct Journal {
    events: Events,
    begin: Instant,
    now: Instant,
    kept: VecDeque<Happened>,
    count: u64,
}

impl Journal {
    pub(super) const fn new(events: Events, begin: Instant) -> Self {
        Self { events, begin, now: begin, kept: VecDeque::new(), count: 0 }
    }

    /// The time of what is reported from now on.
    pub(super) const fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Sets the filter of the file.
    pub(super) fn configure_log(&self, filter: Option<&Filter>) {
        self.events.configure_log(filter);
    }

    pub(super) fn send(&mut self, event: &Event) {
        self.events.send(event);
        self.count += 1;
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        let at_s = self.now.since(self.begin).as_secs_f64();
        let text = event.to_string();
        // Numbers and strings.
        let event = serde_json::to_value(event).unwrap_or_default();
        self.kept.push_back(Happened { number: self.count, at_s, text, event });
    }

    /// A part of the lab has changed: a node, a link, a program.
    pub(super) fn part(
        &mut self,
        part: impl fmt::Display,
        state: &str,
        message: impl fmt::Display,
    ) {
        let (part, message) = (part.to_string(), message.to_string());
        self.send(&Event::Part { part, state: state.to_owned(), message });
    }

    pub(super) fn failed(&mut self, message: impl fmt::Display) {
        self.send(&Event::Failed { message: message.to_string() });
    }

    /// Those after a number.
    pub(super) fn after(&self, number: u64) -> Vec<Happened> {
        self.kept.iter().filter(|one| one.number > number).cloned().collect()
    }

    pub(super) fn flush(&self) {
        self.events.flush();
    }
}
