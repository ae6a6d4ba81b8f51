//! What must hold whatever comes from outside: called by property tests and by fuzz targets.

use super::PortSpec;
use super::{framing, recording as recordings, unfinished, vxlan_header};

/// A byte stream of frames.
pub(crate) fn stream_frames(bytes: &[u8]) {
    framing::exercise(bytes);
}

/// A datagram of VXLAN.
pub(crate) fn vxlan(datagram: &[u8]) {
    vxlan_header::exercise(datagram);
    unfinished::exercise(datagram);
}

/// A pcap or pcapng file.
pub(crate) fn recording(file: &[u8]) {
    recordings::exercise(file);
}

/// The text of a port.
pub(crate) fn port_spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<PortSpec>() {
        Ok(spec) => assert!(spec.rest.len() <= text.len()),
        Err(error) => {
            assert!(error.at <= text.len(), "{error:?}");
            assert!(!error.message.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text(text in "((tap|tun|dev|unix|vxlan|stdio|pcap)?:?)?[a-z0-9:.,+=%/ -]{0,40}") {
            super::port_spec(text.as_bytes());
        }
    }
}
