//! What a plan depends on beside routes: looked up here, or by the helper of a tunnel in its sandbox.

use crate::host::dns::Dns;
use adit_device::wire::{decode, encode};
use adit_device::{IfName, Netns, wire_enum, wire_structs};
use adit_runtime::text::netns::open_netns;
use adit_service::helper;
use std::net::IpAddr;

/// What the helper of a tunnel is asked beside actions.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    /// The surroundings.
    Surroundings,
    /// Whether name servers are in use that were set for a device.
    NameServers(IfName, Vec<IpAddr>),
}

wire_enum! { Question { 0 = Surroundings, 1 = NameServers(device, servers) } }

/// Whether the host forwards, and what sets its name servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether the namespace of the device forwards packets of any family.
    pub forwards: bool,
    /// What sets name servers on this machine; not for a device in another namespace than the program.
    pub dns: Option<Dns>,
}

wire_structs! { Surroundings { forwards, dns } }

impl Surroundings {
    /// Looks them up; `netns` is the namespace of the device, if it is not that of the program.
    #[must_use]
    pub fn read(netns: Option<&Netns>) -> Self {
        match helper::service(&encode(&Question::Surroundings)) {
            // If the helper has ended, nothing can be changed any more.
            Some(reply) => decode(&reply).unwrap_or(Self { forwards: true, dns: None }),
            None => Self::read_here(netns),
        }
    }

    fn read_here(netns: Option<&Netns>) -> Self {
        let forwards = netns.map_or_else(|| Ok(forwards()), |netns| netns.run(forwards));
        // Name servers are set for the namespace that the program is in.
        let dns = Dns::find().filter(|_| netns.is_none());
        Self { forwards: forwards.unwrap_or(true), dns }
    }
}

/// Looks whether name servers are in use that were set for a device. Returns a warning.
#[must_use]
pub fn check_name_servers(device: IfName, servers: &[IpAddr]) -> Option<String> {
    match helper::service(&encode(&Question::NameServers(device, servers.to_vec()))) {
        Some(reply) => decode(&reply)?,
        None => Dns::find()?.check(&device, servers),
    }
}

/// Answers a question, in the helper; `device_netns` is the namespace of the device as the user wrote it.
#[must_use]
pub fn answer(question: &[u8], device_netns: Option<&str>) -> Vec<u8> {
    match decode(question) {
        Some(Question::Surroundings) => {
            let netns = device_netns.and_then(|netns| open_netns(netns).ok());
            encode(&Surroundings::read_here(netns.as_ref()))
        }
        Some(Question::NameServers(device, servers)) => {
            encode(&Dns::find().and_then(|dns| dns.check(&device, &servers)))
        }
        None => Vec::new(),
    }
}

/// Whether the host forwards packets of any family.
fn forwards() -> bool {
    ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"].iter().any(|file| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/{file}"));
        text.is_ok_and(|text| text.trim() != "0")
    })
}
