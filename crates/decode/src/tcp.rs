//! A TCP header.

use etherparse::{TcpOptionElement, TcpSlice};
use serde::Serialize;
use std::fmt::Write;

/// A TCP header.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Tcp {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// As tcpdump writes them: `S.` is SYN and ACK.
    pub flags: String,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgment: Option<u32>,
    /// The window, not scaled.
    pub window: u16,
    /// The options as tcpdump writes them: `mss 1460,sackOK`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub options: String,
    /// Payload bytes that were captured.
    pub payload_length: usize,
}

impl Tcp {
    pub(super) fn decode(tcp: &TcpSlice<'_>) -> Self {
        Self {
            source_port: tcp.source_port(),
            destination_port: tcp.destination_port(),
            flags: flags(tcp),
            sequence: tcp.sequence_number(),
            acknowledgment: tcp.ack().then(|| tcp.acknowledgment_number()),
            window: tcp.window_size(),
            options: options(tcp),
            payload_length: tcp.payload().len(),
        }
    }
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let all = [
        (tcp.syn(), 'S'),
        (tcp.fin(), 'F'),
        (tcp.rst(), 'R'),
        (tcp.psh(), 'P'),
        (tcp.urg(), 'U'),
        (tcp.ece(), 'E'),
        (tcp.cwr(), 'W'),
        (tcp.ack(), '.'),
    ];
    all.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect()
}

/// Ends at the first option that cannot be read. At most 40 bytes, so the text is short.
fn options(tcp: &TcpSlice<'_>) -> String {
    let mut text = String::new();
    for option in tcp.options_iterator() {
        let Ok(option) = option else {
            push(&mut text, "?");
            break;
        };
        match option {
            TcpOptionElement::Noop => {}
            TcpOptionElement::MaximumSegmentSize(size) => push(&mut text, &format!("mss {size}")),
            TcpOptionElement::WindowScale(shift) => push(&mut text, &format!("wscale {shift}")),
            TcpOptionElement::SelectiveAcknowledgementPermitted => push(&mut text, "sackOK"),
            TcpOptionElement::SelectiveAcknowledgement(first, rest) => {
                let mut blocks = format!("sack {}:{}", first.0, first.1);
                for (left, right) in rest.into_iter().flatten() {
                    // Writing to a String cannot fail.
                    let _ = write!(blocks, " {left}:{right}");
                }
                push(&mut text, &blocks);
            }
            TcpOptionElement::Timestamp(value, echo) => {
                push(&mut text, &format!("TS val {value} ecr {echo}"));
            }
        }
    }
    text
}

fn push(text: &mut String, option: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(option);
}
