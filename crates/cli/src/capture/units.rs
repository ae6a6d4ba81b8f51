//! Sizes and times as people write them.

use std::time::Duration;

/// A size: `500`, `10kB`, `10MB`, `1GB` (powers of 1000), `10KiB`, `10MiB`, `1GiB` (of 1024).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a size in kB, MB, GB, KiB, MiB or GiB, such as 10MB".to_owned()),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.filter(|size| *size > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

/// A time: `10` or `10s`, `500ms`, `5m`, `2h`, `1d`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("expected a time in ms, s, m, h or d, such as 10s".to_owned()),
    };
    let time = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    let time = time.filter(|time| *time > 0).map(Duration::from_millis);
    time.ok_or_else(|| "expected a whole number above 0".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("10MB"), Ok(10_000_000));
        assert_eq!(parse_size("1 KiB"), Ok(1024));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "MB", "0", "1.5MB", "-1", "99999999999999999999", "10XB", "20000000000GB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_time("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "s", "0s", "1.5s", "10 weeks"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
