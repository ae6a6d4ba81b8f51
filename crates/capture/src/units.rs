//! Sizes and times of options, in the units of every other quantity; none may be zero.

use adit_packet::units;
use std::time::Duration;

/// A size in bytes: `500`, `10k`, `1.5MB`, `64KiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let size = units::parse_size(text).map_err(|error| error.to_string())?;
    if size == 0 { Err(ZERO.to_owned()) } else { Ok(size) }
}

/// A time, with its unit as everywhere: `10s`, `500ms`, `5m`, `1.5h`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let time = units::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() { Err(ZERO.to_owned()) } else { Ok(time) }
}

/// The number of bytes to keep of a packet, at most `max`.
pub fn parse_length(text: &str, max: u32) -> Result<u32, String> {
    let length = u32::try_from(parse_size(text)?).ok().filter(|length| *length <= max);
    length.ok_or_else(|| format!("the maximum is {max} bytes"))
}

const ZERO: &str = "it must be above 0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("10MB"), Ok(10_000_000));
        assert_eq!(parse_size("1 KiB"), Ok(1024));
        assert_eq!(parse_size("1.5k"), Ok(1500));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "MB", "0", "-1", "99999999999999999999", "10XB", "20000000000GB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_length("64k", 65535), Ok(64_000));
        assert!(parse_length("64KiB", 65535).is_err());
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert!(
            parse_time("10").is_err_and(|error| error.contains("did you mean `10ms` or `10s`?"))
        );
        assert_eq!(parse_time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "s", "0s", "10 weeks"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
