//! A learning Ethernet switch.
//!
//! # Theory of operation
//!
//! Each frame goes through one pipeline, in this order, and leaves it at the first stage that drops
//! it, which is counted at the port where it came in ([`PortCounters::ingress_drops`]):
//!
//! ```text
//! ingress   head     two addresses and a tag are read, once               head.rs
//!           mirror   a copy of what comes in, as it came                  mirror.rs
//!           probe?   one of our own means a loop                          loops.rs
//!           reserved 01:80:c2:00:00:0x is never forwarded
//!           closed?  down, blocked, or a mirror's port                    port.rs
//!           vlan     which VLAN it is in; may it be here?                 tagging.rs
//!           guard    MAC, ARP, IP, ND, DHCP, RA: may it say that?         guard.rs
//!           storm    broadcast, multicast: not too many?                  storm.rs
//! learn     its source is on this port from now on                        learn.rs, fdb.rs
//! look up   where is its destination? unknown: storm, then flood
//! egress    for each port: closed, isolated, same group, no member of the VLAN? then not there
//!           tag      pushed, rewritten or taken off, only where needed    tagging.rs
//!           mirror   a copy of what goes out, as it goes
//!           send     a flood copies; the last port gets the original
//! ```
//!
//! **Frames stay whole.** A super-packet crosses as it came. When a tag is pushed or taken off, the
//! twelve bytes of addresses move, and the offsets of the virtio-net header with them.
//!
//! **The table** has a fixed size, and nothing that is in it is pushed out by what is new: an attack
//! fills it and then learns nothing more, while known hosts keep their entries and their unicast.
//! A port has a limit of its own, so that one alone cannot fill it. Each port remembers what its last
//! frame found; while nothing changes in the table the next frame between the same hosts is not
//! looked up. Entries that age are ignored at once and swept out in small steps.
//!
//! **An address that moves** from port to port is followed, but not more often than so many times in
//! a second; then it stays at its home, the last port where it was for a while. Flapping on and on is
//! a loop: the port that is not the home is blocked. Static and sticky addresses do not move, and a
//! frame with one from another port is dropped.
//!
//! **Loops** show by that, or by a probe that comes back ([`LoopGuardConfig`]). Spanning tree's own
//! frames are never forwarded, so a bridge beside us does not mistake us for a wire.
//!
//! **Time** passes in rounds of probes and steps of the sweep; nothing else waits. No frame is held.
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
    FrameFilter, FrameMatch, GroupId, GuardConfig, LoopGuardConfig, Mirror, MirrorDirection,
    MirrorFilter, PortConfig, StormConfig, StormRate, SwitchConfig, TagKind, Trunk, VlanMode,
};
pub use counters::PortCounters;
pub use engine::Switch;
pub use error::ConfigError;
pub use event::{LoopCause, StormKind, SwitchEvent};
pub use fdb::{FdbEntry, FdbFlush, FdbKind};
pub use port::PortState;
pub use vlan::{VlanId, VlanSet};
