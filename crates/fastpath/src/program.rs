//! The two programs.
//!
//! Offsets are those of `struct __sk_buff`, numbers of helpers those of `linux/bpf.h`.

use crate::entry::{
    self, COUNTERS_LEN, EPOCH, FORM, GROUP, INDEX, ISOLATED, Ingress, KEY, LEN_MAX, LIFETIME,
    NO_GROUP, PORT, SEEN, SLOT, SLOTS_MAX, UNTAGGED,
};
use adit_device::bpf::assembler::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use adit_device::bpf::assembler::{Assembler, Condition, Label, Operation, Register, Width};
use adit_device::bpf::{ArrayMap, Instruction};
use adit_engine::fast_path::FastTags;
use std::os::fd::BorrowedFd;

const LEN: i16 = 0;
const PACKET_TYPE: i16 = 4;
const PROTOCOL: i16 = 16;
const VLAN_PRESENT: i16 = 20;
const VLAN_TCI: i16 = 24;
const VLAN_PROTO: i16 = 28;
const IFINDEX: i16 = 40;
const GSO_SIZE: i16 = 176;
/// The words of the control block, which pass from one program to the next.
const MARK: [i16; 2] = [48, 52];
const MARK_INGRESS: i16 = 56;
const MARK_EGRESS: i16 = 60;
/// 0; [`POP`]; or a tag's type in the high half and its number in the low one.
const MARK_TAG: i16 = 64;
const POP: i32 = 1;

/// `PACKET_OTHERHOST`: a frame for one station that is not the interface's own.
const OTHER_HOST: i32 = 3;
/// `TC_ACT_UNSPEC`: the frame goes on as if there were no program.
const GO_ON: i32 = -1;

const MAP_LOOKUP: i32 = 1;
const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;
const REDIRECT: i32 = 23;
const LOAD_BYTES: i32 = 26;
const COARSE_TIME: i32 = 160;

/// How old the time in an entry may become, as a power of two of nanoseconds (0.13 s), before it is written
/// again: every write takes the entry away from other processors.
const SEEN_SHIFT: i32 = 27;
/// The length of a tag.
const TAG_LEN: i32 = 4;
/// Types of tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const VLAN_MASK: i32 = 0x0fff;

/// Where things are on the stack: keys are VLAN and address, a word each; the frame's two addresses are
/// loaded behind the VLAN of the first.
const SOURCE_KEY: i16 = -8;
const DESTINATION_KEY: i16 = -24;
const ADDRESSES: i16 = DESTINATION_KEY + 2;
const SOURCE: i16 = ADDRESSES + 6;
/// 4 if the frame came with the tag of its VLAN, else 0.
const CARRIED: i16 = -32;
/// The type of that tag, or of the one that it gets.
const TAG_TYPE: i16 = -36;
/// What the other program does to the tag.
const CHANGE: i16 = -40;

/// What the programs read and write.
pub(crate) struct Maps<'a> {
    pub(crate) addresses: BorrowedFd<'a>,
    /// The epoch.
    pub(crate) state: &'a ArrayMap,
    /// By slot.
    pub(crate) counters: &'a ArrayMap,
    /// What marks a buffer.
    pub(crate) secret: [i32; 2],
}

/// The program that decides, for frames that come in at one port.
///
/// It forwards a frame if both addresses are in the table, in the same VLAN and valid, the source at this
/// port and the destination at another one that this port may send to. R6 is the buffer, R7 the entry of the
/// source, R8 that of the destination.
pub(crate) fn filter(maps: &Maps<'_>, port: &Ingress) -> Vec<Instruction> {
    let mut asm = Assembler::default();
    let keep = asm.label();
    let mut writer = Writer { asm, keep, maps, port };
    writer.vlan();
    writer.addresses();
    writer.source();
    writer.destination();
    writer.tag();
    writer.time();
    writer.count();
    writer.mark();
    writer.asm.bind(keep);
    writer.asm.set(R0, -1);
    writer.asm.exit();
    writer.asm.finish()
}

struct Writer<'a> {
    asm: Assembler,
    /// Where the frame is given to the socket.
    keep: Label,
    maps: &'a Maps<'a>,
    port: &'a Ingress,
}

