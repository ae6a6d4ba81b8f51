//! Programs of the packet classifier on what arrives at an interface: a qdisc `clsact`, and filters of kind `bpf`
//! (tc-bpf(8)).

use super::Netlink;
use super::message::{Message, Request, attributes, read_string, split};
use super::uapi::{
    AF_UNSPEC, RTM_DELQDISC, RTM_DELTFILTER, RTM_GETTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER,
    TC_H_CLSACT, TC_H_CLSACT_EGRESS, TC_H_CLSACT_HANDLE, TC_H_CLSACT_INGRESS, TCA_BPF_FD,
    TCA_BPF_FLAG_ACT_DIRECT, TCA_BPF_FLAGS, TCA_BPF_NAME, TCA_KIND, TCA_OPTIONS,
};
use crate::IfIndex;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The priority of a program of ours and the type of its frames (all, `ETH_P_ALL`), as `tcm_info` has them: first, since the
/// packet sockets get a frame before all filters too.
const FIRST_OF_ALL: u32 = 1 << 16 | 0x0003_u16.to_be() as u32;

/// A filter on what arrives at an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierFilter {
    /// The name of its program; empty for filters of other kinds.
    pub name: Vec<u8>,
    handle: u32,
    info: u32,
}

impl Netlink {
    /// Gives an interface a place for filters; `false` if it has one.
    ///
    /// # Errors
    /// EPERM without `CAP_NET_ADMIN`; ENODEV; ENOENT or EOPNOTSUPP on a kernel without clsact.
    pub fn add_clsact(&mut self, index: IfIndex) -> io::Result<bool> {
        let header = header(index, TC_H_CLSACT, TC_H_CLSACT_HANDLE, 0);
        let mut request = Request::new(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &header);
        match self.change(request.string(TCA_KIND, b"clsact")) {
            Err(error) if super::raw_errno(&error) == Some(Errno::EXIST.raw_os_error()) => {
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    /// Takes the place for filters away, and all filters with it.
    ///
    /// # Errors
    /// ENOENT if there is none.
    pub fn remove_clsact(&mut self, index: IfIndex) -> io::Result<()> {
        let header = header(index, TC_H_CLSACT, TC_H_CLSACT_HANDLE, 0);
        self.change(&mut Request::new(RTM_DELQDISC, 0, &header))
    }

    /// Runs a program of type `BPF_PROG_TYPE_SCHED_CLS` on what arrives, before all other filters. Its result is the
    /// action.
    ///
    /// # Errors
    /// EINVAL: a filter of another kind has the first priority, or there is no place for filters.
    pub fn add_ingress_program(
        &mut self,
        index: IfIndex,
        program: impl AsFd,
        name: &[u8],
    ) -> io::Result<()> {
        let header = header(index, TC_H_CLSACT_INGRESS, 0, FIRST_OF_ALL);
        let mut request = Request::new(RTM_NEWTFILTER, NLM_F_CREATE, &header);
        let fd = program.as_fd().as_raw_fd().cast_unsigned();
        request.string(TCA_KIND, b"bpf").nested(TCA_OPTIONS, |options| {
            options.u32(TCA_BPF_FD, fd).string(TCA_BPF_NAME, name);
            options.u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
        });
        self.change(&mut request)
    }

    /// The filters on what arrives at an interface.
    ///
    /// # Errors
    /// As all lists.
    pub fn ingress_filters(&mut self, index: IfIndex) -> io::Result<Vec<ClassifierFilter>> {
        self.filters(index, TC_H_CLSACT_INGRESS)
    }

    /// Whether no filter is on what arrives at an interface or leaves by it.
    ///
    /// # Errors
    /// As all lists.
    pub fn has_no_filter(&mut self, index: IfIndex) -> io::Result<bool> {
        Ok(self.filters(index, TC_H_CLSACT_INGRESS)?.is_empty()
            && self.filters(index, TC_H_CLSACT_EGRESS)?.is_empty())
    }

    /// Removes a filter on what arrives.
    ///
    /// # Errors
    /// ENOENT, EINVAL: it was removed.
    pub fn remove_ingress_filter(
        &mut self,
        index: IfIndex,
        filter: &ClassifierFilter,
    ) -> io::Result<()> {
        let header = header(index, TC_H_CLSACT_INGRESS, filter.handle, filter.info);
        let mut request = Request::new(RTM_DELTFILTER, 0, &header);
        self.change(request.string(TCA_KIND, b"bpf"))
    }

    fn filters(&mut self, index: IfIndex, parent: u32) -> io::Result<Vec<ClassifierFilter>> {
        let header = header(index, parent, 0, 0);
        let mut request = Request::new(RTM_GETTFILTER, NLM_F_DUMP, &header);
        self.list(&mut request, |message| decode(message).filter(|filter| filter.handle != 0))
    }
}

/// A filter; each priority comes first as one without a handle.
fn decode(message: &Message<'_>) -> Option<ClassifierFilter> {
    if message.kind != RTM_NEWTFILTER {
        return None;
    }
    let (header, rest) = split::<HEADER_LEN>(message.body)?;
    let [_, _, _, _, _, _, _, _, h0, h1, h2, h3, _, _, _, _, i0, i1, i2, i3] = *header;
    let options = attributes(rest).find(|(kind, _)| *kind == TCA_OPTIONS);
    let name = options
        .and_then(|(_, options)| attributes(options).find(|(kind, _)| *kind == TCA_BPF_NAME))
        .map_or_else(Vec::new, |(_, name)| read_string(name).to_vec());
    let is_bpf =
        attributes(rest).any(|(kind, text)| kind == TCA_KIND && read_string(text) == b"bpf");
    Some(ClassifierFilter {
        name: if is_bpf { name } else { Vec::new() },
        handle: u32::from_ne_bytes([h0, h1, h2, h3]),
        info: u32::from_ne_bytes([i0, i1, i2, i3]),
    })
}

/// The length of `struct tcmsg` of `linux/rtnetlink.h`.
const HEADER_LEN: usize = 20;

/// ```text
/// | family u8 | pad u8 | pad u16 | index i32 | handle u32 | parent u32 | info u32 |
/// ```
fn header(index: IfIndex, parent: u32, handle: u32, info: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = AF_UNSPEC;
    for (at, word) in [index.get(), handle, parent, info].into_iter().enumerate() {
        header[4 + 4 * at..8 + 4 * at].copy_from_slice(&word.to_ne_bytes());
    }
    header
}
