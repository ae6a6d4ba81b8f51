//! Programs and filters that the kernel runs for a device.

use crate::device::Device;
use crate::diagnose::Setting;
use crate::{ClassicFilter, EbpfProgram, Result, Rss, VnetHashCap, VnetHashConfig};

impl Device {
    /// Lets `program` choose the queue of each packet: its answer modulo the number of attached
    /// queues. `None` gives the choice back to the kernel.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_steering(&self, program: Option<&EbpfProgram>) -> Result<()> {
        self.ioctl("set the steering of", Setting::Steering, |fd| match program {
            Some(program) => program.attach_steering(fd),
            None => EbpfProgram::detach_steering(fd),
        })
    }

    /// Lets a hash choose the queue of each packet; [`Rss`] stays in the hands of the caller, who
    /// can change its table while packets flow.
    ///
    /// # Errors
    /// As [`Device::set_steering`].
    pub fn set_rss(&self, rss: &Rss) -> Result<()> {
        self.set_steering(Some(rss.program()))
    }

    /// Lets `program` say how many bytes of each packet the queues get; 0 drops it. On TUN this is
    /// the only filter in the kernel. `None` takes it off.
    ///
    /// # Errors
    /// As [`Device::set_steering`].
    pub fn set_filter(&self, program: Option<&EbpfProgram>) -> Result<()> {
        self.ioctl("set the filter of", Setting::EbpfFilter, |fd| match program {
            Some(program) => program.attach_filter(fd),
            None => EbpfProgram::detach_filter(fd),
        })
    }

    /// Lets a classic filter say how many bytes of each frame the queues of a TAP get. `None` takes
    /// it off.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL) on TUN: there, [`Device::set_filter`] or [`ClassicFilter::run`].
    pub fn set_classic_filter(&self, filter: Option<&ClassicFilter>) -> Result<()> {
        self.ioctl("set the classic filter of", Setting::ClassicFilter, |fd| match filter {
            Some(filter) => filter.attach(fd),
            None => ClassicFilter::detach(fd),
        })
    }

    /// What the kernel's own hash interface can do.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL) where the kernel has none, as up to Linux 6.18:
    /// [`DeviceOptions::hash_report`](crate::DeviceOptions::hash_report) and [`Rss`] do the same.
    pub fn vnet_hash_cap(&self) -> Result<VnetHashCap> {
        self.ioctl("probe the hash of", Setting::VnetHash, |fd| VnetHashCap::probe(fd))
    }

    /// Sets the kernel's own hash interface.
    ///
    /// # Errors
    /// As [`Device::vnet_hash_cap`].
    pub fn set_vnet_hash(&self, config: &VnetHashConfig) -> Result<()> {
        self.ioctl("set the hash of", Setting::VnetHash, |fd| config.set(fd))
    }
}
