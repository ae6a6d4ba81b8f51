//! Filters in tcpdump's syntax: tcpdump compiles them, without privilege and without an interface.

use crate::helper;
use adit_device::{ClassicFilter, FilterError};
use adit_runtime::format::pcapng::LinkType;
use adit_runtime::record::text::printable;
use std::fmt;
use std::io;

/// A filter and the text that it was compiled from.
#[derive(Clone, Debug)]
pub struct Filter {
    /// What the user wrote.
    pub expression: String,
    /// What tcpdump made of it.
    pub program: ClassicFilter,
}

impl Filter {
    /// Compiles `words`, joined by spaces as tcpdump joins them, for packets that begin as `link`
    /// says; `None` if there is no word. What it lets through is cut to `snap_len` bytes.
    ///
    /// # Errors
    /// [`CompileError`]: tcpdump is not there, or does not understand the expression.
    pub fn compile(
        words: &[String],
        link: LinkType,
        snap_len: u32,
    ) -> Result<Option<Self>, CompileError> {
        let expression = words.join(" ");
        if expression.trim().is_empty() {
            return Ok(None);
        }
        let compiled = helper::compile(link.name(), snap_len, &expression);
        let compiled = compiled.map_err(CompileError::Tcpdump)?;
        if !compiled.is_success {
            let message = compiled.error.trim_start_matches("tcpdump: ").to_owned();
            return Err(CompileError::Expression { expression, message });
        }
        match compiled.output.parse() {
            Ok(program) => Ok(Some(Self { expression, program })),
            Err(source) => Err(CompileError::Program { expression, source }),
        }
    }

    /// Whether the kernel comes to the same result as [`ClassicFilter::run`]. On a packet socket it
    /// sees frames without their VLAN tag, so a filter that asks for the tag must wait until the
    /// tag is back in its place.
    pub fn suits_the_kernel(&self) -> bool {
        !self.expression.split(|c: char| !c.is_alphanumeric()).any(|word| word == "vlan")
    }
}

/// Why there is no filter.
#[derive(Debug)]
pub enum CompileError {
    /// tcpdump could not be run.
    Tcpdump(io::Error),
    /// tcpdump does not understand the expression.
    Expression {
        /// What the user wrote.
        expression: String,
        /// What tcpdump says.
        message: String,
    },
    /// What tcpdump printed is no program.
    Program {
        /// What the user wrote.
        expression: String,
        /// Which rule the program breaks.
        source: FilterError,
    },
}

impl CompileError {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Tcpdump(_) => {
                "Install tcpdump (Debian: apt install tcpdump), which compiles filters, \
                 or omit the filter."
            }
            Self::Expression { .. } => {
                "Filters have the syntax of pcap-filter(7): 'icmp', 'host 192.0.2.1 and port 53'. \
                 Packets of a TUN device have no MAC addresses, and there is no ARP."
            }
            Self::Program { .. } => "Omit conditions on data that is not in the packet.",
        }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcpdump(_) => f.write_str("cannot run tcpdump to compile the filter"),
            Self::Expression { expression, message } => {
                let (expression, message) = (printable(expression), printable(message));
                write!(f, "invalid filter '{expression}': {message}")
            }
            Self::Program { expression, .. } => {
                write!(f, "the filter '{}' cannot be used", printable(expression))
            }
        }
    }
}

impl std::error::Error for CompileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tcpdump(source) => Some(source),
            Self::Expression { .. } => None,
            Self::Program { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(expression: &str, link: LinkType) -> Result<Option<Filter>, CompileError> {
        let words: Vec<_> = expression.split(' ').map(str::to_owned).collect();
        Filter::compile(&words, link, 96)
    }

    #[test]
    fn the_same_words_on_both_link_types() {
        let mut packet = [0; 64];
        (packet[0], packet[9]) = (0x45, 1);
        let raw = compile("icmp or udp", LinkType::Raw).unwrap().unwrap();
        assert_eq!(raw.program.run(&packet), 96);
        packet[9] = 6;
        assert_eq!(raw.program.run(&packet), 0);
        let mut frame = [0; 64];
        (frame[12], frame[13]) = (8, 6);
        let arp = compile("arp", LinkType::Ethernet).unwrap().unwrap();
        assert_eq!(arp.program.run(&frame), 96);
        assert!(compile("", LinkType::Raw).unwrap().is_none());
    }

    #[test]
    fn errors_carry_what_tcpdump_says() {
        for (expression, part) in [
            (
                "icmp and (",
                "invalid filter 'icmp and (': can't parse filter expression: syntax error",
            ),
            ("port 99999", "': illegal port number 99999 > 65535"),
            ("-i eth0", "invalid filter '-i eth0'"),
        ] {
            let error = compile(expression, LinkType::Raw).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_vlan_filter_is_not_for_the_kernel() {
        let suits = |text| compile(text, LinkType::Ethernet).unwrap().unwrap().suits_the_kernel();
        assert!(suits("icmp and host 192.0.2.1"));
        assert!(!suits("vlan 5 and icmp"));
    }
}
