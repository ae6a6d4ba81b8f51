//! The layer-2 side of the NAT: the gateway that guests see on a TAP or a QEMU stream.
//!
//! # Theory of operation
//!
//! [`Guests`] stands between the frames of one port and the packets of the NAT. A TUN port needs none.
//!
//! ```text
//!          ingress                                              egress
//! frame -> header, MAC address      drop forged ones             packet -> the station with its destination
//!       -> ARP, ND                  answer for our addresses            -> ask for it, hold one packet
//!       -> DHCP, DHCPv6             assign addresses                    -> header before it -> frame
//!       -> source address           drop forged ones
//!       -> the packet, header and padding cut off, not copied
//! ```
//!
//! **Sources.** A guest may send from its MAC address and from addresses of the guests' prefixes, as far as no
//! other station has them: an address stays with its station while a lease runs, and for ten
//! seconds after its last packet. So a machine that was replaced is followed, and one that is there
//! cannot be robbed. All else is dropped, with the reasons of the switch's guards.
//!
//! **Answers.** ARP and neighbour discovery answer for the gateway, the name server and the other
//! addresses of the NAT; with [`GuestConfig::off_link`] for every address that no guest has, since a guest with
//! the host's own prefix looks for its neighbours on the link. A host that probes for its own
//! address is answered only if that is the NAT's.
//!
//! **DHCP.** A station is known by its MAC address in both families. It gets the address that it had, then the
//! one it asks for, then the first that is free. The only server of a link knows all leases, so it refuses an
//! address that it cannot give, and after a restart grants again what guests renew.
//!
//! **Router advertisements** go out at the start, after changes, to those who ask, and every 200 to 600 s.
//!
//! **Bounds**: stations by configuration, 16 addresses each; 256 leases in each family; 16 packets that wait for a
//! neighbour, for three seconds. A full table keeps what is in it.
//!
//! ```
//! use adit_nat::guest::{GuestConfig, Guests};
//! use adit_engine::{Endpoint, Outbox, PortId};
//! use adit_packet::{Batch, Instant, Pool, PoolConfig};
//!
//! let mut guests = Guests::new(PortId(0), GuestConfig::default())?;
//! let mut out = Outbox::new(Pool::new(PoolConfig::default()));
//! let mut frame = out.pool().take(60).expect("a fresh pool");
//! frame.extend(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06").expect("60 bytes");
//! frame.extend(b"\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x01\x0a\0\x02\x0f").expect("60 bytes");
//! frame.extend(b"\0\0\0\0\0\0\x0a\0\x02\x02").expect("60 bytes");
//! assert!(guests.ingress(Instant::ZERO, frame, &mut out).is_none(), "no packet for the NAT");
//!
//! let mut batch = Batch::new();
//! assert_eq!(out.next_group(&mut batch), Some(Endpoint::Port(PortId(0))));
//! let reply = adit_packet::Arp::parse(&batch.as_slice()[0].bytes()[14..])?;
//! assert_eq!((reply.sender_ip, reply.sender_mac), ([10, 0, 2, 2].into(), guests.config().mac));
//! # batch.give_all(out.pool());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod dhcp4;
mod dhcp6;
mod frame;
mod gateway;
mod leases;
mod nd;
mod pending;
mod servers;
mod stations;

#[cfg(test)]
mod tests;

pub use config::{AddressPool, GuestConfig, GuestConfigError, GuestV4, GuestV6};
pub(crate) use frame::udp_header;
pub use gateway::Guests;
