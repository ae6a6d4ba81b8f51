//! A link with delay, loss and rate, in software. # Theory of operation
//!
//! [`Link`] is one direction of a link, without input or output: packets are pushed in and, when they
//! are due, popped out. [`Netem`] is the engine of two ports with a link each in_flight. A [`Profile`] says
//! what a link is to be like, and [`Report`] what it was like.
//!
//! ```text
//!  push -> outage -> corrupt -> loss -> duplicate -> queue -> line -> delay, jitter -> reorder -> pop
//!          at once: decided as the packet comes      (CoDel, FQ-CoDel)  (a heap by time)
//! ```
//!
//! - **Super-packets** are cut up first, and each packet of them goes its own way, unless there is
//!   nothing but a constant delay, which would treat all of them alike.
//! - **Time** is whole nanoseconds. The line keeps what a division leaves over, so that its rate is
//!   exact however many packets it sends. It works in virtual time: what it did since it was last
//!   looked at is decided as if it had been looked at every nanosecond. When the owner's timer is
//!   late, packets come out late, but none is treated differently.
//! - **Chance**: each effect has a stream of random numbers of its own ([`Seed`]) and draws once for
//!   each packet that comes, lost or not. Adding loss does not change the delays that are drawn.
//! - **Memory**: a packet that fills half of its buffer keeps it, and the pool may have another in its
//!   place; a shorter one is copied into cells of 128 bytes. Either way what is on its way does not
//!   keep the pool's buffers from those who receive. [`Limits`] bound it in packets and in bytes.

mod codel;
mod corrupt;
mod delay;
mod ecn;
mod engine;
mod file;
mod flow;
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
