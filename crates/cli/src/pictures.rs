//! Charts on the terminal and in files.

use crate::output::Output;
use adit_chart::{Charset, Page};
use adit_service::error::{Error, Result};
use adit_service::file;
use schemars::JsonSchema;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Where charts go besides the terminal.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Files {
    /// Write the charts to an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the charts to a single HTML file, with their numbers
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The mode of a picture: everybody may read it.
const PICTURE_MODE: u32 = 0o644;

/// Width of plots if the terminal size is unknown.
const WIDTH: usize = 80;

/// Lines of a plot in a terminal.
const HEIGHT: usize = 9;

impl Files {
    /// Whether there are any.
    pub(crate) const fn is_empty(&self) -> bool {
        self.svg.is_none() && self.html.is_none()
    }

    /// What is done, for `--dry-run`.
    pub(crate) fn actions(&self) -> Vec<String> {
        let files = self.svg.iter().chain(&self.html);
        files.map(|path| format!("write {}", path.display())).collect()
    }

    /// Opens them, for a program that opens no file later.
    pub(crate) fn open(&self) -> Result<Opened> {
        let open = |path: &Option<PathBuf>| match path {
            None => Ok(None),
            Some(path) => File::create(path)
                .map(|file| Some((path.clone(), file)))
                .map_err(|error| Error::io("write", path.display(), &error)),
        };
        Ok(Opened([open(&self.svg)?, open(&self.html)?]))
    }

    /// Writes them.
    pub(crate) fn write(&self, page: &Page) -> Result<()> {
        for (path, drawn) in [&self.svg, &self.html].into_iter().zip(DRAWN) {
            let Some(path) = path else { continue };
            file::check_folder(path)
                .and_then(|()| file::replace(path, drawn(page), PICTURE_MODE))
                .map_err(|error| Error::io("write", path.display(), &error))?;
        }
        Ok(())
    }
}

/// How the files are drawn: SVG, HTML.
const DRAWN: [fn(&Page) -> String; 2] = [adit_chart::svg, adit_chart::html];

/// Files for charts that are open.
#[derive(Debug)]
pub(crate) struct Opened([Option<(PathBuf, File)>; 2]);

impl Opened {
    /// Writes them.
    pub(crate) fn write(self, page: &Page) -> Result<()> {
        for (opened, drawn) in self.0.into_iter().zip(DRAWN) {
            let Some((path, mut file)) = opened else { continue };
            let written = file.write_all(drawn(page).as_bytes());
            written.map_err(|error| Error::io("write", path.display(), &error))?;
        }
        Ok(())
    }
}

/// Prints the charts as plots of characters.
pub(crate) fn print(page: &Page, output: &Output) -> Result<()> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let width = size.map_or(WIDTH, |size| usize::from(size.ws_col)).clamp(40, 160);
    for line in lines(page, width, Charset::of_environment()) {
        output.line(line)?;
    }
    Ok(())
}

/// A page as lines of text of at most `width` characters, except its notes.
pub(crate) fn lines(page: &Page, width: usize, charset: Charset) -> Vec<String> {
    let charts = page.charts.iter().map(|chart| adit_chart::text(chart, width, HEIGHT, charset));
    let drawn = charts.filter(|lines| !lines.is_empty());
    let spaced = drawn.flat_map(|lines| std::iter::once(String::new()).chain(lines));
    page.notes.iter().cloned().chain(spaced).collect()
}

/// Charts as numbers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit: charts as numbers")]
pub(crate) struct Numbers {
    /// What they are of.
    title: String,
    /// Lines of text.
    notes: Vec<String>,
    /// Those that have points.
    charts: Vec<Chart>,
}

/// A chart as numbers.
#[derive(Debug, Serialize, JsonSchema)]
struct Chart {
    /// What it shows.
    title: String,
    /// What the axis to the right measures.
    x: String,
    /// Names of the values 1, 2, ... of x; absent if they are numbers: seconds, bits per second, shares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// What the axis upwards measures.
    y: String,
    /// The lines.
    series: Vec<Line>,
}

/// A line as numbers.
#[derive(Debug, Serialize, JsonSchema)]
struct Line {
    /// Its name.
    name: String,
    /// Points (x, y).
    points: Vec<(f64, f64)>,
}

impl From<&Page> for Numbers {
    fn from(page: &Page) -> Self {
        let line = |series: &adit_chart::Series| Line {
            name: series.name.clone(),
            points: series.points.clone(),
        };
        let chart = |chart: &adit_chart::Chart| Chart {
            title: chart.title.clone(),
            x: chart.x.name.clone(),
            names: chart.x.names.clone(),
            y: chart.y.name.clone(),
            series: chart.series.iter().map(line).collect(),
        };
        let charts = page.charts.iter().filter(|chart| !chart.is_empty()).map(chart).collect();
        Self { title: page.title.clone(), notes: page.notes.clone(), charts }
    }
}
