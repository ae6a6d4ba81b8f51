//! Classic BPF, the filters that tcpdump compiles: in the kernel for TAP devices and sockets,
//! interpreted here for everything else (TUN devices, files).

use crate::sys;
use adit_packet::filter;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

pub use filter::{ClassicInstruction, FILTER_LEN_MAX, FilterError, FilterProblem};

/// A checked program of classic BPF: it ends on every input, and reads only the packet and the
/// scratch words that it has written.
///
/// Its text form is that of `tcpdump -ddd`, iptables and tc: the number of instructions, then one
/// line of four decimal numbers for each.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // `tcpdump -y RAW -ddd 'ip proto 1'`, for a TUN device.
/// let icmp = "7\n48 0 0 0\n84 0 0 240\n21 0 3 64\n48 0 0 9\n21 0 1 1\n6 0 0 262144\n6 0 0 0\n";
/// let icmp: adit_device::ClassicFilter = icmp.parse()?;
/// let mut packet = [0; 20];
/// (packet[0], packet[9]) = (0x45, 1);
/// assert_eq!(icmp.run(&packet), 262_144);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassicFilter(Vec<ClassicInstruction>);

impl ClassicFilter {
    /// Checks a program by the kernel's rules (`bpf_check_classic` in Linux `net/core/filter.c`),
    /// and by one of ours: of kernel metadata it may load the VLAN tag only.
    ///
    /// # Errors
    /// [`FilterError`]: the violated rule and the instruction.
    pub fn new(instructions: impl Into<Vec<ClassicInstruction>>) -> Result<Self, FilterError> {
        let instructions = instructions.into();
        filter::check(&instructions)?;
        Ok(Self(instructions))
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[ClassicInstruction] {
        &self.0
    }

    /// How many bytes of `packet` to keep, from its first byte on: 0 drops it; more than its length
    /// keeps all. Runs at most 4096 steps, because jumps only go forward.
    #[must_use]
    pub fn run(&self, packet: &[u8]) -> u32 {
        filter::run(&self.0, packet)
    }

    /// Attaches the filter to a TAP device: the kernel runs it on frames for its queues, and
    /// truncates them.
    ///
    /// # Errors
    /// EINVAL on a TUN device; EBADFD if the descriptor has no device.
    pub fn attach(&self, queue: impl AsFd) -> io::Result<()> {
        sys::filter::attach_filter(queue.as_fd(), &self.0)
    }

    /// Removes the filter of a TAP device; not an error if there is none.
    ///
    /// # Errors
    /// As [`ClassicFilter::attach`].
    pub fn detach(queue: impl AsFd) -> io::Result<()> {
        sys::filter::detach_filter(queue.as_fd())
    }

    /// Attaches the filter to a socket, such as a packet socket: the kernel runs it on received
    /// packets.
    ///
    /// # Errors
    /// ENOTSOCK; EPERM if the socket's filter is locked; ENOMEM above `net.core.optmem_max`.
    pub fn attach_to_socket(&self, socket: impl AsFd) -> io::Result<()> {
        sys::filter::attach_socket_filter(socket.as_fd(), &self.0)
    }

    /// Removes the filter of a socket.
    ///
    /// # Errors
    /// ENOENT if there is none; ENOTSOCK.
    pub fn detach_from_socket(socket: impl AsFd) -> io::Result<()> {
        sys::filter::detach_socket_filter(socket.as_fd())
    }
}

impl fmt::Display for ClassicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.len())?;
        for ClassicInstruction { code, jt, jf, k } in &self.0 {
            writeln!(f, "{code} {jt} {jf} {k}")?;
        }
        Ok(())
    }
}

impl FromStr for ClassicFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(filter::parse(text)?)
    }
}

#[cfg(test)]
mod tests;
