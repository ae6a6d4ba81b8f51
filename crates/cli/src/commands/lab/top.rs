//! `adit lab top`.

use crate::commands::lab::which::{Which, has_ended};
use crate::commands::running::ask;
use crate::commands::top;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{clean, table};
use adit_lab::live::LAB;
use adit_packet::units::{Bitrate, parse_duration};
use adit_service::error::Result;
use adit_top::{Machine, Tab, View};
use adit_topology::report::{Lab, Link};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The busiest links come first. On a terminal this is the table of links of 'adit top', of this lab; otherwise it is printed \
each time.

Examples:
  adit lab top
  adit lab top --once --interval 5s
  adit -j lab top | jq .links[0]")]
pub(crate) struct Args {
    /// Measure once, print, and end
    #[arg(long)]
    once: bool,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    interval: Duration,
    #[command(flatten)]
    which: Which,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    parse_duration(text).map_err(|error| error.message().to_owned())
}

/// The rates of a lab.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab top: one line")]
pub(crate) struct Rates {
    /// How long was measured, in seconds.
    seconds: f64,
    /// Each link, the busiest first.
    links: Vec<Rate>,
}

/// The rates of a link.
#[derive(Debug, Serialize, JsonSchema)]
struct Rate {
    /// Its name.
    name: String,
    /// Bits a second that came from a.
    from_a_bits_per_second: u64,
    /// Bits a second that came from b.
    from_b_bits_per_second: u64,
    /// Frames a second that came from a; a super-packet is one.
    from_a_frames_per_second: u64,
    /// Frames a second that came from b.
    from_b_frames_per_second: u64,
    /// Frames a second that were dropped.
    dropped_per_second: u64,
}

impl Rate {
    fn new(before: Option<&Link>, now: &Link, seconds: f64) -> Self {
        let rate = |count: &dyn Fn(&Link) -> u64, factor: f64| {
            let change = count(now).saturating_sub(before.map_or(0, count));
            #[expect(clippy::cast_precision_loss, reason = "rates are rounded")]
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "far from the limits"
            )]
            let rate = (change as f64 * factor / seconds).round() as u64;
            rate
        };
        Self {
            name: now.name.clone(),
            from_a_bits_per_second: rate(&|link| link.from_a.bytes, 8.0),
            from_b_bits_per_second: rate(&|link| link.from_b.bytes, 8.0),
            from_a_frames_per_second: rate(&|link| link.from_a.frames, 1.0),
            from_b_frames_per_second: rate(&|link| link.from_b.frames, 1.0),
            dropped_per_second: rate(&|link| super::show::dropped(link), 1.0),
        }
    }

    const fn bits(&self) -> u64 {
        self.from_a_bits_per_second.saturating_add(self.from_b_bits_per_second)
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        if !context.output.json && !self.once && top::is_screen() {
            let look = top::look(&context.output, self.interval);
            let source = move || Machine::of_one(&client, LAB);
            return top::live(source, View::default().tab(Tab::Links), &look);
        }
        let measure = || {
            Ok::<_, adit_service::error::Error>((
                Instant::now(),
                ask::<Lab>(&client, "/lab?counters=all")?,
            ))
        };
        let (mut at, mut before) = measure()?;
        loop {
            std::thread::sleep(self.interval);
            let (now, lab) = match measure() {
                Err(error) if !self.once && has_ended(&client, &error) => return Ok(Exit::Ok),
                result => result?,
            };
            let rates = rates(&before, &lab, now.duration_since(at));
            if context.output.json {
                context.output.value(&rates)?;
            } else {
                context.output.line(lines(&rates).join("\n"))?;
            }
            if self.once {
                return Ok(Exit::Ok);
            }
            (at, before) = (now, lab);
        }
    }
}

fn rates(before: &Lab, now: &Lab, time: Duration) -> Rates {
    let seconds = time.as_secs_f64();
    let known: HashMap<&str, &Link> =
        before.links.iter().map(|link| (link.name.as_str(), link)).collect();
    let links = now.links.iter();
    let mut links: Vec<Rate> =
        links.map(|link| Rate::new(known.get(&*link.name).copied(), link, seconds)).collect();
    links.sort_by_key(|rate| std::cmp::Reverse(rate.bits()));
    Rates { seconds, links }
}

fn lines(rates: &Rates) -> Vec<String> {
    let head = ["LINK", "FROM A", "FROM B", "FRAMES/S", "DROPPED/S"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let bits = |bits: u64| format!("{:#}", Bitrate::from_bits_per_second(bits));
    rows.extend(rates.links.iter().map(|rate| {
        let frames = rate.from_a_frames_per_second + rate.from_b_frames_per_second;
        vec![
            clean(&rate.name),
            bits(rate.from_a_bits_per_second),
            bits(rate.from_b_bits_per_second),
            frames.to_string(),
            rate.dropped_per_second.to_string(),
        ]
    }));
    table(&rows)
}
