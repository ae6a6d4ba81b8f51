//! The kinds of port that a service opens: those of the runtime, and a NAT.

use crate::nat::port::NAT;
use adit_runtime::port::kinds;
use adit_runtime::text::words::SpecError;
use adit_runtime::{Kind, PortSpec};
use std::sync::LazyLock;

/// All kinds, in the order of the help.
pub static KINDS: LazyLock<Vec<&'static Kind>> =
    LazyLock::new(|| kinds::KINDS.iter().copied().chain([&NAT]).collect());

/// Parses a port of any kind.
///
/// # Errors
/// The kind is unknown, or its text is wrong.
pub fn parse(text: &str) -> Result<PortSpec, SpecError> {
    PortSpec::parse(text, &KINDS)
}

/// The names of the keys that a kind of port (`tap`, `unix`) has for itself; none for an unknown kind.
#[must_use]
pub fn keys_of(prefix: &str) -> Vec<&'static str> {
    let kind = KINDS.iter().find(|kind| kind.prefix == prefix);
    kind.map_or(&[][..], |kind| kind.keys).iter().map(|key| key.name).collect()
}
