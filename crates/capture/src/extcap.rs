//! Wireshark's extcap protocol (`doc/extcap.4`): Wireshark and tshark run `adit`, through a link in their
//! extcap directory, to list interfaces with their link types and options, and to capture into a pipe.

use crate::lab;
use adit_device::netlink::Netlink;
use adit_device::{IfName, Mode};
use adit_runtime::format::pcapng::LinkType;
use adit_runtime::record::text::printable;
use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Prefix of our interface values; kernel interfaces have no colon.
const PREFIX: &str = "adit:";
/// What a link of a lab begins with, after the prefix: `lab:office/uplink`.
const LAB: &str = "lab:";
const NEW_TUN: &str = "+tun";
const NEW_TAP: &str = "+tap";

/// Whether Wireshark started the program: it begins with an option, where we have a subcommand.
pub fn is_extcap_call(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|arg| {
        arg.to_str().is_some_and(|arg| arg == "--capture" || arg.starts_with("--extcap-"))
    })
}

/// A request by Wireshark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The list of interfaces.
    Interfaces,
    /// The link type of one.
    LinkTypes(Interface),
    /// The options of one.
    Config(Interface),
    /// To check a filter.
    CheckFilter(Interface, String),
    /// To capture into a pipe.
    Capture {
        /// The interface.
        interface: Interface,
        /// The pipe.
        fifo: PathBuf,
        /// The filter.
        filter: String,
        /// The address of a new device.
        address: Option<String>,
        /// Whether to answer ping.
        reply: bool,
    },
}

/// One of the listed interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// A link of a running lab.
    Lab {
        /// The name of the lab.
        lab: String,
        /// The name of the link.
        link: String,
    },
    /// An existing device.
    Existing(IfName),
    /// A device to create.
    New(Mode),
}

impl Interface {
    fn parse(value: &str) -> Option<Self> {
        let value = value.strip_prefix(PREFIX)?;
        if let Some((lab, link)) = value.strip_prefix(LAB).and_then(|rest| rest.split_once('/')) {
            return Some(Self::Lab { lab: lab.to_owned(), link: link.to_owned() });
        }
        match value {
            NEW_TUN => Some(Self::New(Mode::Tun)),
            NEW_TAP => Some(Self::New(Mode::Tap)),
            name => name.parse().ok().map(Self::Existing),
        }
    }
}

/// Parses the arguments, which Wireshark writes as `--name value` or `--name=value`.
///
/// # Errors
/// A sentence for Wireshark's user.
pub fn parse(args: &[OsString]) -> Result<Call, String> {
    let mut args = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let (mut verb, mut interface, mut fifo) = (None, None, None);
    let (mut filter, mut address, mut reply) = (None, None, false);
    while let Some(arg) = args.next() {
        let (name, mut value) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || value.take().or_else(|| args.next()).ok_or("an option needs a value");
        match name.as_str() {
            "--extcap-interfaces" | "--extcap-dlts" | "--extcap-config" | "--capture" => {
                verb = Some(name);
            }
            "--extcap-interface" => interface = Some(value()?),
            "--extcap-capture-filter" => filter = Some(value()?),
            "--fifo" => fifo = Some(value()?),
            "--addr" => address = Some(value()?),
            "--reply" => reply = true,
            // The version has `=` or is absent; unknown options belong to a later version.
            _ => {}
        }
    }
    let verb = verb.unwrap_or_default();
    if verb == "--extcap-interfaces" {
        return Ok(Call::Interfaces);
    }
    let interface = interface.as_deref().and_then(Interface::parse);
    let interface = interface.ok_or("no such interface")?;
    Ok(match verb.as_str() {
        "--extcap-dlts" => Call::LinkTypes(interface),
        "--extcap-config" => Call::Config(interface),
        "--capture" => Call::Capture {
            interface,
            fifo: fifo.ok_or("--fifo is missing")?.into(),
            filter: filter.unwrap_or_default(),
            address: address.filter(|address| !address.trim().is_empty()),
            reply,
        },
        _ => Call::CheckFilter(interface, filter.unwrap_or_default()),
    })
}

/// Lists the existing TUN and TAP devices, the links of running labs, and two entries to create a device.
///
/// # Errors
/// Those of netlink.
pub fn interfaces() -> io::Result<String> {
    let mut text = format!(
        "extcap {{version={}}}{{help={}}}{{display=adit}}\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    );
    for link in Netlink::open()?.links()? {
        let Some(tun) = &link.tun else { continue };
        // Braces would end the value; such a device can be captured from by 'adit capture'.
        let name = link.name.to_string();
        if name.contains(['{', '}']) {
            continue;
        }
        let name = printable(&name);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "interface {{value={PREFIX}{name}}}{{display=adit: {} device}}",
            tun.mode
        );
    }
    for (lab, link, ends) in lab::links() {
        let _ = writeln!(
            text,
            "interface {{value={PREFIX}{LAB}{lab}/{link}}}{{display=adit: lab {lab}, link {link} ({ends})}}"
        );
    }
    for (value, kind) in [(NEW_TUN, "TUN"), (NEW_TAP, "TAP")] {
        let _ = writeln!(
            text,
            "interface {{value={PREFIX}{value}}}{{display=adit: create a {kind} device}}"
        );
    }
    Ok(text)
}

