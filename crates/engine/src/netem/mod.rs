//! A link with delay, loss and rate, in software. # Theory of operation
//!
//! [`Link`] is one direction of a link without I/O: packets are pushed in and popped when they are due.
//! [`Netem`] is an engine of two ports with a link in each direction. A [`Profile`] is the configuration of a
//! link, a [`Report`] its measured behaviour.
//!
//! ```text
//!  push -> outage -> corrupt -> loss -> duplicate -> queue -> line -> delay, jitter -> reorder -> pop
//!          at once: decided as the packet comes      (CoDel, FQ-CoDel)  (a heap by time)
//! ```
//!
//! - **Super-packets** are segmented first and each segment is treated alone, unless the profile has only a
//!   constant delay, which treats all alike.
//! - **Time** is in whole nanoseconds. The line keeps the remainders of divisions, so its rate is exact over
//!   any number of packets. It works in virtual time: decisions since the last call are made as if it had
//!   been called every nanosecond. A late timer delays packets, but changes no decision.
//! - **Chance**: each effect has its own stream of random numbers ([`Seed`]) and draws once per packet, lost
//!   or not. So adding loss does not change the delays.
//! - **Memory**: a packet that fills half of its buffer keeps it, and the pool may allocate another. A
//!   shorter packet is copied into cells of 128 bytes. So packets in flight do not exhaust the pool.
//!   [`Limits`] bounds them in packets and in bytes.

mod codel;
mod corrupt;
mod delay;
mod ecn;
mod engine;
mod file;
mod fq_codel;
mod in_flight;
mod link;
mod loss;
mod opportunities;
mod pattern;
mod presets;
mod profile;
mod queue;
mod random;
mod rate;
mod report;
mod schedule;
mod steps;
mod store;
mod table;
mod tally;

pub use adit_packet::units::Bitrate;
pub use engine::{Direction, Netem, NetemConfig};
pub use file::{FILE_LEN_MAX, ParseError};
pub use link::Link;
pub use opportunities::Opportunities;
pub use pattern::LossPattern;
pub use presets::Preset;
pub use profile::{
    CoDel, Corrupt, Delay, Discipline, FqCoDel, GilbertElliott, Jitter, Limits, Loss, Outage,
    Overhead, Profile, ProfileError, Queue, QueueLimit, Rate, Reorder,
};
pub use random::Seed;
pub use report::{Counts, Estimate, Histogram, Report};
pub use steps::{Step, Steps};
pub use table::DelayTable;