impl Writer<'_> {
    /// Puts the VLAN before both keys, as it is for a frame that comes in here.
    fn vlan(&mut self) {
        let (asm, keep) = (&mut self.asm, self.keep);
        let (tagged, done) = (asm.label(), asm.label());
        asm.copy(R6, R1);
        asm.load(Width::U32, R1, R6, PACKET_TYPE);
        asm.jump_if(R1, Condition::NotEqual, OTHER_HOST, keep);
        asm.load(Width::U32, R2, R6, VLAN_PRESENT);
        asm.jump_if(R2, Condition::NotEqual, 0, tagged);
        // A tag that the kernel has left in the frame is of a type that it does not know.
        asm.load(Width::U32, R1, R6, PROTOCOL);
        jump_if_tag(asm, R1, keep);
        let (untagged, tpid) = match self.port.rules.tags {
            FastTags::Any => (Some(0), TAGS[0]),
            FastTags::Access(vlan) => (Some(vlan), TAGS[0]),
            FastTags::Trunk { tpid, pvid } => (pvid, tpid),
        };
        asm.set(R3, 0);
        asm.set(R2, in_packet(tpid));
        match untagged {
            Some(vlan) => {
                asm.set(R1, i32::from(vlan));
                asm.jump(done);
            }
            None => asm.jump(keep),
        }
        asm.bind(tagged);
        asm.load(Width::U32, R2, R6, VLAN_PROTO);
        asm.load(Width::U32, R1, R6, VLAN_TCI);
        asm.apply(Operation::And, R1, VLAN_MASK);
        asm.set(R3, TAG_LEN);
        match self.port.rules.tags {
            FastTags::Access(_) => asm.jump(keep),
            FastTags::Any => {
                // A priority tag, of no VLAN, stays where it is. Nothing is in the reserved VLAN.
                asm.jump(done);
            }
            FastTags::Trunk { tpid, .. } => {
                asm.jump_if(R2, Condition::NotEqual, in_packet(tpid), keep);
                asm.jump_if(R1, Condition::Equal, 0, keep);
                // Another tag behind it would show without it.
                asm.load(Width::U32, R4, R6, PROTOCOL);
                jump_if_tag(asm, R4, keep);
            }
        }
        asm.bind(done);
        asm.store(Width::U16, R10, SOURCE_KEY, R1);
        asm.store(Width::U16, R10, DESTINATION_KEY, R1);
        asm.store(Width::U32, R10, TAG_TYPE, R2);
        asm.store(Width::U64, R10, CARRIED, R3);
    }

    /// Completes both keys.
    fn addresses(&mut self) {
        let asm = &mut self.asm;
        asm.copy(R1, R6);
        asm.set(R2, 0);
        asm.copy(R3, R10);
        asm.apply(Operation::Add, R3, i32::from(ADDRESSES));
        asm.set(R4, 12);
        asm.call(LOAD_BYTES);
        asm.jump_if(R0, Condition::NotEqual, 0, self.keep);
        for part in [0, 2, 4] {
            asm.load(Width::U16, R1, R10, SOURCE + part);
            asm.store(Width::U16, R10, SOURCE_KEY + 2 + part, R1);
        }
    }

    /// R7 = the entry of the source, at this port.
    fn source(&mut self) {
        self.look_up(SOURCE_KEY, R7);
        let asm = &mut self.asm;
        asm.load(Width::U32, R1, R7, PORT);
        asm.jump_if(R1, Condition::NotEqual, i32::from(self.port.port.0), self.keep);
        self.check_key(SOURCE_KEY, R7);
    }

    /// R8 = the entry of the destination, at another port that this one may send to.
    fn destination(&mut self) {
        self.look_up(DESTINATION_KEY, R8);
        let (asm, keep) = (&mut self.asm, self.keep);
        asm.load(Width::U32, R1, R8, PORT);
        asm.jump_if(R1, Condition::Equal, i32::from(self.port.port.0), keep);
        if self.port.rules.isolated {
            asm.load(Width::U16, R1, R8, ISOLATED);
            asm.jump_if(R1, Condition::NotEqual, 0, keep);
        }
        let group = entry::group(self.port.rules.group);
        if group != NO_GROUP {
            asm.load(Width::U16, R1, R8, GROUP);
            asm.jump_if(R1, Condition::Equal, i32::from(group), keep);
        }
        let fits = asm.label();
        asm.load(Width::U32, R1, R6, GSO_SIZE);
        asm.jump_if(R1, Condition::NotEqual, 0, fits);
        asm.load(Width::U32, R1, R6, LEN);
        asm.load(Width::U32, R2, R8, LEN_MAX);
        asm.jump_if_register(R1, Condition::Greater, R2, keep);
        asm.bind(fits);
    }

    /// R1 = what must be done to the tag, for the other program; R9 = the length of the tag at egress.
    fn tag(&mut self) {
        let (asm, keep) = (&mut self.asm, self.keep);
        let (carried, push, done) = (asm.label(), asm.label(), asm.label());
        asm.load(Width::U64, R9, R10, CARRIED);
        asm.load(Width::U32, R3, R8, FORM);
        asm.set(R1, 0);
        let kept = asm.label();
        asm.jump_if(R3, Condition::Equal, 0, kept);
        asm.jump_if(R9, Condition::NotEqual, 0, carried);
        // Without a tag of its VLAN.
        asm.jump_if(R3, Condition::Equal, UNTAGGED.cast_signed(), done);
        asm.jump(push);
        asm.bind(kept);
        asm.load(Width::U16, R2, R10, SOURCE_KEY);
        asm.jump_if(R2, Condition::Equal, 0, done);
        asm.jump_if(R9, Condition::NotEqual, 0, done);
        asm.load(Width::U32, R3, R10, TAG_TYPE);
        asm.bind(push);
        asm.copy(R1, R3);
        asm.apply(Operation::ShiftLeft, R1, 16);
        asm.load(Width::U16, R2, R10, SOURCE_KEY);
        asm.or(R1, R2);
        asm.set(R9, TAG_LEN);
        asm.jump(done);
        asm.bind(carried);
        let same = asm.label();
        asm.jump_if(R3, Condition::NotEqual, UNTAGGED.cast_signed(), same);
        // What would show below may be another tag.
        asm.load(Width::U32, R2, R6, PROTOCOL);
        jump_if_tag(asm, R2, keep);
        asm.set(R1, POP);
        asm.set(R9, 0);
        asm.jump(done);
        asm.bind(same);
        asm.load(Width::U32, R2, R10, TAG_TYPE);
        asm.jump_if_register(R2, Condition::NotEqual, R3, keep);
        asm.bind(done);
        asm.store(Width::U32, R10, CHANGE, R1);
    }

    /// Ends here if the destination has aged; notes that the source has been seen.
    fn time(&mut self) {
        let fresh = self.asm.label();
        self.asm.call(COARSE_TIME);
        let asm = &mut self.asm;
        asm.load(Width::U64, R1, R8, SEEN);
        asm.copy(R2, R0);
        asm.subtract(R2, R1);
        asm.load(Width::U64, R3, R8, LIFETIME);
        // The time of an entry may be later: the coarse clock ticks some hundred times a second.
        asm.jump_if_register(R2, Condition::GreaterSigned, R3, self.keep);
        // Last: all that was read of the entry before was of this address.
        self.check_key(DESTINATION_KEY, R8);
        let asm = &mut self.asm;
        asm.load(Width::U64, R1, R7, SEEN);
        asm.copy(R2, R0);
        asm.subtract(R2, R1);
        asm.apply(Operation::ShiftRight, R2, SEEN_SHIFT);
        asm.jump_if(R2, Condition::Equal, 0, fresh);
        asm.store(Width::U64, R7, SEEN, R0);
        asm.bind(fresh);
    }

    /// Counts the frame at both ports.
    fn count(&mut self) {
        let asm = &mut self.asm;
        let slots = i32::from(SLOTS_MAX);
        let len = i32::try_from(COUNTERS_LEN).expect("32");
        asm.load(Width::U32, R2, R6, LEN);
        asm.add(R9, R2);
        asm.load(Width::U64, R1, R10, CARRIED);
        asm.add(R2, R1);
        asm.set(R3, 1);
        asm.load_value_address(R4, self.maps.counters, i32::from(self.port.slot) * len);
        asm.add_atomically(R4, 0, R3);
        asm.add_atomically(R4, 8, R2);
        asm.load(Width::U32, R1, R8, SLOT);
        asm.apply(Operation::And, R1, slots - 1);
        asm.apply(Operation::ShiftLeft, R1, len.trailing_zeros().cast_signed());
        asm.load_value_address(R4, self.maps.counters, 0);
        asm.add(R4, R1);
        asm.add_atomically(R4, 16, R3);
        asm.add_atomically(R4, 24, R9);
    }

    /// Marks the buffer and keeps it from the socket.
    fn mark(&mut self) {
        let asm = &mut self.asm;
        for (at, secret) in MARK.into_iter().zip(self.maps.secret) {
            asm.set(R1, secret);
            asm.store(Width::U32, R6, at, R1);
        }
        asm.load(Width::U32, R1, R6, IFINDEX);
        asm.store(Width::U32, R6, MARK_INGRESS, R1);
        asm.load(Width::U32, R1, R8, INDEX);
        asm.store(Width::U32, R6, MARK_EGRESS, R1);
        asm.load(Width::U32, R1, R10, CHANGE);
        asm.store(Width::U32, R6, MARK_TAG, R1);
        asm.set(R0, 0);
        asm.exit();
    }

    /// `entry` = the entry of a key, if it is valid in this epoch.
    fn look_up(&mut self, key: i16, entry: Register) {
        let asm = &mut self.asm;
        asm.load_map(R1, self.maps.addresses);
        asm.copy(R2, R10);
        asm.apply(Operation::Add, R2, i32::from(key));
        asm.call(MAP_LOOKUP);
        asm.jump_if(R0, Condition::Equal, 0, self.keep);
        asm.copy(entry, R0);
        asm.load_value_address(R1, self.maps.state, 0);
        asm.load(Width::U64, R1, R1, 0);
        asm.load(Width::U64, R2, entry, EPOCH);
        asm.jump_if_register(R1, Condition::NotEqual, R2, self.keep);
    }

    fn check_key(&mut self, key: i16, entry: Register) {
        let asm = &mut self.asm;
        asm.load(Width::U64, R1, R10, key);
        asm.load(Width::U64, R2, entry, KEY);
        asm.jump_if_register(R1, Condition::NotEqual, R2, self.keep);
    }
}

