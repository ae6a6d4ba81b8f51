//! Programs and filters of a device, which run in the kernel.

use crate::cause::diagnose::Setting;
use crate::device::Device;
use crate::{ClassicFilter, EbpfProgram, Result, Rss, VnetHashCap, VnetHashConfig};

impl Device {
    /// Lets `program` choose the queue of each packet: its result modulo the number of attached
    /// queues. `None` returns the choice to the kernel.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_steering(&self, program: Option<&EbpfProgram>) -> Result<()> {
        self.ioctl("set the steering of", Setting::Steering, |fd| match program {
            Some(program) => program.attach_steering(fd),
            None => EbpfProgram::detach_steering(fd),
        })
    }

    /// Lets a hash choose the queue of each packet. The caller keeps the [`Rss`], and can change
    /// its table while packets flow.
    ///
    /// # Errors
    /// As [`Device::set_steering`].
    pub fn set_rss(&self, rss: &Rss) -> Result<()> {
        self.set_steering(Some(rss.program()))
    }

    /// Lets `program` decide how many bytes of each packet the queues get; 0 drops the packet. On
    /// TUN this is the only filter in the kernel. `None` removes it.
    ///
    /// # Errors
    /// As [`Device::set_steering`].
    pub fn set_filter(&self, program: Option<&EbpfProgram>) -> Result<()> {
        self.ioctl("set the filter of", Setting::EbpfFilter, |fd| match program {
            Some(program) => program.attach_filter(fd),
            None => EbpfProgram::detach_filter(fd),
        })
    }

    /// Lets a classic filter decide how many bytes of each frame the queues of a TAP get. `None`
    /// removes it.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) on TUN: use [`Device::set_filter`] or [`ClassicFilter::run`] there.
    pub fn set_classic_filter(&self, filter: Option<&ClassicFilter>) -> Result<()> {
        self.ioctl("set the classic filter of", Setting::ClassicFilter, |fd| match filter {
            Some(filter) => filter.attach(fd),
            None => ClassicFilter::detach(fd),
        })
    }

    /// The capabilities of the kernel's own flow hash.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL) if the kernel has none, as up to Linux 6.18. Use
    /// [`DeviceOptions::hash_report`](crate::DeviceOptions::hash_report) and [`Rss`] instead.
    pub fn vnet_hash_cap(&self) -> Result<VnetHashCap> {
        self.ioctl("probe the hash of", Setting::VnetHash, |fd| VnetHashCap::probe(fd))
    }

    /// Configures the kernel's own flow hash.
    ///
    /// # Errors
    /// As [`Device::vnet_hash_cap`].
    pub fn set_vnet_hash(&self, config: &VnetHashConfig) -> Result<()> {
        self.ioctl("set the hash of", Setting::VnetHash, |fd| config.set(fd))
    }
}
