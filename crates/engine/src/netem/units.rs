//! Times, shares and rates as people write them.

use core::time::Duration;

use super::Bitrate;

/// A time: `20ms`, `1.5s`, `250us`, `100ns`, `2m`, `1h`; without a unit only `0`.
///
/// # Errors
///
/// What it should look like.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const WHAT: &str = "a time is a number and ns, us, ms, s, m or h, as 20ms";
    let (number, unit) = split(text);
    let size: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" if number == "0" => 1,
        _ => return Err(WHAT),
    };
    decimal(number, size).map(Duration::from_nanos).ok_or(WHAT)
}

/// A share: `1%`, `0.5%`, or a plain number from 0 to 1.
///
/// # Errors
///
/// What it should look like.
pub fn parse_share(text: &str) -> Result<f64, &'static str> {
    const WHAT: &str = "a share is a percentage or a number from 0 to 1, as 1% or 0.01";
    let (number, unit) = split(text);
    let value: f64 = number.parse().map_err(|_| WHAT)?;
    let value = match unit {
        "%" => value / 100.0,
        "" => value,
        _ => return Err(WHAT),
    };
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(WHAT) }
}

/// A rate in bits a second: `100mbit`, `2.5gbit`, `64kbit`, `9600bit`, also `100Mbit/s`, `100Mbps`.
///
/// # Errors
///
/// What it should look like.
pub fn parse_bitrate(text: &str) -> Result<Bitrate, &'static str> {
    const WHAT: &str = "a rate is a number and bit, kbit, mbit or gbit (a second), as 100mbit";
    let (number, unit) = split(text);
    let is = |names: [&str; 3]| names.iter().any(|name| unit.eq_ignore_ascii_case(name));
    let size = if is(["bit", "bit/s", "bps"]) {
        1
    } else if is(["kbit", "kbit/s", "kbps"]) {
        1_000
    } else if is(["mbit", "mbit/s", "mbps"]) {
        1_000_000
    } else if is(["gbit", "gbit/s", "gbps"]) {
        1_000_000_000
    } else if unit.is_empty() && number == "0" {
        1
    } else {
        return Err(WHAT);
    };
    let rate = decimal(number, size).map(Bitrate::from_bits_per_second).ok_or(WHAT)?;
    if rate > Bitrate::MAX { Err("the fastest rate is 1000gbit") } else { Ok(rate) }
}

/// The number and what follows it, spaces around both taken away.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// `number` times `size`, exact up to what is smaller than 1, which is cut off; `None` if it is no
/// decimal number or too large.
fn decimal(number: &str, size: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.len() > 18 || number.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(size)?;
    let part = if part.is_empty() {
        0
    } else {
        let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        u64::try_from(u128::from(part.parse::<u64>().ok()?) * u128::from(size) / scale).ok()?
    };
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn times_are_exact() {
        let nanos = |text| parse_duration(text).map(|time| time.as_nanos());
        assert_eq!(nanos("20ms"), Ok(20_000_000));
        assert_eq!(nanos("1.5s"), Ok(1_500_000_000));
        assert_eq!(nanos("0.1us"), Ok(100));
        assert_eq!(nanos("0.3 ms"), Ok(300_000));
        assert_eq!(nanos("0"), Ok(0));
        assert_eq!(nanos("2m"), Ok(120_000_000_000));
        for bad in
            ["", "ms", "20", "-1ms", "1.ms", ".5ms", "1e3ms", "1..2s", "99999999999h", "1 day"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(parse_share("1%"), Ok(0.01));
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert_eq!(parse_share("100 %"), Ok(1.0));
        for bad in ["", "%", "101%", "1.1", "-1%", "nan", "1/100"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_print_as_they_are_read() {
        for text in ["1gbit", "2.5gbit", "100mbit", "1.5mbit", "64kbit", "1.234kbit", "999bit"] {
            assert_eq!(parse_bitrate(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_bitrate("100Mbit/s"), parse_bitrate("100 mbps"));
        assert_eq!(parse_bitrate("1.2345678gbit").unwrap().to_string(), "1234567.8kbit");
        for bad in ["", "100", "mbit", "100mb", "-1mbit", "1001gbit", "1.5.5mbit"] {
            assert!(parse_bitrate(bad).is_err(), "{bad}");
        }
    }
}
