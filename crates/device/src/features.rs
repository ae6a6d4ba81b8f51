//! The features of the kernel's TUN/TAP driver.

use crate::cause::diagnose::{self, Setting};
use crate::options::open::open_node;
use crate::sys::tun::NODE;
use crate::{Error, Result, sys};
use std::os::fd::AsFd;

bitflags::bitflags! {
    /// The features that the driver reports (`TUNGETFEATURES`). Unnamed bits are kept.
    ///
    /// Source: `TUN_FEATURES` of Linux `drivers/net/tun.c`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u32 {
        /// IP packets (`IFF_TUN`).
        const TUN = 0x0001;
        /// Ethernet frames (`IFF_TAP`).
        const TAP = 0x0002;
        /// Sent packets pass through NAPI (`IFF_NAPI`, Linux 4.15).
        const NAPI = 0x0010;
        /// Fragments from vectored writes (`IFF_NAPI_FRAGS`, Linux 4.15).
        const NAPI_FRAGS = 0x0020;
        /// Devices that start without a carrier (`IFF_NO_CARRIER`, Linux 6.1).
        const NO_CARRIER = 0x0040;
        /// Several queues (`IFF_MULTI_QUEUE`, Linux 3.8).
        const MULTI_QUEUE = 0x0100;
        /// Packets without packet information (`IFF_NO_PI`).
        const NO_PI = 0x1000;
        /// Accepted and without effect since Linux 3.8 (`IFF_ONE_QUEUE`).
        const ONE_QUEUE = 0x2000;
        /// The virtio-net header (`IFF_VNET_HDR`).
        const VNET_HDR = 0x4000;
        const _ = !0;
    }
}

impl Features {
    /// Reads the features from the driver. Requires nothing but the right to open `/dev/net/tun`.
    ///
    /// # Errors
    /// `NotFound` (ENOENT, ENODEV) without the driver or its device node; `NotPermitted` (EACCES,
    /// EPERM).
    pub fn read() -> Result<Self> {
        let fd = open_node(true)?;
        let bits = sys::tun::features(fd.as_fd()).map_err(|error| {
            let cause = diagnose::setting(Setting::Features(0), &error);
            Error::new("read the features of", NODE, cause, error)
        })?;
        Ok(Self::from_bits_retain(bits))
    }
}
