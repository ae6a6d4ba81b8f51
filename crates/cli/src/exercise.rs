//! What must hold whatever the bytes of a packet are: property tests and fuzz targets call the same.

use crate::capture::decode::Packet;
use crate::capture::pcapng::{LinkType, Meta};
use crate::capture::reply::Responder;
use crate::config::lab::Lab;
use crate::config::port::WantedPort;
use crate::config::profile::{self, Profiles};
use crate::config::{Problems, Source};
use adit_device::MacAddr;
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

/// A file of `wg-quick`, or with an odd first byte one in TOML, is read without a panic, and no mistake
/// that is told has a long word of the file that could be a key.
///
/// # Panics
/// If it does not hold.
pub fn tunnel_file(bytes: &[u8]) {
    let Some((&form, text)) = bytes.split_first() else { return };
    crate::tunnel::exercise_file(form % 2 == 1, &String::from_utf8_lossy(text));
}

/// What `wg` asks for is parsed without a panic, and what is parsed is as short as its text.
///
/// # Panics
/// If it does not hold.
pub fn tunnel_uapi(bytes: &[u8]) {
    crate::tunnel::exercise_uapi(bytes);
}

/// Reading a configuration ends and does not panic, whatever the text is; its mistakes are few and
/// have no control character. The first byte chooses what it is read as.
///
/// # Panics
/// If it does not hold.
pub fn config(bytes: &[u8]) {
    let Some((&kind, data)) = bytes.split_first() else { return };
    let source = Source::new("x.toml", String::from_utf8_lossy(data));
    let problems = Problems::default();
    match kind % 4 {
        0 => drop(Lab::of_source(&source, &problems)),
        1 => drop(crate::config::netem::of_file(&source)),
        2 => drop(WantedPort::from_words(&source, &problems)),
        _ => {
            let mut table = source.words(0, &problems);
            profile::of_table(&mut table, Profiles::default());
            table.finish();
        }
    }
    let list = problems.into_list();
    assert!(list.len() <= 101);
    for problem in list {
        assert!(!problem.to_string().replace('\n', "").contains(char::is_control), "{problem:?}");
    }
}

/// What a client sends to a control socket is read or refused.
pub fn request(bytes: &[u8]) {
    crate::control::parse_any(bytes);
}

/// The frames of a byte stream, however it comes in pieces, are those that are in it.
///
/// # Panics
/// If it does not hold.
pub fn stream_frames(bytes: &[u8]) {
    crate::run::exercise::stream_frames(bytes);
}

/// The messages of a tunnel over TCP, however the stream comes in pieces, are those that are in it.
///
/// # Panics
/// If it does not hold.
pub fn stream_messages(bytes: &[u8]) {
    crate::run::exercise::stream_messages(bytes);
}

/// A line that is an invitation is told again as it is, and open invitations are read or skipped.
///
/// # Panics
/// If it does not hold.
pub fn tunnel_invitation(bytes: &[u8]) {
    crate::tunnel::exercise_invitation(&String::from_utf8_lossy(bytes));
}

/// A VXLAN datagram is a frame of a segment or nothing, and what its frame leaves to be done can be
/// done.
///
/// # Panics
/// If it does not hold.
pub fn vxlan(bytes: &[u8]) {
    crate::run::exercise::vxlan(bytes);
}

/// A recording ends, and gives frames only.
///
/// # Panics
/// If it does not hold.
pub fn recording(bytes: &[u8]) {
    crate::run::exercise::recording(bytes);
}

/// The text of a port is a port or an error that says where.
///
/// # Panics
/// If it does not hold.
pub fn port_spec(bytes: &[u8]) {
    crate::run::exercise::port_spec(bytes);
}

/// Frames go between ports of all kinds; how much `count` grew meanwhile, once the loop was warm: a
/// counter of allocations grows by nothing. Needs a network namespace of the caller's own.
///
/// # Panics
/// If a port cannot be opened, or no frame comes.
#[must_use]
pub fn count_while_forwarding(folder: &std::path::Path, count: fn() -> u64) -> u64 {
    crate::run::exercise::count_while_forwarding(folder, count)
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
