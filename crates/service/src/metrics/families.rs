//! The names of all metrics: one list, from which the text, the manual and its test come.

use adit_engine::Counter;
use adit_engine::netem::Counts;
use std::borrow::Cow;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// It only grows, from 0 at the start of the program.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How many values were at most so large.
    Histogram,
    /// Its labels are what it says; the value is 1.
    Info,
}

/// Samples of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name without what its type adds, as `adit_port_bytes`.
    pub name: Cow<'static, str>,
    /// How it behaves.
    pub kind: Type,
    /// The labels beside `name`; a sample has those that apply.
    pub labels: &'static [&'static str],
    /// What it counts, in one sentence.
    pub help: &'static str,
}

impl Family {
    /// The name of its samples in a query, as `adit_port_bytes_total`.
    #[must_use]
    pub fn query_name(&self) -> String {
        let suffix = match self.kind {
            Type::Counter => "_total",
            Type::Info => "_info",
            Type::Gauge | Type::Histogram => "",
        };
        format!("{}{suffix}", self.name)
    }
}

/// The family of a counter of an emulated link.
#[must_use]
pub fn of_link(counter: &Counter) -> Family {
    Family {
        name: format!("adit_link_{}", counter.name).into(),
        kind: if counter.name == "held" { Type::Gauge } else { Type::Counter },
        labels: &["port", "link", "direction"],
        help: counter.help,
    }
}

/// The reason of a counter of an emulated link that counts drops; loss as configured is one as well.
#[must_use]
pub fn reason_of_link(counter: &Counter) -> Option<String> {
    match counter.name {
        "lost" => Some("loss".to_owned()),
        name => counter.dropped.map(|_| name.replace('_', " ")),
    }
}

/// All families, in the order of the manual.
pub fn all() -> impl Iterator<Item = Family> {
    let of_links = Counts::default().each().map(|counter| of_link(&counter));
    FAMILIES.iter().cloned().chain(of_links)
}

