//! Events on standard error for people, or with `--json` on standard output, one line each.

use crate::output::{Output, clean};
use crate::show::{link, switch};
use adit_runtime::record::sink::{Sink, whole_lines};
use adit_service::event::{Event, Events, Observer};
use serde_json::Value;
use std::time::Instant;

/// Prints events without ever waiting for their reader: lines that a slow reader leaves no room for are
/// lost.
struct Printer {
    output: Output,
    /// `None` after the reader has gone: that is no reason to stop the traffic.
    sink: Option<Sink>,
}

/// Events of a service that prints them.
pub(crate) fn printed(output: &Output) -> Events {
    let sink = if output.json { Sink::stdout(whole_lines) } else { Sink::stderr(whole_lines) };
    Events::new(Printer { output: output.clone(), sink: sink.ok() })
}

/// Prints events on standard error; `up` says that it is ready.
struct Notes {
    output: Output,
    /// As in [`Printer`]. `None` in the background, which replaces standard error by /dev/null.
    sink: Option<Sink>,
    in_background: bool,
}

/// Events of a tunnel on standard error, or whatever a program in the background makes of it.
pub(crate) fn noted(output: &Output, in_background: bool) -> Events {
    let sink = if in_background { None } else { Sink::stderr(whole_lines).ok() };
    Events::new(Notes { output: output.clone(), sink, in_background })
}

/// Adds a line without waiting.
fn append(sink: &mut Option<Sink>, text: &str) {
    if let Some(open) = sink {
        // `flush` sees what fails here.
        let _ = open.append(format!("{text}\n").as_bytes(), Instant::now());
    }
    flush(sink);
}

/// Writes what its reader takes now.
fn flush(sink: &mut Option<Sink>) {
    if sink.as_mut().is_some_and(|sink| sink.flush().is_err()) {
        *sink = None;
    }
}

/// The line of an event; `None` for the state after SIGUSR1, which is for people.
fn json(event: &Event) -> Option<String> {
    // An event consists of numbers and strings: it always has a JSON form.
    serde_json::to_string(event).ok().filter(|_| !matches!(event, Event::Status { .. }))
}

/// Whether people see it with `-v` only.
const fn is_detail(event: &Event) -> bool {
    matches!(
        event,
        Event::Detail { .. } | Event::PeerConnected { .. } | Event::PeerDisconnected { .. }
    )
}

impl Observer for Notes {
    fn event(&mut self, event: &Event) {
        let Self { output, sink, in_background } = self;
        let text = match event {
            event if output.json => json(event),
            Event::Status { .. } | Event::Ready { .. } => None,
            event if is_detail(event) && output.verbose == 0 => None,
            event => Some(event.to_string()),
        };
        match text.filter(|_| !output.quiet) {
            Some(text) if *in_background => output.note(text),
            Some(text) => append(sink, &text),
            None => {}
        }
    }

    fn flush(&mut self) {
        flush(&mut self.sink);
    }
}

impl Printer {
    /// The line or lines of an event; `None` if it is not printed.
    fn text(&self, event: &Event) -> Option<String> {
        if self.output.json {
            return json(event);
        }
        if self.output.quiet || is_detail(event) && self.output.verbose == 0 {
            return None;
        }
        Some(match event {
            Event::LinkEnded { port, link } => link::of_port(&clean(port), link).join("\n"),
            Event::Status { status } => self.status(status),
            // Each line by itself: `clean` would escape the ends of lines.
            event => event.to_string().lines().map(clean).collect::<Vec<_>>().join("\n"),
        })
    }

    /// A status as `show` prints it.
    fn status(&self, status: &Value) -> String {
        let switch = serde_json::from_value(status.clone());
        let link = serde_json::from_value(status.clone());
        match (switch, link) {
            (Ok(status), _) => switch::switch(&self.output, &status),
            (_, Ok(status)) => link::status(&self.output, &status),
            _ => status.to_string(),
        }
    }
}

impl Observer for Printer {
    fn event(&mut self, event: &Event) {
        let Some(text) = self.text(event) else { return };
        append(&mut self.sink, &text);
    }

    fn flush(&mut self) {
        flush(&mut self.sink);
    }
}
