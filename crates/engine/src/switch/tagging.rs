//! Tags of frames on their way: which VLAN a frame is in, and what is done to its tags.
//!
//! A frame keeps the tag with which it came until a port wants another form of it, so that most
//! frames are never edited; and a flood edits the one original between the copies.

use adit_packet::{PacketBuf, VlanTag, ether_type};

use crate::drop_reason::DropReason;
use crate::switch::config::{TagKind, Trunk, VlanMode};
use crate::switch::head::{Head, type_at};

/// Priority and drop eligibility in a tag.
const PRIORITY: u16 = 0xf000;
/// The number that no VLAN has (IEEE 802.1Q, table 9-2).
const RESERVED: u16 = 0x0fff;
/// The length of a tag, in the type of a virtio-net header's offsets.
const TAG_LEN: u16 = 4;

/// The VLAN of a frame and the tag that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tagging {
    /// The VLAN; 0 is the untagged network of transparent ports.
    pub(super) vlan: u16,
    /// Whether the outer tag in the buffer is the VLAN's. If not, a tag that is there is payload.
    carried: bool,
    /// What kind of tag the frame gets where it is not known which one is wanted.
    tpid: u16,
    /// Its priority, in place.
    priority: u16,
}

/// How a frame is to leave by a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    AsItIs,
    Tagged {
        tpid: u16,
    },
    /// Without the VLAN's tag, and with no other one that the receiver would read.
    Untagged(MayShow),
}

/// Which tag may stand first in an untagged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayShow {
    Any,
    AllBut(u16),
    None,
}

impl Tagging {
    /// The VLAN of a frame that comes in, from which a priority tag is taken off where the port has
    /// VLANs.
    ///
    /// # Errors
    ///
    /// [`DropReason::VLAN_FILTERED`] if the port does not take it.
    pub(super) fn ingress(
        mode: &VlanMode,
        head: &Head,
        packet: &mut PacketBuf,
    ) -> Result<Self, DropReason> {
        match mode {
            VlanMode::Transparent => match head.tag {
                Some(tag) if tag.vid() == RESERVED => Err(DropReason::VLAN_FILTERED),
                Some(tag) if tag.vid() != 0 => Ok(Self::carried(tag)),
                _ => Ok(Self::untagged(0, TagKind::Customer)),
            },
            VlanMode::Access(vlan) => {
                let mut tagging = Self::untagged(vlan.number(), TagKind::Customer);
                match head.tag {
                    Some(tag) if tag.tpid != ether_type::VLAN => Err(DropReason::VLAN_FILTERED)?,
                    Some(tag) => tagging.take_priority(tag, packet, MayShow::None)?,
                    None => {}
                }
                Ok(tagging)
            }
            VlanMode::Trunk(trunk) => Self::trunk_ingress(trunk, head, packet),
            VlanMode::Tunnel(vlan) => {
                let mut tagging = Self::untagged(vlan.number(), TagKind::Service);
                // The customer's priority is the provider's as well (802.1ad, 6.9.3).
                tagging.priority = head.tag.map_or(0, |tag| tag.tci & PRIORITY);
                Ok(tagging)
            }
        }
    }

    fn trunk_ingress(
        trunk: &Trunk,
        head: &Head,
        packet: &mut PacketBuf,
    ) -> Result<Self, DropReason> {
        let tpid = trunk.tag.tpid();
        let tag = head.tag.filter(|tag| tag.tpid == tpid);
        if let Some(tag) = tag.filter(|tag| tag.vid() != 0) {
            let is_member = trunk.tagged.has(tag.vid()) || trunk.untagged.has(tag.vid());
            return if is_member { Ok(Self::carried(tag)) } else { Err(DropReason::VLAN_FILTERED) };
        }
        let pvid = trunk.pvid.ok_or(DropReason::VLAN_FILTERED)?;
        let mut tagging = Self::untagged(pvid.number(), trunk.tag);
        if let Some(tag) = tag {
            tagging.take_priority(tag, packet, MayShow::AllBut(tpid))?;
        }
        Ok(tagging)
    }

    const fn carried(tag: VlanTag) -> Self {
        Self { vlan: tag.vid(), carried: true, tpid: tag.tpid, priority: tag.tci & PRIORITY }
    }

    /// That of a frame in a VLAN, to see how it would leave.
    pub(super) const fn of_vlan(vlan: u16) -> Self {
        Self::untagged(vlan, TagKind::Customer)
    }

    const fn untagged(vlan: u16, kind: TagKind) -> Self {
        Self { vlan, carried: false, tpid: kind.tpid(), priority: 0 }
    }

    /// Takes off a tag without a VLAN. One with a VLAN, and another tag behind it, are refused: that
    /// is how a host would get into a VLAN that is not its own.
    fn take_priority(
        &mut self,
        tag: VlanTag,
        packet: &mut PacketBuf,
        may_show: MayShow,
    ) -> Result<(), DropReason> {
        if tag.vid() != 0 {
            return Err(DropReason::VLAN_FILTERED);
        }
        self.priority = tag.tci & PRIORITY;
        pop(packet)?;
        may_show.check(packet)
    }

