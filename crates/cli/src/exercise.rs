//! Invariants for arbitrary input, shared by property tests and fuzz targets.

use adit_capture::reply::Responder;
use adit_decode::Packet;
use adit_device::MacAddr;
use adit_runtime::format::pcapng::{LinkType, Meta};
use std::fmt::Write;

/// Checks that the text of a packet is short and has no control characters. The first byte selects the link
/// type, the next two the original length.
///
/// # Panics
/// If the invariant is violated.
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

/// Checks that an answer is never longer than its request. The first byte selects the link type.
///
/// # Panics
/// If the invariant is violated.
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

/// Parses a command line, with the name of the program first.
///
/// # Errors
/// The message for an invalid command line.
pub fn command_line(words: &[String]) -> Result<(), String> {
    use clap::Parser;
    match crate::commands::Cli::try_parse_from(words) {
        Err(error) if error.use_stderr() => Err(error.to_string()),
        // Help and versions are errors to clap.
        Ok(_) | Err(_) => Ok(()),
    }
}
