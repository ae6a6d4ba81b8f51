//! Answers pings to a whole network: `icmp_responder NAME ADDRESS/LENGTH [COUNT]`.
//!
//! It creates the TUN device NAME with that address. The kernel routes the network to the device, so
//! `ping` of any other address in it arrives here. It exits after COUNT answers, or runs until Ctrl-C.
//!
//! ```text
//! $ cargo run -p adit-device --example icmp_responder -- tun0 192.0.2.1/24 3 &
//! $ ping -c 3 192.0.2.77
//! ```
//!
//! Creating a device requires CAP_NET_ADMIN: run it as root, or under `unshare -Urn`.
#![expect(clippy::print_stdout, reason = "an example")]

use adit_device::{DeviceOptions, Mode, RECORD_LEN_MAX};
use adit_packet::{Icmp, Ipv4, Ipv4Mut, icmp, ip_protocol};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(address)) = (args.next(), args.next()) else {
        return Err("usage: icmp_responder NAME ADDRESS/LENGTH [COUNT]".into());
    };
    let count = args.next().map_or(Ok(u64::MAX), |count| count.parse())?;
    let device = DeviceOptions::new(Mode::Tun)
        .name(name.parse()?)
        .address(address.parse()?)
        .up(true)
        .open()?;
    println!("{} is up", device.name()?);

    let queue = &device.queues()[0];
    let mut buf = vec![0; RECORD_LEN_MAX];
    let mut answered = 0;
    while answered < count {
        // One call returns one packet. Without packet information and virtio-net header, as here, the
        // record is the bare IP packet.
        let len = queue.recv(&mut buf)?;
        let packet = &mut buf[..len];
        if answer(packet).is_some() {
            queue.send(packet)?;
            answered += 1;
        }
    }
    println!("answered {answered}");
    Ok(())
}

/// Turns an IPv4 echo request into its reply in place; `None` for any other packet.
fn answer(packet: &mut [u8]) -> Option<()> {
    let ip = Ipv4::parse(packet).ok()?;
    if ip.protocol() != ip_protocol::ICMP || ip.fragment().is_some() {
        return None;
    }
    let (source, destination) = (ip.source(), ip.destination());
    let (start, end) = (ip.header_len(), usize::from(ip.total_len()));
    if Icmp::parse(ip.payload()).ok()?.kind() != icmp::v4::ECHO_REQUEST {
        return None;
    }
    // The setters keep the header's checksum valid.
    let mut ip = Ipv4Mut::parse(packet).ok()?;
    ip.set_source(destination);
    ip.set_destination(source);
    ip.set_ttl(64);
    let message = packet.get_mut(start..end)?;
    message[0] = icmp::v4::ECHO_REPLY;
    icmp::fill_checksum_v4(message);
    Some(())
}
