//! Quantities for people: rounded to about three digits, with a space before the unit.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// `value` with three significant digits or more, without trailing zeros: `1234`, `28.1`, `0.012`.
#[must_use]
pub fn number(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => return format!("{value:.2e}"),
    };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A duration in nanoseconds: `28.1 us`, `1.25 s`, `5 min`, `3 h`.
pub(super) fn time(nanos: u64) -> String {
    const S: u64 = 1_000_000_000;
    // From two minutes on whole minutes are exact enough, and so on.
    match nanos {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} us", number(ratio(nanos, 1_000))),
        1_000_000..S => format!("{} ms", number(ratio(nanos, 1_000_000))),
        _ if nanos < 120 * S => format!("{} s", number(ratio(nanos, S))),
        _ if nanos < 7_200 * S => format!("{:.0} min", ratio(nanos, 60 * S)),
        _ if nanos < 172_800 * S => format!("{:.0} h", ratio(nanos, 3_600 * S)),
        _ => format!("{:.0} d", ratio(nanos, 86_400 * S)),
    }
}

/// A size in bytes, in powers of 1024: `1023 B`, `1.5 KiB`.
pub(super) fn size(bytes: u64) -> String {
    in_unit(bytes, "B", [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")])
}

/// A bit rate in powers of 1000: `999 bit/s`, `1.25 Gbit/s`.
pub(super) fn rate(bits: u64) -> String {
    let units = [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")];
    in_unit(bits, "bit/s", units)
}

/// In the first unit that is small enough, else in `base`.
fn in_unit<const N: usize>(value: u64, base: &str, units: [(u64, &str); N]) -> String {
    match units.into_iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{} {unit}", number(ratio(value, size))),
        None => format!("{value} {base}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "it will be rounded to three digits")]
fn ratio(value: u64, size: u64) -> f64 {
    value as f64 / size as f64
}
