//! RSS as an eBPF program: it finds the tuple in the kernel as `tuple.rs` does here, hashes it with
//! the same tables, and returns a queue.
//!
//! ```text
//! R6 context   R7 offset into the packet   R8 hash   R9 next header, then address of the tables
//! stack: -56 scratch | -52 IPv4 header ............ |
//!                        -48 IPv6 header ................ |
//!                               -40 tuple: addresses | ports     the headers are loaded so that
//!                                                                the addresses fall into place
//! ```

use super::indirection::INDIRECTION_LEN_MAX;
use super::tuple::{
    AUTHENTICATION, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPES_VLAN, EXTENSIONS, EXTENSIONS_MAX,
    FRAGMENT_BITS, TCP, TUPLE_LEN_MAX, UDP, VLAN_TAGS_MAX,
};
use crate::Mode;
use crate::bpf::Instruction;
use crate::bpf::assembler::{Assembler, Condition, Label, Operation, Register, Width};
use crate::sys::bpf::ArrayMap;
use Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use adit_packet::HashTypes;

/// What the program returns.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    /// The entry of the indirection table, 128 times u16.
    Queue { table: &'a ArrayMap },
    /// The hash itself.
    #[cfg(test)]
    Hash,
}

/// The program; `hash_map` holds `PacketHasher::tables_value`.
pub(super) fn assemble(
    mode: Mode,
    types: HashTypes,
    unclassified_queue: u16,
    hash_map: &ArrayMap,
    answer: Answer<'_>,
) -> Vec<Instruction> {
    let mut asm = Assembler::default();
    let labels = Labels { ipv4: asm.label(), ipv6: asm.label(), unclassified: asm.label() };
    let mut writer = Writer { asm, labels, types, hash_map, answer };
    writer.asm.copy(R6, R1);
    match mode {
        Mode::Tun => writer.version(),
        Mode::Tap => writer.ethernet(),
    }
    writer.ipv4();
    writer.ipv6();
    writer.asm.bind(writer.labels.unclassified);
    writer.asm.set(R0, i32::from(unclassified_queue));
    writer.asm.exit();
    writer.asm.finish()
}

const SCRATCH: i16 = -56;
const TUPLE: i16 = -40;
const IPV4_HEADER: i16 = TUPLE - 12;
const IPV6_HEADER: i16 = TUPLE - 8;

/// The helper `bpf_skb_load_bytes`: for any kind of buffer, and it says so if the packet is short,
/// where the classic loads would end the program with queue 0.
const SKB_LOAD_BYTES: i32 = 26;

/// Offset of `vlan_present` in `struct __sk_buff`.
const VLAN_PRESENT: i16 = 20;

#[derive(Clone, Copy, Debug)]
struct Labels {
    ipv4: Label,
    ipv6: Label,
    unclassified: Label,
}

struct Writer<'a> {
    asm: Assembler,
    labels: Labels,
    types: HashTypes,
    hash_map: &'a ArrayMap,
    answer: Answer<'a>,
}

