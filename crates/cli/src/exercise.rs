//! What must hold whatever the bytes of a packet are: property tests and fuzz targets call the same.

use crate::capture::decode::Packet;
use crate::capture::reply::Responder;
use adit_device::MacAddr;
use adit_runtime::format::pcapng::{LinkType, Meta};
use std::fmt::Write;

/// What is shown of a packet has no control character and is not long. The first byte chooses the
/// layer, the next two how long the packet was.
///
/// # Panics
/// If it does not hold.
pub fn show(bytes: &[u8]) {
    let Some((&[layer, low, high], data)) = bytes.split_first_chunk() else { return };
    let link = if layer & 1 == 0 { LinkType::Raw } else { LinkType::Ethernet };
    let original_len = usize::from(u16::from_le_bytes([low, high]));
    let packet = Packet::decode("x", link, &Meta { original_len, ..Meta::default() }, data);
    let mut text = String::new();
    write!(text, "{packet}").expect("a string takes all");
    assert!(text.len() < 1000, "{text}");
    packet.tree(&mut text);
    assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
    serde_json::to_string(&packet).expect("a packet is plain data");
}

/// An answer is never longer than what it answers. The first byte chooses the layer.
///
/// # Panics
/// If it does not hold.
pub fn answer(bytes: &[u8]) {
    let Some((&layer, data)) = bytes.split_first() else { return };
    let link = if layer & 1 == 0 { LinkType::Raw } else { LinkType::Ethernet };
    let subnets = ["192.0.2.1/24", "2001:db8::1/64"].map(|text| text.parse().expect("a prefix"));
    let responder = Responder::new(link, subnets, Some(MacAddr([2, 0, 0, 0, 0, 1])));
    let mut room = Vec::new();
    if let Some(answer) = responder.reply(data, &mut room) {
        assert!(answer.len() <= data.len());
    }
}

/// Whether a command line, with the name of the program first, is one that the program accepts.
///
/// # Errors
/// What is wrong with it.
pub fn command_line(words: &[String]) -> Result<(), String> {
    use clap::Parser;
    match crate::commands::Cli::try_parse_from(words) {
        Err(error) if error.use_stderr() => Err(error.to_string()),
        // Help and versions are errors to clap.
        Ok(_) | Err(_) => Ok(()),
    }
}
