//! What is measured, and what one turn gives.

use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Packets of this length written to a TUN device, where the kernel drops them for want of a
    /// route: what is left is the system call and the driver.
    Write(usize),
    /// Packets of this length read from the filled queue of a TUN device.
    Read(usize),
    /// One TCP stream from TAP to TAP, in super-packets.
    ForwardStream,
    /// UDP packets of 64 bytes from TAP to TAP.
    ForwardDatagrams,
}

/// The longest packet: what a super-packet of 64 KiB is.
pub(crate) const LONGEST: usize = 65_535;

impl Case {
    /// In the order in which they are measured and shown.
    pub(crate) const ALL: [Self; 8] = [
        Self::Write(64),
        Self::Write(1500),
        Self::Write(LONGEST),
        Self::Read(64),
        Self::Read(1500),
        Self::Read(LONGEST),
        Self::ForwardStream,
        Self::ForwardDatagrams,
    ];

    /// Its name in the table and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Write(64) => "write 64 B",
            Self::Write(1500) => "write 1500 B",
            Self::Write(_) => "write 64 KiB",
            Self::Read(64) => "read 64 B",
            Self::Read(1500) => "read 1500 B",
            Self::Read(_) => "read 64 KiB",
            Self::ForwardStream => "forward TCP",
            Self::ForwardDatagrams => "forward UDP",
        }
    }
}

/// What one turn gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// The time in which they moved.
    pub(crate) time: Duration,
    /// Of all cores, whoever used it, what makes the packets included; zero if too short to count.
    pub(crate) cpu: Duration,
}