    /// How a frame of this VLAN is to leave by a port.
    ///
    /// # Errors
    ///
    /// [`DropReason::VLAN_FILTERED`] if the port is not a member of its VLAN.
    pub(super) fn form(&self, mode: &VlanMode) -> Result<Form, DropReason> {
        match mode {
            VlanMode::Transparent if self.vlan == 0 => Ok(Form::AsItIs),
            VlanMode::Transparent => Ok(Form::Tagged { tpid: self.tpid }),
            VlanMode::Access(vlan) if vlan.number() == self.vlan => {
                Ok(Form::Untagged(MayShow::None))
            }
            VlanMode::Tunnel(vlan) if vlan.number() == self.vlan => {
                Ok(Form::Untagged(MayShow::Any))
            }
            VlanMode::Trunk(trunk) if trunk.tagged.has(self.vlan) => {
                Ok(Form::Tagged { tpid: trunk.tag.tpid() })
            }
            VlanMode::Trunk(trunk) if trunk.untagged.has(self.vlan) => {
                Ok(Form::Untagged(MayShow::AllBut(trunk.tag.tpid())))
            }
            _ => Err(DropReason::VLAN_FILTERED),
        }
    }

    /// Gives the frame that form, from whichever it has now.
    ///
    /// # Errors
    ///
    /// [`DropReason::VLAN_FILTERED`] if another tag would show, [`DropReason::MALFORMED`] if the
    /// virtio-net header points into the tag, [`DropReason::NO_BUFFER`] without headroom.
    pub(super) fn apply(&mut self, form: Form, packet: &mut PacketBuf) -> Result<(), DropReason> {
        match form {
            Form::AsItIs => Ok(()),
            Form::Tagged { tpid } if self.carried => {
                if let Some(field) = packet.bytes_mut().get_mut(Head::TYPE..Head::TYPE + 2) {
                    field.copy_from_slice(&tpid.to_be_bytes());
                }
                Ok(())
            }
            Form::Tagged { tpid } => {
                push(packet, VlanTag { tpid, tci: self.priority | self.vlan })?;
                self.carried = true;
                Ok(())
            }
            Form::Untagged(may_show) => {
                if self.carried {
                    pop(packet)?;
                    self.carried = false;
                }
                may_show.check(packet)
            }
        }
    }
}

/// Puts the tag on a frame of our own that it needs to leave by such a port: of its first VLAN, if
/// it has none untagged.
pub(super) fn tag_own(mode: &VlanMode, packet: &mut PacketBuf) -> Result<(), DropReason> {
    match mode {
        VlanMode::Trunk(trunk) if trunk.untagged.is_empty() => {
            let vlan = trunk.tagged.iter().next().ok_or(DropReason::VLAN_FILTERED)?;
            push(packet, VlanTag { tpid: trunk.tag.tpid(), tci: vlan.number() })
        }
        _ => Ok(()),
    }
}

/// The same for a frame of our own in a certain VLAN, 0 for the untagged network.
pub(super) fn tag_own_in(
    vlan: u16,
    mode: &VlanMode,
    packet: &mut PacketBuf,
) -> Result<(), DropReason> {
    let mut tagging = Tagging::of_vlan(vlan);
    tagging.apply(tagging.form(mode)?, packet)
}

impl MayShow {
    fn check(self, packet: &PacketBuf) -> Result<(), DropReason> {
        let Some(shown) = type_at(packet.bytes(), Head::TYPE) else {
            return Err(DropReason::MALFORMED);
        };
        let is_fine = match self {
            Self::Any => true,
            Self::AllBut(tpid) => shown != tpid,
            Self::None => !ether_type::is_tag(shown),
        };
        if is_fine { Ok(()) } else { Err(DropReason::VLAN_FILTERED) }
    }
}

/// Puts a tag after the two addresses.
fn push(packet: &mut PacketBuf, tag: VlanTag) -> Result<(), DropReason> {
    let vnet = packet.meta.vnet.shifted(|at| at.checked_add(TAG_LEN));
    let vnet = vnet.ok_or(DropReason::MALFORMED)?;
    packet.prepend(VlanTag::LEN).ok_or(DropReason::NO_BUFFER)?;
    let bytes = packet.bytes_mut();
    bytes.copy_within(VlanTag::LEN..VlanTag::LEN + Head::TYPE, 0);
    if let Some(field) = bytes.get_mut(Head::TYPE..Head::TYPE + VlanTag::LEN) {
        field.copy_from_slice(&tag.to_bytes());
    }
    packet.meta.vnet = vnet;
    Ok(())
}

/// Takes the outer tag off. The frame has one.
fn pop(packet: &mut PacketBuf) -> Result<(), DropReason> {
    let vnet = packet.meta.vnet.shifted(|at| at.checked_sub(TAG_LEN));
    let vnet = vnet.ok_or(DropReason::MALFORMED)?;
    packet.bytes_mut().copy_within(..Head::TYPE, VlanTag::LEN);
    packet.advance(VlanTag::LEN);
    packet.meta.vnet = vnet;
    Ok(())
}
