//! Charts with axes, ticks and units: as SVG, as an HTML page and for a terminal.
//!
//! ```text
//! Chart {title, axes, series} ---> text    lines of characters
//! Page {title, notes, charts} -+-> svg     a picture, readable on light and on dark ground
//!                              +-> html    one file, with the numbers as tables
//! ```
//!
//! ```
//! use adit_chart::{Axis, Charset, Chart, Kind, Series, Unit, text};
//!
//! let chart = Chart {
//!     title: "Delay CDF".to_owned(),
//!     x: Axis::new("Delay", Unit::Seconds),
//!     y: Axis::new("Packets", Unit::Share),
//!     kind: Kind::Line,
//!     series: vec![Series::new("a to b", vec![(0.020, 0.0), (0.022, 0.5), (0.030, 1.0)])],
//! };
//! let lines = text(&chart, 60, 8, Charset::Ascii);
//! assert_eq!(lines[0], "Delay CDF");
//! assert!(lines.last().is_some_and(|line| line.trim() == "Delay (ms)"));
//! assert!(lines.iter().all(|line| line.len() <= 60));
//! ```
//!
//! Points whose coordinates are not finite are left out. Values are in the unit of their axis: seconds, bits per
//! second, shares of 0 to 1; the axis chooses milliseconds or Mbit/s by the highest value.
#![forbid(unsafe_code)]

mod chart;
mod html;
mod range;
mod svg;
mod text;

pub use chart::{Axis, Chart, Kind, Page, Series, Unit};
pub use html::html;
pub use svg::svg;
pub use text::{Charset, text};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
