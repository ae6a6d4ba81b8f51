//! `adit top`.

use crate::commands::status;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, table};
use adit_chart::Charset as OfChart;
use adit_packet::units::parse_duration;
use adit_service::error::{Error, Result};
use adit_top::{
    Cell, Charset, Ended, Look, Machine, Problem, ServiceRow, Status, Tab, Tables, View,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows what runs on this machine: devices, ports and addresses of switches, peers, links, flows, drops by reason. What is \
wrong stands at the top of each table. '?' lists the keys. Rows with something wrong are marked with '!'; nothing is shown \
by colour alone. Where the locale is not UTF-8, ASCII is used.

On a terminal it runs until 'q'. Without one, or if TERM is 'dumb', the table is printed as lines in each interval.

Examples:
  adit top
  adit top --once --table drops
  adit top --table peers --filter site
  adit -j top --once | jq .tables.peers")]
pub(crate) struct Args {
    /// Print one screen and end
    #[arg(long)]
    once: bool,
    /// The time between two turns
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    interval: Duration,
    /// The table to begin with
    #[arg(long, value_name = "TABLE", default_value = "services", value_parser = tab())]
    table: Tab,
    /// Only rows that contain this text
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
}

/// The shortest interval: services are asked in each.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

fn time(text: &str) -> std::result::Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.message().to_owned())?;
    if time < INTERVAL_MIN { Err("the shortest interval is 100ms".to_owned()) } else { Ok(time) }
}

/// The names of the tables.
fn tab() -> impl TypedValueParser<Value = Tab> {
    let named = |name: &String| Tab::ALL.into_iter().find(|&tab| key(tab) == *name);
    PossibleValuesParser::new(Tab::ALL.map(key)).try_map(move |name| named(&name).ok_or("unknown"))
}

/// The name of a table on the command line and in JSON.
fn key(tab: Tab) -> String {
    tab.name().to_ascii_lowercase()
}

/// What a turn shows.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit top: one line")]
pub(crate) struct Turn {
    /// How long counters were watched for the rates, in seconds.
    seconds: f64,
    /// What is wrong.
    problems: Vec<Problem>,
    /// The services.
    services: Vec<ServiceRow>,
    /// The rows of each table, with their columns by name.
    tables: BTreeMap<String, Vec<BTreeMap<&'static str, Cell>>>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let view = View::default().tab(self.table).filter(self.filter);
        let mut source = || Machine::collect(true);
        if output.json || !self.once && !is_screen() {
            return turns(source, &view, self.interval, self.once, output);
        }
        let look = look(output, self.interval);
        if self.once {
            for line in adit_top::once(&mut source, view, &look, size()) {
                output.line(line)?;
            }
            return Ok(Exit::Ok);
        }
        live(source, view, &look)
    }
}

/// Whether standard output is a terminal on which a screen can be drawn.
pub(super) fn is_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !is_dumb
}

/// How a screen looks here.
pub(super) fn look(output: &Output, interval: Duration) -> Look {
    let charset = match OfChart::of_environment() {
        OfChart::Unicode => Charset::Unicode,
        OfChart::Ascii => Charset::Ascii,
    };
    Look { charset, has_color: output.is_colored(), interval }
}

/// Runs the live view.
pub(super) fn live(
    source: impl FnMut() -> Machine + Send + 'static,
    view: View,
    look: &Look,
) -> Result<Exit> {
    let ended = adit_top::run(source, view, look);
    match ended.map_err(|error| Error::io("draw on", "the terminal", &error))? {
        Ended::Quit => Ok(Exit::Ok),
        Ended::Signal(number) => Ok(Exit::Program(number.saturating_add(128))),
    }
}

/// The size of the screen that is printed: that of the terminal, or else 80 columns and 24 lines.
fn size() -> (usize, usize) {
    let found = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    let found = found.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    found.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// Prints a turn in each interval.
fn turns(
    mut source: impl FnMut() -> Machine,
    view: &View,
    interval: Duration,
    is_one: bool,
    output: &Output,
) -> Result<Exit> {
    let mut tables = Tables::default();
    let mut before = source();
    tables.update(&before, &Status::of(None, &before));
    loop {
        std::thread::sleep(interval);
        let now = source();
        let status = Status::of(Some(&before), &now);
        tables.update(&now, &status);
        if output.json {
            let values = Tab::ALL.map(|tab| (key(tab), tables.values(tab)));
            output.value(&Turn {
                seconds: now.at.duration_since(before.at).as_secs_f64(),
                problems: status.problems,
                services: status.services,
                tables: values.into(),
            })?;
        } else {
            for problem in &status.problems {
                let line = status::headline(problem, output);
                output.line(format_args!("! {line}"))?;
            }
            table(&view.texts(&tables)).into_iter().try_for_each(|line| output.line(line))?;
            output.line("")?;
        }
        if is_one {
            return Ok(Exit::Ok);
        }
        before = now;
    }
}
