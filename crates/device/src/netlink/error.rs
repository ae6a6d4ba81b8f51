//! Errors with the kernel's own message.

use super::message::{attributes, read_i32, read_string, split};
use super::uapi::NLMSGERR_ATTR_MSG;
use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::io;

/// An error with a message from the kernel (an extended acknowledgement). It is the inner error of
/// an [`io::Error`]: [`NetlinkError::of`] finds it, and [`raw_errno`] its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetlinkError {
    errno: i32,
    message: String,
}

impl NetlinkError {
    /// The error inside of `error`, if the kernel gave a message.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The errno, a positive number.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno
    }

    /// The kernel's message, such as "Nexthop has invalid gateway".
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = io::Error::from_raw_os_error(self.errno);
        write!(f, "{}: {errno}", self.message.trim_end_matches('.'))
    }
}

impl Error for NetlinkError {}

/// The errno of an error of this module, with or without a message from the kernel.
///
/// [`io::Error::raw_os_error`] returns `None` for an error with a message.
///
/// ```
/// let mut netlink = adit_device::netlink::Netlink::open()?;
/// let error = netlink.link_by_name(&"no-such-link".parse()?).unwrap_err();
/// assert_eq!(adit_device::netlink::raw_errno(&error), Some(19)); // ENODEV
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn raw_errno(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| NetlinkError::of(error).map(NetlinkError::errno))
}

/// The result in the body of an NLMSG_ERROR.
///
/// ```text
/// | error i32, negative or 0 | header of the request, 16 bytes | its body, unless CAPPED | TLVs |
/// ```
pub(super) fn acknowledgement(flags: u16, body: &[u8]) -> io::Result<()> {
    const REQUEST_HEADER_LEN: usize = 16;
    let Some(code) = read_i32(body) else { return Err(malformed()) };
    if code == 0 {
        return Ok(());
    }
    let request = body.get(4..).unwrap_or(&[]);
    let request_len = if flags & NLM_F_CAPPED != 0 {
        REQUEST_HEADER_LEN
    } else {
        let len = split(request).map_or(0, |(len, _)| u32::from_ne_bytes(*len));
        usize::try_from(len).unwrap_or(usize::MAX).checked_next_multiple_of(4).unwrap_or(usize::MAX)
    };
    let words = if flags & NLM_F_ACK_TLVS != 0 { request.get(request_len..) } else { None };
    Err(refusal(code, words.unwrap_or(&[])))
}

/// The result in the body of an NLMSG_DONE: an errno, if any, then TLVs.
pub(super) fn end_of_dump(flags: u16, body: &[u8]) -> io::Result<()> {
    match read_i32(body) {
        None | Some(0..) => Ok(()),
        Some(code) if flags & NLM_F_ACK_TLVS != 0 => Err(refusal(code, &body[4..])),
        Some(code) => Err(refusal(code, &[])),
    }
}

/// The error for an invalid message from the kernel.
pub(super) fn malformed() -> io::Error {
    Errno::BADMSG.into()
}

fn refusal(code: i32, words: &[u8]) -> io::Error {
    let errno = code.checked_neg().filter(|errno| *errno > 0).unwrap_or(libc::EPROTO);
    let plain = io::Error::from_raw_os_error(errno);
    match attributes(words).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG) {
        Some((_, text)) => {
            let message = String::from_utf8_lossy(read_string(text)).into_owned();
            io::Error::new(plain.kind(), NetlinkError { errno, message })
        }
        None => plain,
    }
}