/// The program that sends marked frames on.
pub(crate) fn redirect(secret: [i32; 2]) -> Vec<Instruction> {
    let mut asm = Assembler::default();
    let (go_on, push, ready) = (asm.label(), asm.label(), asm.label());
    asm.copy(R6, R1);
    for (at, secret) in MARK.into_iter().zip(secret) {
        asm.load(Width::U32, R1, R6, at);
        asm.jump_if(R1, Condition::NotEqual, secret, go_on);
    }
    asm.load(Width::U32, R1, R6, MARK_INGRESS);
    asm.load(Width::U32, R2, R6, IFINDEX);
    asm.jump_if_register(R1, Condition::NotEqual, R2, go_on);
    // Once: the buffer may come back by another interface.
    asm.set(R1, 0);
    asm.store(Width::U32, R6, MARK[0], R1);
    asm.load(Width::U32, R7, R6, MARK_EGRESS);
    asm.load(Width::U32, R2, R6, MARK_TAG);
    asm.jump_if(R2, Condition::Equal, 0, ready);
    asm.jump_if(R2, Condition::NotEqual, POP, push);
    asm.copy(R1, R6);
    asm.call(VLAN_POP);
    asm.jump(ready);
    asm.bind(push);
    asm.copy(R1, R6);
    asm.copy(R3, R2);
    asm.apply(Operation::And, R3, VLAN_MASK);
    asm.apply(Operation::ShiftRight, R2, 16);
    asm.call(VLAN_PUSH);
    asm.bind(ready);
    asm.copy(R1, R7);
    asm.set(R2, 0);
    asm.call(REDIRECT);
    asm.exit();
    asm.bind(go_on);
    asm.set(R0, GO_ON);
    asm.exit();
    asm.finish()
}

/// Jumps to `to` if a type, as in a buffer, is that of a tag.
fn jump_if_tag(asm: &mut Assembler, register: Register, to: Label) {
    for tpid in TAGS {
        asm.jump_if(register, Condition::Equal, in_packet(tpid), to);
    }
}

/// A number of 16 bits as a program reads it from a buffer.
fn in_packet(number: u16) -> i32 {
    i32::from(number.to_be())
}

const _: () = assert!(SLOTS_MAX.is_power_of_two(), "a slot is a mask");
