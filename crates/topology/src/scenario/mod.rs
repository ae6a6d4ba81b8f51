//! Scenarios: what happens in a lab, and what must be true then.
//!
//! A [`Scenario`] is plain data: steps with events and expectations. [`read`](read::read) reads it from a file.
//! [`run`](run::run) plays it in any [`World`](world::World): a lab that runs, or one in virtual time. The result is a
//! [`Report`](report::Report).
//!
//! ```toml
//! [[step]]
//! at = "2s"
//! fail = "uplink"
//! [[step]]
//! expect = ["ping pc server within 20ms", "throughput pc server >= 90mbit", "route pc to server via gw"]
//! ```

pub mod expect;
pub mod junit;
pub mod names;
mod part;
pub mod read;
pub mod report;
pub mod run;
mod step;
mod traffic;
mod words;
pub mod world;

pub use part::{Part, Target};
pub use step::{Event, Scenario, Setting, Start, Step};
pub use traffic::{Amount, Protocol, Traffic};
