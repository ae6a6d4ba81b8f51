//! Files of other programs: changed at random, none makes the readers panic or write invalid TOML.

#[path = "../../../packet/tests/cases/mod.rs"]
mod cases;
mod exercise;

use proptest::prelude::*;

const FILES: [&[u8]; 2] = [include_bytes!("campus.clab.yml"), include_bytes!("ring.graphml")];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::cases(300) })]

    #[test]
    fn any_changed_file_is_read_or_rejected(
        which in 0..FILES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        let mut bytes = FILES[which].to_vec();
        for (at, len, from, byte) in edits {
            let (at, from) = (at.index(bytes.len()), from.index(bytes.len()));
            let end = (at + len).min(bytes.len());
            // A part of the file moves, disappears, or becomes one byte.
            let part = match byte % 3 {
                0 => bytes[from..(from + len).min(bytes.len())].to_vec(),
                1 => Vec::new(),
                _ => vec![byte],
            };
            bytes.splice(at..end, part);
            bytes.push(b'\n');
        }
        exercise::file(&bytes);
    }

    #[test]
    fn any_text_is_read_or_rejected(text in any::<String>(), head in prop::sample::select(&["<graphml>", "topology:\n  nodes:\n"][..])) {
        exercise::file_of(head, text.as_bytes());
    }
}