impl Writer<'_> {
    /// TUN: branches on the IP version in the first byte.
    fn version(&mut self) {
        self.asm.set(R7, 0);
        self.load_packet(SCRATCH, 1, self.labels.unclassified);
        self.asm.load(Width::U8, R1, R10, SCRATCH);
        self.asm.apply(Operation::ShiftRight, R1, 4);
        self.asm.jump_if(R1, Condition::Equal, 4, self.labels.ipv4);
        self.asm.jump_if(R1, Condition::Equal, 6, self.labels.ipv6);
        self.asm.jump(self.labels.unclassified);
    }

    /// TAP: skips Ethernet header and tags, and branches on the type.
    fn ethernet(&mut self) {
        let untagged = self.asm.label();
        self.asm.set(R7, 12);
        self.load_ethertype();
        for tag in 1..=VLAN_TAGS_MAX {
            let tagged = self.asm.label();
            for ethertype in ETHERTYPES_VLAN {
                self.asm.jump_if(R9, Condition::Equal, in_packet(ethertype), tagged);
            }
            self.asm.jump(untagged);
            self.asm.bind(tagged);
            if tag == VLAN_TAGS_MAX {
                // A tag may be beside the bytes; in front of them when a queue delivers the packet.
                self.asm.load(Width::U32, R1, R6, VLAN_PRESENT);
                self.asm.jump_if(R1, Condition::NotEqual, 0, self.labels.unclassified);
            }
            self.asm.apply(Operation::Add, R7, 4);
            self.load_ethertype();
        }
        self.asm.bind(untagged);
        self.asm.apply(Operation::Add, R7, 2);
        self.asm.jump_if(R9, Condition::Equal, in_packet(ETHERTYPE_IPV4), self.labels.ipv4);
        self.asm.jump_if(R9, Condition::Equal, in_packet(ETHERTYPE_IPV6), self.labels.ipv6);
        self.asm.jump(self.labels.unclassified);
    }

    fn load_ethertype(&mut self) {
        self.load_packet(SCRATCH, 2, self.labels.unclassified);
        self.asm.load(Width::U16, R9, R10, SCRATCH);
    }

    /// Parses the IPv4 header at R7 and returns a queue.
    fn ipv4(&mut self) {
        let protocols = self.protocols(HashTypes::TCP4, HashTypes::UDP4);
        self.asm.bind(self.labels.ipv4);
        if protocols.is_empty() && !self.types.contains(HashTypes::IPV4) {
            // Straight on: the verifier refuses code that nothing leads to.
            return self.asm.jump(self.labels.unclassified);
        }
        let (ports, addresses) = (self.asm.label(), self.asm.label());
        self.load_packet(IPV4_HEADER, 20, self.labels.unclassified);
        self.load_version_nibble(IPV4_HEADER);
        self.asm.jump_if(R1, Condition::NotEqual, 4, self.labels.unclassified);
        self.asm.load(Width::U8, R2, R10, IPV4_HEADER);
        self.asm.apply(Operation::And, R2, 15);
        self.asm.jump_if(R2, Condition::Less, 5, self.labels.unclassified);
        if !protocols.is_empty() {
            self.asm.apply(Operation::ShiftLeft, R2, 2);
            self.asm.add(R7, R2);
            self.asm.load(Width::U16, R1, R10, IPV4_HEADER + 6);
            self.asm.apply(Operation::And, R1, in_packet(FRAGMENT_BITS));
            self.asm.jump_if(R1, Condition::NotEqual, 0, addresses);
            self.asm.load(Width::U8, R9, R10, IPV4_HEADER + 9);
            self.jump_to_ports(&protocols, ports);
            self.asm.jump(addresses);
            self.asm.bind(ports);
            self.load_packet(TUPLE + 8, 4, addresses);
            self.answer(12);
        }
        self.asm.bind(addresses);
        self.answer_addresses(HashTypes::IPV4, 8);
    }

    /// Parses the IPv6 header at R7 and returns a queue.
    fn ipv6(&mut self) {
        let protocols = self.protocols(HashTypes::TCP6, HashTypes::UDP6);
        self.asm.bind(self.labels.ipv6);
        if protocols.is_empty() && !self.types.contains(HashTypes::IPV6) {
            return self.asm.jump(self.labels.unclassified);
        }
        let (ports, addresses) = (self.asm.label(), self.asm.label());
        self.load_packet(IPV6_HEADER, 40, self.labels.unclassified);
        self.load_version_nibble(IPV6_HEADER);
        self.asm.jump_if(R1, Condition::NotEqual, 6, self.labels.unclassified);
        if !protocols.is_empty() {
            self.asm.load(Width::U8, R9, R10, IPV6_HEADER + 6);
            self.asm.apply(Operation::Add, R7, 40);
            for _ in 0..EXTENSIONS_MAX {
                self.jump_to_ports(&protocols, ports);
                self.extension(addresses);
            }
            self.jump_to_ports(&protocols, ports);
            self.asm.jump(addresses);
            self.asm.bind(ports);
            self.load_packet(TUPLE + 32, 4, addresses);
            self.answer(TUPLE_LEN_MAX);
        }
        self.asm.bind(addresses);
        self.answer_addresses(HashTypes::IPV6, 32);
    }

    /// The protocols whose ports are hashed.
    fn protocols(&self, tcp: HashTypes, udp: HashTypes) -> Vec<u8> {
        let known = [(tcp, TCP), (udp, UDP)].into_iter();
        known.filter(|(hash, _)| self.types.contains(*hash)).map(|(_, protocol)| protocol).collect()
    }

    /// Goes to `ports` if the protocol in R9 is one of these.
    fn jump_to_ports(&mut self, protocols: &[u8], ports: Label) {
        for &protocol in protocols {
            self.asm.jump_if(R9, Condition::Equal, i32::from(protocol), ports);
        }
    }

    /// Skips one extension header of the type in R9, or jumps to `other`.
    fn extension(&mut self, other: Label) {
        let (known, in_words, passed) = (self.asm.label(), self.asm.label(), self.asm.label());
        for extension in EXTENSIONS {
            self.asm.jump_if(R9, Condition::Equal, i32::from(extension), known);
        }
        self.asm.jump_if(R9, Condition::NotEqual, i32::from(AUTHENTICATION), other);
        self.asm.bind(known);
        self.load_packet(SCRATCH, 2, other);
        self.asm.copy(R8, R9);
        self.asm.load(Width::U8, R9, R10, SCRATCH);
        self.asm.load(Width::U8, R1, R10, SCRATCH + 1);
        self.asm.jump_if(R8, Condition::Equal, i32::from(AUTHENTICATION), in_words);
        self.asm.apply(Operation::Add, R1, 1);
        self.asm.apply(Operation::ShiftLeft, R1, 3);
        self.asm.jump(passed);
        self.asm.bind(in_words);
        self.asm.apply(Operation::Add, R1, 2);
        self.asm.apply(Operation::ShiftLeft, R1, 2);
        self.asm.bind(passed);
        self.asm.add(R7, R1);
    }

    /// Hashes the first `len` bytes of the tuple, if addresses alone are of the types, and answers.
    fn answer_addresses(&mut self, addresses_alone: HashTypes, len: usize) {
        if self.types.contains(addresses_alone) {
            self.answer(len);
        } else {
            self.asm.jump(self.labels.unclassified);
        }
    }

    /// Hashes the first `len` bytes of the tuple and answers.
    fn answer(&mut self, len: usize) {
        /// Bytes of one table; an offset of 16 bits with a sign reaches 32 of them.
        const TABLE_LEN: i16 = 256 * 4;
        const TABLES_IN_REACH: i16 = 32;
        self.asm.set(R8, 0);
        for place in 0..i16::try_from(len).expect("at most 36 bytes") {
            let near = place % TABLES_IN_REACH;
            if near == 0 {
                let offset = i32::from(place) * i32::from(TABLE_LEN);
                self.asm.load_value_address(R9, self.hash_map, offset);
            }
            self.asm.load(Width::U8, R1, R10, TUPLE + place);
            self.asm.apply(Operation::ShiftLeft, R1, 2);
            self.asm.add(R1, R9);
            self.asm.load(Width::U32, R1, R1, near * TABLE_LEN);
            self.asm.xor(R8, R1);
        }
        match self.answer {
            Answer::Queue { table } => {
                let mask = i32::try_from(INDIRECTION_LEN_MAX - 1).expect("127");
                self.asm.apply(Operation::And, R8, mask);
                self.asm.apply(Operation::ShiftLeft, R8, 1);
                self.asm.load_value_address(R9, table, 0);
                self.asm.add(R9, R8);
                self.asm.load(Width::U16, R0, R9, 0);
            }
            #[cfg(test)]
            Answer::Hash => self.asm.copy(R0, R8),
        }
        self.asm.exit();
    }

    /// R1 = the high half of the byte at `header` on the stack.
    fn load_version_nibble(&mut self, header: i16) {
        self.asm.load(Width::U8, R1, R10, header);
        self.asm.apply(Operation::ShiftRight, R1, 4);
    }

    /// Copies `len` bytes of the packet from R7 on to the stack, or jumps to `short`.
    fn load_packet(&mut self, stack: i16, len: i32, short: Label) {
        self.asm.copy(R1, R6);
        self.asm.copy(R2, R7);
        self.asm.copy(R3, R10);
        self.asm.apply(Operation::Add, R3, i32::from(stack));
        self.asm.set(R4, len);
        self.asm.call(SKB_LOAD_BYTES);
        self.asm.jump_if(R0, Condition::Negative, 0, short);
    }
}

/// A number of 16 bits as the machine sees it when it loads it from a packet.
fn in_packet(number: u16) -> i32 {
    i32::from(number.to_be())
}
