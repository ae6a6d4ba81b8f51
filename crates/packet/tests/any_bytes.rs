//! A million byte strings, random and nearly right, through every parser: none panics.

mod exercise;

/// Strings in total, an eighth of them for each family.
const STRINGS: u64 = 1_000_000;
const FAMILIES: u64 = 8;

/// Packets that the random ones are bent from, so that they get past the first check.
const SEEDS: [&[u8]; 6] = [
    // Ethernet, two tags, IPv4 with an option, UDP.
    &[
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0, //
        0x46, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x94, 4, 0,
        0, //
        0, 53, 0xc0, 0, 0, 12, 0, 0, 1, 2, 3, 4,
    ],
    // IPv6, hop-by-hop, destination options with a home address, fragment, TCP.
    &[
        0x60, 0, 0, 0, 0, 72, 0, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        1, //
        0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, //
        60, 0, 5, 2, 0, 0, 1, 0, //
        44, 2, 1, 2, 0, 0, 201, 16, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, //
        6, 0, 0, 1, 0, 0, 0, 9, //
        0, 80, 0xc0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x10, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0,
        1, 0, 0, 0, 2,
    ],
    // IPv4 with a right checksum, UDP: one joins the next.
    &[
        0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 17, 0xb6, 0xc8, 192, 0, 2, 1, 192, 0, 2, 2, //
        0, 53, 0xc0, 0, 0, 12, 0, 1, 1, 2, 3, 4,
    ],
    // TCP with options.
    &[
        0, 80, 0xc0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0x90, 2, 1, 0, 0, 0, 0, 0, //
        2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3,
    ],
    // Neighbour solicitation with its option.
    &[
        135, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
        1, 1, 2, 0, 0, 0, 0, 1,
    ],
    // ARP.
    &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 77],
];

/// xorshift64*: the same strings in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % limit
    }

    /// Half of them noise, half a seed with a few bytes changed, cut or prolonged.
    fn string(&mut self, bytes: &mut Vec<u8>) {
        bytes.clear();
        if self.next() & 1 == 0 {
            let len = self.below(128);
            while bytes.len() < len {
                bytes.extend(self.next().to_le_bytes());
            }
            bytes.truncate(len);
            return;
        }
        bytes.extend(SEEDS[self.below(SEEDS.len())]);
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            bytes[at] = self.next().to_le_bytes()[3];
        }
        if self.next() & 3 == 0 {
            bytes.truncate(self.below(bytes.len() + 1));
        } else if self.next() & 3 == 0 {
            bytes.extend(self.next().to_le_bytes());
        }
    }
}

fn run(seed: u64, mut parse: impl FnMut(&[u8])) {
    let mut random = Random(seed);
    let mut bytes = Vec::new();
    for _ in 0..STRINGS.div_ceil(FAMILIES) {
        random.string(&mut bytes);
        parse(&bytes);
    }
}

#[test]
fn link_layer() {
    run(1, exercise::link);
}

#[test]
fn network_layer() {
    run(2, exercise::network);
}

#[test]
fn transport_layer() {
    run(3, exercise::transport);
}

#[test]
fn control_messages() {
    run(4, exercise::control);
}

#[test]
fn whole_packets() {
    let toeplitz = exercise::toeplitz();
    run(5, |bytes| exercise::flow(bytes, &toeplitz));
}

#[test]
fn headers_of_the_device() {
    run(6, exercise::before);
}

/// The string as a super-packet of some kind.
#[test]
fn super_packets() {
    let mut before = Random(7);
    let mut bytes = Vec::new();
    run(7, |string| {
        let sizes = before.next().to_le_bytes();
        let gso = [1, 4, 5, 0x21][usize::from(sizes[2] % 4)];
        bytes.clear();
        bytes.extend([1, gso, 0, 0, sizes[0] % 16, 0, 20, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([40, 0, sizes[1], 0]);
        bytes.extend(string);
        exercise::segment(&bytes);
    });
}

#[test]
fn trains() {
    let mut bytes = Vec::new();
    run(8, |string| {
        if bytes.len() > 2000 {
            exercise::coalesce(&bytes);
            bytes.clear();
        }
        bytes.extend([u8::try_from(string.len()).expect("below 256"), 2]);
        bytes.extend(string);
    });
}
