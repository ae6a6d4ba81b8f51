//! Configuration files in TOML, read so that all errors of a file are reported at once, each with its
//! place and a suggestion.
//!
//! A reader asks a [`Table`](table::Table) for the keys that it knows and gives the type of each; a key
//! that no reader asked for is unknown. Errors go to [`Problems`](problems::Problems), and reading
//! continues:
//!
//! ```text
//! let source = Source::read(path)?;
//! let problems = Problems::default();
//! let mut table = read::toml(&source, &problems);
//! let mtu = table.get("mtu", value::integer(68..=65_521u32));
//! for mut port in table.tables("port") {
//!     let spec = port.required("port", value::text);
//!     port.finish();
//! }
//! table.finish();
//! problems.check("lab.toml")?;   // Err lists them all
//! ```
//!
//! The options of a port on the command line (`tap:a,vlan=10`) and the JSON of a request are read by the
//! same functions: see [`read`].

pub use adit_host::problem;

pub mod entry;
pub mod problems;
pub mod read;
pub mod schema;
pub mod source;
pub mod suggest;
pub mod table;
pub mod value;
mod words;

#[cfg(test)]
mod tests;
