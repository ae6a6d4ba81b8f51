//! Port mirrors: copies of frames.

use alloc::vec::Vec;

use adit_packet::{Ethernet, Headers, PacketBuf, VnetHeader};

use crate::endpoint::{Endpoint, PortId};
use crate::outbox::Outbox;
use crate::switch::config::{FrameMatch, Mirror, MirrorDirection, MirrorFilter, SwitchConfig};

/// Which mirrors watch a port, one bit a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watchers {
    pub(super) ingress: u32,
    pub(super) egress: u32,
}

const _: () = assert!(SwitchConfig::MIRRORS_MAX <= 32, "one bit a mirror");

impl Watchers {
    pub(super) fn of(port: PortId, mirrors: &[Mirror]) -> Self {
        let mut watchers = Self::default();
        for (at, mirror) in (0_u32..).zip(mirrors) {
            if !mirror.ports.is_empty() && !mirror.ports.contains(&port) {
                continue;
            }
            if mirror.direction != MirrorDirection::Egress {
                watchers.ingress |= 1 << at;
            }
            if mirror.direction != MirrorDirection::Ingress {
                watchers.egress |= 1 << at;
            }
        }
        watchers
    }
}

/// Counts a copy that could not be made.
#[cold]
pub(super) fn note_missed(missed: &mut Vec<(PortId, u64)>, to: PortId) {
    match missed.iter_mut().find(|(of, _)| *of == to) {
        Some((_, count)) => *count += 1,
        None => missed.push((to, 1)),
    }
}

/// Sends copies of a frame to those mirrors of `watching` whose filter accepts it. Calls `sent` for each with
/// the length of the copy; `None` if there was no room for it.
pub(super) fn copy_to(
    mirrors: &[Mirror],
    mut watching: u32,
    packet: &PacketBuf,
    out: &mut Outbox,
    mut sent: impl FnMut(PortId, Option<usize>),
) {
    while watching != 0 {
        let at = usize::try_from(watching.trailing_zeros()).unwrap_or(usize::MAX);
        watching &= watching - 1;
        let Some(mirror) = mirrors.get(at) else { return };
        let keep = mirror.filter.keep(packet.bytes()).min(mirror.truncate.unwrap_or(usize::MAX));
        if keep != 0 {
            let before = out.counts().sent();
            send_first(mirror.to, packet, keep, out);
            let has_gone = out.counts().sent() != before;
            sent(mirror.to, has_gone.then(|| packet.len().min(keep)));
        }
    }
}

/// Sends a copy of the first `keep` bytes.
fn send_first(to: PortId, packet: &PacketBuf, keep: usize, out: &mut Outbox) {
    if keep >= packet.len() {
        return out.send_copy(Endpoint::Port(to), packet);
    }
    let Some(mut copy) = out.make(keep) else { return };
    if let (Some(to), Some(from)) = (copy.grow(keep), packet.bytes().get(..keep)) {
        to.copy_from_slice(from);
    }
    copy.meta = packet.meta;
    // Nothing can be cut up or summed of which a part is missing.
    copy.meta.vnet = VnetHeader::default();
    copy.meta.truncated = u32::try_from(packet.len() - keep).unwrap_or(u32::MAX);
    out.send(Endpoint::Port(to), copy);
}

impl MirrorFilter {
    /// How many bytes of `frame` to copy.
    fn keep(&self, frame: &[u8]) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Match(wanted) if wanted.agrees(frame) => usize::MAX,
            Self::Match(_) => 0,
            Self::Program(program) => program.keep(frame),
        }
    }
}

impl FrameMatch {
    /// Whether `frame` has all that is given.
    #[must_use]
    pub fn agrees(&self, frame: &[u8]) -> bool {
        let Ok(ethernet) = Ethernet::parse(frame) else { return *self == Self::default() };
        let outer = ethernet.tags().next().map(|tag| tag.vid());
        let has_mac = |mac| mac == ethernet.source() || mac == ethernet.destination();
        self.vlan.is_none_or(|vlan| outer == Some(vlan.number()))
            && self.mac.is_none_or(has_mac)
            && self.ether_type.is_none_or(|wanted| wanted == ethernet.ether_type())
            && self.agrees_above(frame)
    }

    fn agrees_above(&self, frame: &[u8]) -> bool {
        if self.protocol.is_none() && self.port.is_none() {
            return true;
        }
        let Ok(headers) = Headers::parse_frame(frame) else { return false };
        let ports = headers.ports(frame);
        self.protocol.is_none_or(|wanted| headers.protocol() == Some(wanted))
            && self
                .port
                .is_none_or(|port| ports.is_some_and(|(from, to)| from == port || to == port))
    }
}
