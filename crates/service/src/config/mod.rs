//! Configuration files in TOML, read so that all mistakes of a file are told at once, each with its
//! place and what helps.
//!
//! A reader asks a [`Table`](table::Table) for the keys that it knows, and each asks a [`Value`](value::Value) to be what it is to
//! be; what was not asked for is an unknown key. A mistake goes to [`Problems`](problem::Problems) and reading goes on:
//!
//! ```text
//! let source = Source::read(path)?;
//! let problems = Problems::default();
//! let mut table = source.parse(&problems);
//! let mtu = table.get("mtu", value::integer(68..=65_521u32));
//! for mut port in table.tables("port") {
//!     let spec = port.required("port", value::text);
//!     port.finish();
//! }
//! table.finish();
//! problems.check("lab.toml")?;   // Err lists them all
//! ```
//!
//! The options of a port on the command line (`tap:a,vlan=10`) are read by the same functions: see
//! [`Source::words`](source::Source::words).

pub mod problem;
pub mod source;
pub mod suggest;
pub mod table;
pub mod value;

#[cfg(test)]
mod tests;
