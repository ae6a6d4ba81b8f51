//! `adit lab graph`.

use crate::commands::lab::wanted::Wanted;
use crate::commands::lab::which::Which;
use crate::commands::running::ask;
use crate::context::Context;
use crate::exit::Exit;
use adit_chart::Charset;
use adit_service::error::{Error, Result};
use adit_service::file;
use adit_service::text::clean;
use adit_topology::graph::{Drawing, dot, svg, text};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The width where standard output is no terminal.
const WIDTH: usize = 80;

/// How long the traffic of a running lab is measured.
const MEASURED: Duration = Duration::from_millis(500);

/// The mode of a picture.
const SVG_MODE: u32 = 0o644;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The tree begins at the way out, or at the node with most links. A name in brackets is a link to a node that stands \
elsewhere in the tree. Of a running lab (-l, or without FILE the one that runs), links show their state, bits per second \
in both directions, and dropped packets.

Examples:
  adit lab graph office.toml
  adit lab graph -l office
  adit lab graph office.toml --svg office.svg
  adit lab graph office.toml --dot | dot -Tpdf >office.pdf")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    which: Which,
    /// Write an SVG picture to this file
    #[arg(long, value_name = "FILE", group = "form")]
    svg: Option<PathBuf>,
    /// Print the graph for Graphviz
    #[arg(long, group = "form")]
    dot: bool,
    /// Print a tree (default)
    #[arg(long, group = "form")]
    text: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let drawing = if self.which.is_given() || (!self.wanted.is_given() && self.which.is_one()) {
            running(self.which)?
        } else {
            Drawing::of(&self.wanted.read()?.plan)
        };
        if let Some(path) = &self.svg {
            let write = file::replace(path, svg(&drawing), SVG_MODE);
            write.map_err(|error| Error::io("write", path.display(), &error))?;
        }
        if context.output.json {
            context.output.value(&drawing)?;
        } else if self.dot {
            context.output.bytes(dot(&drawing).as_bytes())?;
        } else if self.svg.is_none() {
            let size = rustix::termios::tcgetwinsize(std::io::stdout());
            let width = size.map_or(WIDTH, |size| usize::from(size.ws_col));
            for line in text(&drawing, width).lines() {
                let line = clean(line);
                match Charset::of_environment() {
                    Charset::Unicode => context.output.line(line)?,
                    Charset::Ascii => {
                        context.output.line(line.chars().map(ascii).collect::<String>())?
                    }
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// A lab that runs, with its traffic.
fn running(which: Which) -> Result<Drawing> {
    let client = which.client()?;
    let before = ask(&client, "/lab?counters=all")?;
    let begin = Instant::now();
    std::thread::sleep(MEASURED);
    let now = ask(&client, "/lab?counters=all")?;
    Ok(Drawing::of_running(&before, &now, begin.elapsed()))
}

/// The sign for a terminal without others.
const fn ascii(c: char) -> char {
    match c {
        '├' | '│' => '|',
        '└' => '`',
        '─' => '-',
        '→' => '>',
        '←' => '<',
        '…' => '~',
        c => c,
    }
}
