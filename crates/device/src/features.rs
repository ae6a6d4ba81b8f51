//! What the TUN/TAP driver of this kernel can do.

use crate::diagnose::{self, Setting};
use crate::open::{NODE, open_node};
use crate::{Error, Result, sys};
use std::os::fd::AsFd;

bitflags::bitflags! {
    /// What the driver says that it can do (`TUNGETFEATURES`). Bits that are not named are kept.
    ///
    /// Source: `TUN_FEATURES` of Linux `drivers/net/tun.c`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u32 {
        /// Packets (`IFF_TUN`).
        const TUN = 0x0001;
        /// Frames (`IFF_TAP`).
        const TAP = 0x0002;
        /// What is written runs through NAPI (`IFF_NAPI`, Linux 4.15).
        const NAPI = 0x0010;
        /// Writes in fragments (`IFF_NAPI_FRAGS`, Linux 4.15).
        const NAPI_FRAGS = 0x0020;
        /// A device that starts without a carrier (`IFF_NO_CARRIER`, Linux 6.1).
        const NO_CARRIER = 0x0040;
        /// More than one queue (`IFF_MULTI_QUEUE`, Linux 3.8).
        const MULTI_QUEUE = 0x0100;
        /// Packets without packet information (`IFF_NO_PI`).
        const NO_PI = 0x1000;
        /// Taken and without effect since Linux 3.8 (`IFF_ONE_QUEUE`).
        const ONE_QUEUE = 0x2000;
        /// The virtio-net header (`IFF_VNET_HDR`).
        const VNET_HDR = 0x4000;
        const _ = !0;
    }
}

impl Features {
    /// Asks the driver; needs no privilege beyond opening its node.
    ///
    /// # Errors
    /// `NotFound` (ENOENT, ENODEV) without the driver or its node; `NotPermitted` (EACCES, EPERM).
    pub fn read() -> Result<Self> {
        let fd = open_node(true)?;
        let bits = sys::tun::features(fd.as_fd()).map_err(|error| {
            let cause = diagnose::setting(Setting::Features(0), &error);
            Error::new("read the features of", NODE, cause, error)
        })?;
        Ok(Self::from_bits_retain(bits))
    }
}
