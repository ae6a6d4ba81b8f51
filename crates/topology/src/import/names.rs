//! Names of other programs as names of nodes: valid and unique.

use crate::model::NodeName;
use std::collections::BTreeSet;

/// The names that were given so far.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

/// The longest name: `IfName` plus prefix does not matter here, `/etc/hosts` and `NodeName` do.
const LEN_MAX: usize = 32;

impl Names {
    /// A valid name like `label` that no other node has: other characters become hyphens, a number follows
    /// where the name is taken, and `fallback` is used where nothing is left.
    pub(crate) fn unique(&mut self, label: &str, fallback: &str) -> NodeName {
        let mut stem = String::new();
        for c in label.chars() {
            if c.is_ascii_alphanumeric() || c == '_' {
                stem.push(c);
            } else if !stem.ends_with('-') {
                stem.push('-');
            }
        }
        let stem = stem.trim_start_matches(['-', '_']).trim_end_matches('-');
        let stem = if stem.is_empty() { fallback } else { stem };
        let mut name = cut(stem, LEN_MAX).to_owned();
        // Two labels may differ in a cut or replaced part alone.
        for number in 2_u32.. {
            if self.0.insert(name.to_ascii_lowercase()) {
                break;
            }
            let tail = format!("-{number}");
            name = format!("{}{tail}", cut(stem, LEN_MAX - tail.len()));
        }
        name.parse().expect("it consists of letters, digits and hyphens, and is short")
    }
}

/// The first `len` characters of an ASCII text, without a hyphen at the end.
fn cut(text: &str, len: usize) -> &str {
    text.get(..len).unwrap_or(text).trim_end_matches('-')
}
