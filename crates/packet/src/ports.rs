//! The two ports at the start of TCP and UDP headers.

/// Sets a port and returns the former one.
pub(crate) fn set_port([high, low]: [&mut u8; 2], port: u16) -> u16 {
    let old = u16::from_be_bytes([*high, *low]);
    [*high, *low] = port.to_be_bytes();
    old
}
