//! The events of a service in its log, and with `--json` on standard output, one line each.

use crate::output::Output;
use crate::show::{link, switch};
use adit_log::{Format, Log, Settings};
use adit_runtime::record::sink::{Sink, whole_lines};
use adit_service::error::Result;
use adit_service::event::{Event, Events, Observer};
use adit_service::log::{Filter, Levels, LogRequest, LogStatus, TargetId};
use serde_json::Value;
use std::time::Instant;
use tracing::level_filters::LevelFilter;

/// The options of the log, of every command that runs until it is stopped.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Log from this level on, for all or by target: 'debug', 'tunnel=debug,host=warn'; 'adit log' changes it later
    #[arg(long, value_name = "FILTER", env = "ADIT_LOG", hide_env_values = true)]
    log: Option<Filter>,
    /// Log as text, as lines of JSON, or to the journal; the default under systemd is the journal
    #[arg(long, value_name = "text|json|journal", env = "ADIT_LOG_FORMAT", hide_env_values = true)]
    log_format: Option<Format>,
}

/// Where the events of a service go, beside its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    /// With `--json` to standard output.
    Stdout,
    /// With `--json` as the lines of the log: standard output is a port, or there is none.
    Log,
    /// Nowhere: `--json` is about something else.
    None,
}

/// Events of a service, to its log and as JSON.
struct Reporter {
    output: Output,
    log: Log,
    format: Format,
    target: TargetId,
    /// `None` after the reader has gone: that is no reason to stop the traffic.
    json: Option<Sink>,
    /// Lines that a slow reader of JSON left no room for.
    lost: u64,
}

impl LogArgs {
    /// Begins the log of a service; `target` is that of its events.
    pub(crate) fn begin(&self, output: &Output, target: TargetId, json: Json) -> Result<Events> {
        let is_line = json == Json::Log && output.json;
        let sink = (json == Json::Stdout && output.json).then(|| Sink::stdout(whole_lines).ok());
        let sink = sink.flatten();
        let all = Levels::all;
        let levels = match output.verbose {
            _ if output.quiet || sink.is_some() => all(LevelFilter::OFF),
            0 if !is_line => all(LevelFilter::INFO),
            0 | 1 => all(LevelFilter::INFO).with(target, LevelFilter::DEBUG),
            2 => all(LevelFilter::DEBUG),
            _ => all(LevelFilter::TRACE),
        };
        let usual = || if is_line { Format::Json } else { Format::of_environment() };
        let format = self.log_format.unwrap_or_else(usual);
        let (filter, colors) = (self.log.clone(), output.is_colored_on_stderr());
        let log = Log::install(Settings { target, levels, filter, format, colors })?;
        Ok(Events::new(Reporter {
            output: output.clone(),
            log,
            format,
            target,
            json: sink,
            lost: 0,
        }))
    }
}

impl Reporter {
    /// Adds a line of JSON without waiting for its reader.
    fn append(&mut self, event: &Event) {
        // The state after SIGUSR1 is for people.
        if matches!(event, Event::Status { .. }) {
            return;
        }
        if let Some(sink) = &mut self.json {
            // An event consists of numbers and strings: it always has a JSON form.
            let line = serde_json::to_string(event).unwrap_or_default() + "\n";
            match sink.append(line.as_bytes(), Instant::now()) {
                Ok(true) => {}
                Ok(false) => self.lost += 1,
                // `flush` sees what fails here.
                Err(failure) => self.lost += failure.lost,
            }
        }
        self.flush();
    }

    /// The text of an event for people, where it is not its message; `None` if it is not printed.
    fn text(&self, event: &Event) -> Option<String> {
        let is_tunnel = self.target == TargetId::TUNNEL;
        match event {
            Event::Ready { .. } if is_tunnel && self.format == Format::Text => {
                Some("up".to_owned())
            }
            Event::Status { .. } if is_tunnel => None,
            Event::LinkEnded { port, link } => Some(link::of_port(port, link).join("\n")),
            Event::Status { status } => Some(self.status(status)),
            event => Some(event.to_string()),
        }
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

impl Observer for Reporter {
    fn event(&mut self, event: &Event) {
        self.append(event);
        match (self.format, event) {
            (Format::Json, Event::Status { .. }) => {}
            (Format::Json, event) => self.log.event(event, None),
            (_, event) => {
                if let Some(text) = self.text(event) {
                    self.log.event(event, Some(text));
                }
            }
        }
    }

    fn flush(&mut self) {
        let Some(sink) = &mut self.json else { return };
        if let Err(failure) = sink.flush() {
            self.lost += failure.lost;
            self.json = None;
        }
        let has_room = self.json.as_ref().is_none_or(|sink| !sink.is_pending());
        if has_room && self.lost > 0 {
            let message =
                format!("warning: {} events were lost: their reader is too slow", self.lost);
            self.lost = 0;
            self.log.event(&Event::Note { message }, None);
        }
    }

    fn start(&mut self) {
        self.log.start();
    }

    fn log(&mut self, request: LogRequest) -> Result<LogStatus> {
        self.log.log(request)
    }
}
