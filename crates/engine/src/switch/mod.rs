//! A learning Ethernet switch.
//!
//! # Theory of operation
//!
//! Each frame passes one pipeline, in this order. The first stage that drops it ends the pipeline; the drop is
//! counted at the ingress port ([`PortCounters::ingress_drops`]).
//!
//! ```text
//! ingress   head     read the two addresses and the tag, once             head.rs
//!           mirror   copy the frame as received                           mirror.rs
//!           probe?   one of our own proves a loop                         loop_guard.rs, engine/loops.rs
//!           reserved 01:80:c2:00:00:0x is never forwarded
//!           closed?  down, blocked, or the destination of a mirror        port.rs
//!           vlan     find the VLAN; is the port a member?                 tagging.rs
//!           guard    MAC, ARP, IP, ND, DHCP, RA: allowed?                 guard.rs
//!           storm    broadcast, multicast: within the limits?             storm.rs
//! learn     record the source at this port                                engine/learn.rs, fdb.rs
//! look up   find the destination; unknown: storm limit, then flood
//! egress    per port: skip it if closed, isolated, of the same group, or not in the VLAN
//!           tag      push, rewrite or remove it, only where needed        tagging.rs
//!           mirror   copy the frame as sent
//!           send     a flood copies; the last port gets the original
//! ```
//!
//! **Frames stay whole.** A super-packet is forwarded as received. When a tag is pushed or removed, the twelve
//! bytes of addresses move, and the offsets in the virtio-net header are adjusted.
//!
//! **The address table** has a fixed size, and new entries never evict existing ones: an attack fills the
//! table, and after that known hosts keep their entries and their unicast. A limit per port keeps one port
//! from filling it. Each port caches the result of its last lookup; while the table does not change, the next
//! frame between the same hosts needs no lookup. Expired entries are ignored at once and swept in small steps.
//!
//! **An address that moves** to another port is followed, up to a number of moves per second. After that it
//! stays at its home, the last port from which it sent for a while. While it flaps, and no probe proves a
//! loop, frames from it on other ports are dropped; no port is blocked. Static and sticky addresses do not move: a frame with such a source from
//! another port is dropped.
//!
//! **Loops** are detected by a probe that returns; flapping sends more of them ([`LoopGuardConfig`]). Spanning tree frames
//! are never forwarded, so a bridge next to us does not take us for a wire.
//!
//! **Timers** send probes and sweep the table; nothing else waits. No frame is held.
//!
//! ```
//! use adit_engine::switch::{PortConfig, Switch, SwitchConfig, VlanId, VlanMode};
//! use adit_engine::{Endpoint, Engine, Handled, Outbox, PortId};
//! use adit_packet::{Batch, Instant, Pool, PoolConfig};
//!
//! let mut switch = Switch::new(SwitchConfig::default())?;
//! let ten = VlanId::new(10).expect("between 1 and 4094");
//! switch.add_port(PortId(0), PortConfig::default())?; // e.g. the way to other switches
//! let access = PortConfig { vlan: VlanMode::Access(ten), ..PortConfig::default() };
//! switch.add_port(PortId(1), access)?;
//!
//! let mut out = Outbox::new(Pool::new(PoolConfig::default()));
//! let mut frame = out.pool().take(60).expect("a fresh pool");
//! frame.extend(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06 and so on").expect("60 bytes");
//! switch.handle(Instant::ZERO, Endpoint::Port(PortId(1)), frame, &mut out);
//!
//! let mut batch = Batch::new();
//! assert_eq!(out.next_group(&mut batch), Some(Endpoint::Port(PortId(0))));
//! assert_eq!(batch.as_slice()[0].bytes()[12..16], [0x81, 0x00, 0, 10], "it got its VLAN's tag");
//! # batch.give_all(out.pool());
//! # Ok::<(), adit_engine::switch::ConfigError>(())
//! ```

mod config;
mod counters;
mod declared;
mod engine;
mod error;
mod event;
mod fdb;
mod guard;
mod head;
mod loop_guard;
mod mirror;
mod port;
mod storm;
mod tagging;
mod vlan;

pub use adit_packet::IpPrefix;
pub use config::{
    Accelerate, FrameFilter, FrameMatch, GroupId, GuardConfig, LoopGuardConfig, Mirror,
    MirrorDirection, MirrorFilter, PortConfig, StormConfig, StormRate, SwitchConfig, TagKind,
    Trunk, VlanMode,
};
pub use counters::PortCounters;
pub use engine::Switch;
pub use error::ConfigError;
pub use event::{LoopCause, StormKind, SwitchEvent};
pub use fdb::{FdbEntry, FdbFlush, FdbKind};
pub use port::PortState;
pub use vlan::{VlanId, VlanSet};