/// The link type of an interface.
pub fn link_types(link_type: LinkType) -> String {
    let (name, display) = match link_type {
        LinkType::Ethernet => ("EN10MB", "Ethernet"),
        LinkType::Raw => ("RAW", "Raw IP"),
    };
    format!("dlt {{number={}}}{{name={name}}}{{display={display}}}\n", link_type.number())
}

/// The options of an interface.
pub fn config(interface: &Interface) -> String {
    let mut text = String::new();
    if matches!(interface, Interface::New(_)) {
        text.push_str(
            "arg {number=0}{call=--addr}{display=Address}{type=string}{default=192.0.2.1/24}\
             {tooltip=The device's own address and the length of its subnet's prefix}\n",
        );
    }
    text.push_str(
        "arg {number=1}{call=--reply}{display=Answer ping}{type=boolflag}{default=false}\
         {tooltip=Answer ARP, neighbour solicitations and ping for every address of the subnet}\n",
    );
    text
}

/// The path of the link to this program in the user's extcap directory.
///
/// # Errors
/// Unsupported without a home directory.
pub fn link_path() -> io::Result<PathBuf> {
    let directory = directory().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "cannot find the extcap directory: tshark is missing and HOME is not set",
        )
    })?;
    Ok(directory.join("adit"))
}

/// The user's extcap directory as reported by tshark: since Wireshark 4.2 a directory of its own, before that
/// one below the configuration.
fn directory() -> Option<PathBuf> {
    let output = Command::new("tshark").args(["-G", "folders"]).process_group(0).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let folder = |wanted: &str| {
        let (_, path) = text.as_deref()?.lines().find_map(|line| {
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
        })?;
        Some(PathBuf::from(path.trim()))
    };
    folder("Personal Extcap path")
        .or_else(|| Some(folder("Personal configuration")?.join("extcap")))
        .or_else(|| {
            Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/lib/wireshark/extcap"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn calls_of_wireshark_are_distinguished_from_ours() {
        assert!(is_extcap_call(&args("adit --extcap-interfaces --extcap-version=4.0")));
        assert!(is_extcap_call(&args("adit --capture --extcap-interface adit:tun0 --fifo /tmp/x")));
        assert!(!is_extcap_call(&args("adit capture tun0")));
        assert!(!is_extcap_call(&args("--capture")));
        assert!(!is_extcap_call(&args("adit run --capture x -- dumpcap --extcap-interfaces")));
    }

    #[test]
    fn calls() {
        let call = parse(&args("adit --extcap-interfaces --extcap-version=4.0"));
        assert_eq!(call, Ok(Call::Interfaces));
        let tun = Interface::New(Mode::Tun);
        let call = parse(&args("adit --extcap-dlts --extcap-interface adit:+tun"));
        assert_eq!(call, Ok(Call::LinkTypes(tun.clone())));
        let call = parse(&args("adit --extcap-config --extcap-interface adit:lab:office/pc-lan"));
        let link = Interface::Lab { lab: "office".to_owned(), link: "pc-lan".to_owned() };
        assert_eq!(call, Ok(Call::Config(link)));
        let line = "adit --capture --extcap-interface adit:+tun --fifo /tmp/f --addr 192.0.2.1/24 \
                    --reply --extcap-capture-filter icmp";
        let expected = Call::Capture {
            interface: tun,
            fifo: "/tmp/f".into(),
            filter: "icmp".into(),
            address: Some("192.0.2.1/24".into()),
            reply: true,
        };
        assert_eq!(parse(&args(line)), Ok(expected));
        for bad in [
            "adit --extcap-dlts",
            "adit --extcap-dlts --extcap-interface",
            "adit --extcap-dlts --extcap-interface eth0",
            "adit --extcap-dlts --extcap-interface adit:a/b",
            "adit --capture --extcap-interface adit:tun0",
        ] {
            assert!(parse(&args(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_two_to_be_made_are_always_listed() {
        let text = interfaces().unwrap();
        assert!(text.starts_with("extcap {version="));
        assert!(text.contains("interface {value=adit:+tun}{display=adit: create a TUN device}\n"));
    }
}
