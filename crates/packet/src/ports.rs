//! The two ports with which the headers of TCP and UDP start.

/// Sets a port and gives the one that stood there.
pub(crate) fn set_port([high, low]: [&mut u8; 2], port: u16) -> u16 {
    let old = u16::from_be_bytes([*high, *low]);
    [*high, *low] = port.to_be_bytes();
    old
}
