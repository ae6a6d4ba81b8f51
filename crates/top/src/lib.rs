//! What runs on this machine: its health, and a live view of it. This is what `adit status` and `adit top` show.
//!
//! ```text
//! control sockets, netlink --> Machine --+--> Status    what is wrong, and one line for each service
//!                                        |
//!                                        +--> Tables    rows of each tab, with rates and their history
//!                                               |
//!                                               +--> View     what is selected, sorted and filtered
//!                                                      |
//!                                                      +--> frame: lines of styled text --> terminal, or plain text
//! ```
//!
//! A crate because of ratatui, which other crates must not bring along. Nothing here changes anything.
//!
//! ```no_run
//! use adit_top::{Machine, Status};
//! use std::time::Duration;
//!
//! let before = Machine::collect(false);
//! std::thread::sleep(Duration::from_secs(1));
//! let status = Status::of(Some(&before), &Machine::collect(false));
//! for problem in &status.problems {
//!     println!("{}: {}", problem.service, problem.finding.message);
//! }
//! ```
#![forbid(unsafe_code)]

mod cell;
mod codes;
pub mod columns;
mod frame;
mod keys;
mod machine;
mod meter;
mod spark;
mod status;
mod tables;
mod terminal;
mod view;

pub use cell::Cell;
pub use codes::CATALOG;
pub use machine::{Device, Machine, Report, Service};
pub use spark::Charset;
pub use status::{Problem, ServiceRow, State, Status};
pub use tables::{Tab, Table, Tables};
pub use terminal::{Ended, Look, once, run};
pub use view::View;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
