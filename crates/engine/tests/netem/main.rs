//! Files and links of any bytes: what must hold of them, on many strings in every run.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod exercise;

/// Files that are right, to be bent.
const FILES: [&str; 4] = [
    "# ms\n10\n12.5ms\n0.3us\n1s\n",
    "3*. x\n99*.x # one in a hundred\n",
    "0\n1\n1\n5\n12\n",
    "time,rate,delay,loss\n0s,10mbit,20ms,\n1.5s,0,,1%\n3s,64kbit,0,0.5\n4s,repeat\n",
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

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

#[test]
fn files_of_any_bytes() {
    let mut random = Random(1);
    let letters = b"0123456789.,x*#\nmskbitreapow% -";
    for _ in 0..30_000 {
        let kind = random.below(4);
        let mut bytes = vec![u8::try_from(kind).unwrap()];
        bytes.extend(FILES[kind].bytes());
        for _ in 0..random.below(6) {
            let at = 1 + random.below(bytes.len() - 1);
            match random.below(4) {
                0 => bytes[at] = letters[random.below(letters.len())],
                1 => bytes.insert(at, letters[random.below(letters.len())]),
                2 if bytes.len() > 2 => drop(bytes.remove(at)),
                _ => bytes[at] = random.byte(),
            }
        }
        exercise::file(&bytes);
    }
}

#[test]
fn right_files_are_read() {
    for (kind, text) in (0_u8..).zip(FILES) {
        exercise::file(&[&[kind], text.as_bytes()].concat());
    }
}

#[test]
fn links_to_which_anything_happens() {
    let mut random = Random(2);
    for _ in 0..3000 {
        let len = random.below(800);
        let bytes: Vec<u8> = (0..len).map(|_| random.byte()).collect();
        exercise::link(&bytes);
    }
}