macro_rules! families {
    ($($(#[doc = $help:literal])+ $constant:ident $kind:ident $name:literal [$($label:literal)*])*) => {
        $(
            #[doc = concat!("`", $name, "`:", $($help),+)]
            pub const $constant: Family = Family {
                name: Cow::Borrowed($name),
                kind: Type::$kind,
                labels: &[$($label),*],
                help: concat!($($help),+).trim_ascii(),
            };
        )*

        /// Those that stand here; [`of_link`] makes the others.
        const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    /// The program that runs.
    BUILD Info "adit_build" ["kind" "version"]
    /// When it started, in seconds since 1970.
    START_TIME Gauge "adit_start_time_seconds" []
    /// The time from one look at the descriptors to the next: how long something that is ready may have to wait.
    LOOP_TURN Histogram "adit_loop_turn_seconds" []
    /// Requests at the control socket: answered, refused, or closed because the client was idle.
    CONTROL_REQUESTS Counter "adit_control_requests" ["result"]
    /// Packets dropped.
    DROPS Counter "adit_drops" ["port" "link" "direction" "interface" "public_key" "friendly_name" "reason"]

    /// Frames or packets at a port; a super-packet counts as one.
    PORT_FRAMES Counter "adit_port_frames" ["port" "direction"]
    /// Bytes at a port.
    PORT_BYTES Counter "adit_port_bytes" ["port" "direction"]
    /// Whether a port forwards.
    PORT_UP Gauge "adit_port_up" ["port"]
    /// Frames or packets that wait in the queue of a port.
    PORT_QUEUED Gauge "adit_port_queued_frames" ["port"]

    /// Addresses in the table of a switch.
    SWITCH_ADDRESSES Gauge "adit_switch_addresses" []
    /// Addresses that fit in it.
    SWITCH_ADDRESSES_MAX Gauge "adit_switch_addresses_max" []
    /// Frames that the kernel has forwarded for a switch.
    SWITCH_KERNEL_FRAMES Counter "adit_switch_kernel_frames" []
    /// Copies that went to the target of a mirror.
    MIRROR_FRAMES Counter "adit_mirror_frames" ["to"]
    /// Copies that were lost because the target of a mirror had no room.
    MIRROR_MISSED Counter "adit_mirror_missed_frames" ["to"]

    /// Flows of a NAT.
    NAT_FLOWS Gauge "adit_nat_flows" []
    /// TCP connections of a NAT whose bytes the kernel moved.
    NAT_SPLICED Counter "adit_nat_spliced_connections" []
    /// Bytes that the kernel moved for a NAT: egress is from the inside.
    NAT_SPLICED_BYTES Counter "adit_nat_spliced_bytes" ["direction"]
    /// Ports of the host that lead inside.
    NAT_PUBLISHED Gauge "adit_nat_published_ports" []
    /// Lines of the flow log that were lost.
    NAT_LOG_LOST Counter "adit_nat_flow_log_lost_lines" []

    /// Bytes sent to the peer, as UDP payload.
    SENT_BYTES Counter "wireguard_sent_bytes" ["interface" "public_key" "friendly_name"]
    /// Bytes received from the peer, as UDP payload.
    RECEIVED_BYTES Counter "wireguard_received_bytes" ["interface" "public_key" "friendly_name"]
    /// When the last handshake was completed, in seconds since 1970; absent if there was none.
    LATEST_HANDSHAKE Gauge "wireguard_latest_handshake_seconds" ["interface" "public_key" "friendly_name"]
    /// Time since the last handshake; absent if there was none.
    HANDSHAKE_AGE Gauge "wireguard_handshake_age_seconds" ["interface" "public_key" "friendly_name"]
    /// A peer with the networks behind it; more than 16 networks are left out.
    PEER Info "adit_peer" ["interface" "public_key" "friendly_name" "allowed_ips"]
    /// A session with its cipher, and whether its key is post-quantum: off, inactive, active, refused.
    SESSION Info "adit_session" ["interface" "public_key" "friendly_name" "suite" "post_quantum"]
    /// Whether packets can be sent to the peer now.
    PEER_CONNECTED Gauge "adit_peer_connected" ["interface" "public_key" "friendly_name"]
    /// Time since the last packet that proved to be the peer's; absent if there was none.
    AUTHENTIC_AGE Gauge "adit_peer_authentic_age_seconds" ["interface" "public_key" "friendly_name"]
    /// Packets that wait for a handshake, or for their time in a rate limit.
    PEER_QUEUED Gauge "adit_peer_queued_packets" ["interface" "public_key" "friendly_name"]
    /// The longest IP packet that fits the path to the peer.
    PEER_PATH_MTU Gauge "adit_peer_path_mtu_bytes" ["interface" "public_key" "friendly_name"]
    /// Datagrams of the sockets of a tunnel.
    DATAGRAMS Counter "adit_tunnel_datagrams" ["direction"]
    /// The same in trains: datagrams that cross the kernel together.
    TRAINS Counter "adit_tunnel_trains" ["direction"]
    /// Trains that the kernel or the card refused, sent one by one.
    CUT_TRAINS Counter "adit_tunnel_cut_trains" []

    /// Whether everything of a lab is there: 0 while it starts, and if something failed.
    LAB_READY Gauge "adit_lab_ready" []
    /// What is wrong in a lab.
    LAB_PROBLEMS Gauge "adit_lab_problems" []
    /// Nodes of a lab.
    LAB_NODES Gauge "adit_lab_nodes" []
    /// Whether a program of a lab runs, or has ended without a failure.
    PROGRAM_UP Gauge "adit_program_up" ["node" "program"]
    /// How often a program of a lab was started again.
    PROGRAM_RESTARTS Counter "adit_program_restarts" ["node" "program"]
    /// Whether a link of a lab has both its ends and was not made to fail.
    LAB_LINK_UP Gauge "adit_lab_link_up" ["link"]
    /// Frames that came from an end of a link.
    LAB_LINK_FRAMES Counter "adit_lab_link_frames" ["link" "direction"]
    /// Their bytes.
    LAB_LINK_BYTES Counter "adit_lab_link_bytes" ["link" "direction"]

    /// Whether a running program answered the exporter.
    UP Gauge "adit_up" []
}
